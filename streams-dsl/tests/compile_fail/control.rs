//! Compiles: what the others do wrong, done right.

use std::time::Duration;

use kstreams_dsl::{JoinWindows, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders");
    let payments = builder.stream::<String, i64>("payments");
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    orders.join_stream(&payments, |order, amount| format!("{order}: {amount}"), windows).to("paid");
}
