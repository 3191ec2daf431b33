//! A join of streams stores both sides: values need a serde.
//~ no serde is known for `Order`
//~ this operator has to write `Order` to a topic or store
//~ name a serde

use std::time::Duration;

use kstreams_dsl::{JoinWindows, StreamsBuilder};

#[derive(Clone)]
struct Order(String);

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders").map_values(Order);
    let payments = builder.stream::<String, i64>("payments");
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    orders.join_stream(&payments, |order, amount| format!("{}: {amount}", order.0), windows);
}
