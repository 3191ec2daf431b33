//! Counts per minute with a table of names: the key of the former has its window, that of the latter has none.
//~ mismatched types
//~ expected `&KTable<Windowed<String>, _>`, found `&KTable<String, String>`

use std::time::Duration;

use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};

fn main() {
    let builder = StreamsBuilder::new();
    let per_minute = builder
        .stream::<String, String>("clicks")
        .group_by_key()
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
        .count(Materialized::named("per-minute"));
    let names = builder.table::<String, String>("names");
    per_minute.join(&names, |count, name| format!("{name}: {count}"));
}
