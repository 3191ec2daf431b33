//! A joiner gets both values.
//~ expected closure that takes 2 arguments
//~ takes 1 argument

use kstreams_dsl::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders");
    let customers = builder.table::<String, String>("customers");
    orders.join(&customers, |order| order);
}
