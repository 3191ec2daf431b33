//! How a table is stored is said by a `Materialized`, not by a name.
//~ `&str` does not say how to store a table
//~ give `Unmaterialized`, or `Materialized::named("store")`

use kstreams_dsl::{Named, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let names = builder.table::<String, String>("names");
    let ages = builder.table::<String, i32>("ages");
    names.join_with(&ages, |name, age| format!("{name} {age}"), Named::default(), "store");
}
