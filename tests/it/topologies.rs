//! The topology that most tests run, and what it has to count.

use kstreams::prelude::*;
use kstreams_test_cluster::Counts;

/// The word count: a repartition topic in the middle, the store `counts` with its changelog at the end.
pub fn word_count(lines: &str, counts: &str) -> Topology {
    word_count_with(lines, counts, |_| {})
}

/// The word count with something to do for each line.
pub fn word_count_with(lines: &str, counts: &str, each: impl Fn(&str) + Send + Sync + 'static) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(lines)
        .peek(move |_, line| each(line))
        .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("counts"))
        .to_stream()
        .to(counts);
    builder.build().unwrap()
}

/// What the word count must answer for these lines, by counting them directly.
pub fn plain_count<'a>(lines: impl IntoIterator<Item = &'a String>) -> Counts {
    let mut counts = Counts::new();
    for word in lines.into_iter().flat_map(|line| line.split_whitespace()) {
        *counts.entry(word.to_owned()).or_insert(0) += 1;
    }
    counts
}

/// `count` lines with words of different frequency: one in each line, the others in every 7th and every 19th.
pub fn lines(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("every seventh{} nineteenth{}", n % 7, n % 19)).collect()
}
