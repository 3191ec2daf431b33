//! `to` writes the value with the serde of its type.
//~ no serde is known for `Order`
//~ Produced::<KeySerde, ValueSerde>::new()

use kstreams_dsl::StreamsBuilder;

#[derive(Clone)]
struct Order;

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("lines").map_values(|_| Order).to("orders");
}
