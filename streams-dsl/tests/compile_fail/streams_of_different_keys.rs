//! Orders are keyed by customer, payments by number: they cannot be joined before one of them gets the other's key.
//~ mismatched types
//~ expected `&KStream<String, _>`, found `&KStream<i64, i64>`

use std::time::Duration;

use kstreams_dsl::{JoinWindows, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders");
    let payments = builder.stream::<i64, i64>("payments");
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    orders.join_stream(&payments, |order, amount| format!("{order}: {amount}"), windows);
}
