//! One topology per workload of the harness, each the JVM program's, operator by operator.

use std::time::Duration;

use kstreams::prelude::*;

/// Builds the topology called `name` (the harness's `TOPOLOGY`) from `inputs` to `output`.
///
/// # Errors
/// When there is no such topology here, or when it can't be built.
pub(crate) fn build(
    name: &str,
    input: &str,
    second_input: &str,
    output: &str,
) -> Result<Topology, Box<dyn std::error::Error>> {
    let builder = StreamsBuilder::new();
    match name {
        "stateless" => stateless(&builder, input, output),
        "wordcount" => word_count(&builder, input, output),
        "count" => count(&builder, input, output),
        "windowed" => windowed(&builder, input, output),
        "enrich" => enrich(&builder, input, second_input, output),
        other => return Err(format!("no topology {other:?} here yet").into()),
    }
    Ok(builder.build()?)
}

fn stateless(builder: &StreamsBuilder, input: &str, output: &str) {
    builder
        .stream::<String, String>(input)
        .filter(|_, value| !value.starts_with('0'))
        .map_values(|value| value.to_ascii_uppercase())
        .to(output);
}

fn word_count(builder: &StreamsBuilder, input: &str, output: &str) {
    builder
        .stream::<(), String>(input)
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by_with(|_, word| word.clone(), Grouped::named("words"))
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
}

fn count(builder: &StreamsBuilder, input: &str, output: &str) {
    builder
        .stream::<String, String>(input)
        .group_by_key()
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
}

fn windowed(builder: &StreamsBuilder, input: &str, output: &str) {
    builder
        .stream::<String, String>(input)
        .group_by_key()
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(10)))
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
}

fn enrich(builder: &StreamsBuilder, input: &str, table: &str, output: &str) {
    let rows = builder.table_with(table, Consumed::<String, String>::new(), Materialized::named("rows"));
    builder
        .stream::<String, String>(input)
        .join(&rows, |value, row| [value.as_str(), row.as_str()].join("|"))
        .to(output);
}
