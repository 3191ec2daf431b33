//! The topology of most of these tests, and how their messages are checked.

use kstreams::prelude::*;

/// Words of `input`, counted to `output`: a repartition topic and the store `counts` with its changelog.
pub fn word_count(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(input)
        .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
    builder.build().unwrap()
}

/// Checks that a message has each of these parts, and prints it.
#[track_caller]
pub fn says(message: &str, parts: &[&str]) {
    println!("{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
