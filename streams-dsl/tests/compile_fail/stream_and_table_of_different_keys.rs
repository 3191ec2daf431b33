//! A stream keyed by order number with a table keyed by customer: `select_key` first, or a global table.
//~ mismatched types
//~ expected `&KTable<i64, _>`, found `&KTable<String, String>`

use kstreams_dsl::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<i64, String>("orders");
    let customers = builder.table::<String, String>("customers");
    orders.join(&customers, |order, customer| format!("{order} by {customer}"));
}
