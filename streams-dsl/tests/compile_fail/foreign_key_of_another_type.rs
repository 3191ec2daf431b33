//! The extracted key must be the other table's key, or an `Option` of it.
//~ `i64` is no key of the other table, whose keys are `String`
//~ the foreign key has to be a `String`, or an `Option` of it where a row may refer to nothing

use kstreams_dsl::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.table::<i64, String>("orders");
    let customers = builder.table::<String, String>("customers");
    orders.join_on_foreign_key(&customers, |order, _| *order, |order, customer| order + &customer);
}
