//! A name alone leaves the serdes to the types; this one has none.
//~ `ByType` gives no serde for `Order`
//~ name a serde whose target is `Order`, or implement `DefaultSerde` for `Order`

use std::time::Duration;

use kstreams_dsl::{JoinWindows, StreamJoined, StreamsBuilder};

#[derive(Clone)]
struct Order(String);

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders").map_values(Order);
    let payments = builder.stream::<String, i64>("payments");
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    let joiner = |_: &String, order: Order, amount: i64| format!("{}: {amount}", order.0);
    orders.join_stream_with(&payments, joiner, windows, StreamJoined::named("paid"));
}
