//! In a left join the right side may be missing: the joiner gets an `Option` of it.
//~ type mismatch in closure arguments
//~ expected closure signature `fn(String, Option<String>)

use kstreams_dsl::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders");
    let customers = builder.table::<String, String>("customers");
    orders.left_join(&customers, |order: String, customer: String| format!("{order} by {customer}"));
}
