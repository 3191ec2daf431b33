//! Windowed aggregates against plain models, over random records out of order; with caches of several sizes the final
//! state is the same. Each assertion names the seed of its input.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kstreams_core::StreamsConfig;
use kstreams_dsl::{
    BufferConfig, EmitStrategy, KGroupedStream, KTable, Materialized, SessionWindows, SlidingWindows,
    StreamsBuilder, Suppressed, TimeWindows,
};
use kstreams_state_stores::{Json, SessionWindowedSerde, Windowed, WindowedSerde};
use kstreams_test::{ProducedRecord, TopologyTestDriver};

/// The values of a window, in the order of the numbers: whatever the order in which they came, it is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Values(Vec<i64>);

impl Values {
    fn new() -> Self {
        Values::default()
    }

    fn with(mut self, more: impl IntoIterator<Item = i64>) -> Self {
        self.0.extend(more);
        self.0.sort_unstable();
        self
    }
}

kstreams_state_stores::json_serde!(Values);

/// Aggregates by key, start and end.
type Rows = BTreeMap<(String, i64, i64), Values>;

#[derive(Debug, Clone)]
struct Input {
    key: String,
    value: i64,
    time: i64,
}

/// A generator whose numbers depend on the seed alone (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Records of three keys whose times go on, but out of order.
fn records(seed: u64) -> Vec<Input> {
    let mut random = Random(seed);
    let mut now = 0;
    (0..60)
        .map(|value| {
            now += random.below(9);
            let time = (now - random.below(25)).max(0);
            Input { key: ["a", "b", "c"][usize::try_from(random.below(3)).unwrap()].to_owned(), value, time }
        })
        .collect()
}

fn add(_: &String, value: i64, values: Values) -> Values {
    values.with([value])
}

fn merge(_: &String, one: Values, other: Values) -> Values {
    one.with(other.0)
}

fn stored() -> Materialized {
    Materialized::named("windows")
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// Sizes of cache that matter: none, one entry, some, all.
const CACHES: [i64; 4] = [0, 150, 600, 1 << 20];

type Table = KTable<Windowed<String>, Values>;
/// A result as it was written: window and aggregate, or that the window was deleted.
type Written = (Windowed<String>, Option<Values>);

/// What the program writes, in order.
fn run(
    inputs: &[Input],
    cache_bytes: i64,
    sessions: bool,
    program: impl Fn(KGroupedStream<String, i64>) -> Table,
) -> (Vec<Written>, u64) {
    let builder = StreamsBuilder::new();
    program(builder.stream::<String, i64>("in").group_by_key()).to_stream().to("out");
    let config = StreamsConfig::new("app", "none:1").statestore_cache_max_bytes(cache_bytes.unsigned_abs());
    let driver = TopologyTestDriver::with_config(builder.build().unwrap(), &config, 0).unwrap();
    let input = driver.create_input_topic::<String, i64>("in");
    for Input { key, value, time } in inputs {
        input.pipe_input_at(key.clone(), *value, *time).unwrap();
    }
    let read = |record: ProducedRecord<Option<Vec<u8>>, Option<Vec<u8>>>| {
        use kstreams_state_stores::Serde;
        let key = record.key.unwrap();
        let key = match sessions {
            true => SessionWindowedSerde::new(String::new()).deserialize(&key).unwrap(),
            false => WindowedSerde::new(String::new(), 0).deserialize(&key).unwrap(),
        };
        let value = record.value.map(|value| Json::<Values>::default().deserialize(&value).unwrap());
        (key, value)
    };
    let written = driver.take_raw("out").into_iter().map(read).collect();
    (written, driver.dropped_records())
}

/// The last result of each window; `size` gives windows of time their end.
fn rows(written: Vec<Written>, size: Option<i64>) -> Rows {
    let mut rows = Rows::new();
    for (Windowed { key, window }, value) in written {
        let row = (key, window.start, size.map_or(window.end, |size| window.start + size));
        match value {
            Some(value) => rows.insert(row, value),
            None => rows.remove(&row),
        };
    }
    rows
}

/// Rows of windows of time, by their definition: a record is in every window that its time is in and that is open.
fn windows_of_time(inputs: &[Input], size: i64, advance: i64, grace: i64) -> (Rows, u64) {
    let (mut rows, mut now, mut late) = (Rows::new(), i64::MIN, 0);
    for Input { key, value, time } in inputs {
        now = now.max(*time);
        for start in (0..=*time).step_by(usize::try_from(advance).unwrap()) {
            if start + size <= *time {
                continue;
            }
            if start + size <= now - grace {
                late += 1;
                continue;
            }
            let row = rows.entry((key.clone(), start, start + size)).or_default();
            *row = std::mem::take(row).with([*value]);
        }
    }
    (rows, late)
}

fn of_key<'a>(inputs: &'a [Input], key: &'a str) -> impl Iterator<Item = &'a Input> {
    inputs.iter().filter(move |input| input.key == key)
}

/// Rows of sliding windows, by their definition: a window ends at each record, and begins 1 ms after each that has
/// others behind it; of those before the time difference all share the window from 0.
fn sliding_windows(inputs: &[Input], difference: i64) -> Rows {
    let mut rows = Rows::new();
    for Input { key, time, .. } in inputs {
        let starts = BTreeSet::from([(time - difference).max(0), time + 1]);
        for start in starts {
            let inside = |input: &&Input| input.time >= start && input.time <= start + difference;
            let values = Values::new().with(of_key(inputs, key).filter(inside).map(|input| input.value));
            if !values.0.is_empty() {
                rows.insert((key.clone(), start, start + difference), values);
            }
        }
    }
    rows
}

/// Rows of sessions, by their definition: records that are not more than the gap apart.
fn sessions(inputs: &[Input], gap: i64) -> Rows {
    let mut rows = Rows::new();
    for key in ["a", "b", "c"] {
        let mut inputs: Vec<&Input> = of_key(inputs, key).collect();
        inputs.sort_by_key(|input| input.time);
        let of_one_session = |one: &&Input, next: &&Input| next.time - one.time <= gap;
        for session in inputs.chunk_by(of_one_session) {
            let values = Values::new().with(session.iter().map(|input| input.value));
            let (first, last) = (session[0].time, session[session.len() - 1].time);
            rows.insert((key.to_owned(), first, last), values);
        }
    }
    rows
}

#[test]
fn windows_of_time_hold_the_records_that_their_definition_says() {
    for seed in 0..60 {
        let inputs = records(seed);
        for (size, advance, grace) in [(10, 10, 1000), (20, 7, 1000), (10, 10, 6), (20, 7, 3)] {
            let windows = TimeWindows::of_size_and_grace(ms(size), ms(grace)).advance_by(ms(advance));
            let (expected, late) = windows_of_time(&inputs, size, advance, grace);
            for cache in CACHES {
                let program = |grouped: KGroupedStream<String, i64>| {
                    grouped.windowed_by(windows).aggregate(Values::new, add, stored())
                };
                let (written, dropped) = run(&inputs, cache, false, program);
                assert_eq!(rows(written, Some(size)), expected, "seed {seed}, {windows:?}, cache {cache}");
                assert_eq!(dropped, late, "seed {seed}, {windows:?}, cache {cache}");
            }
        }
    }
}

#[test]
fn sliding_windows_hold_the_records_that_their_definition_says() {
    for seed in 0..60 {
        let inputs = records(seed);
        for difference in [1, 9, 30] {
            let windows = SlidingWindows::of_time_difference_and_grace(ms(difference), ms(1000));
            let expected = sliding_windows(&inputs, difference);
            for cache in CACHES {
                let program = |grouped: KGroupedStream<String, i64>| {
                    grouped.windowed_by(windows).aggregate(Values::new, add, stored())
                };
                let (written, _) = run(&inputs, cache, false, program);
                assert_eq!(
                    rows(written, Some(difference)),
                    expected,
                    "seed {seed}, {windows:?}, cache {cache}"
                );
            }
        }
    }
}

#[test]
fn sessions_hold_the_records_that_their_definition_says() {
    for seed in 0..60 {
        let inputs = records(seed);
        for gap in [1, 5, 12] {
            let windows = SessionWindows::of_inactivity_gap_and_grace(ms(gap), ms(1000));
            let expected = sessions(&inputs, gap);
            for cache in CACHES {
                let program = |grouped: KGroupedStream<String, i64>| {
                    grouped.windowed_by(windows).aggregate(Values::new, add, merge, stored())
                };
                let (written, _) = run(&inputs, cache, true, program);
                assert_eq!(rows(written, None), expected, "seed {seed}, {windows:?}, cache {cache}");
            }
        }
    }
}

/// The last record pushes stream time on, so that every window before it has closed.
fn with_an_end(mut inputs: Vec<Input>) -> (Vec<Input>, i64) {
    let end = inputs.iter().map(|input| input.time).max().unwrap_or(0) + 200;
    inputs.push(Input { key: "end".to_owned(), value: 0, time: end });
    (inputs, end)
}

/// Of each window the last result is the last one that is written on update. What closed is compared. A session that was
/// told when it closed may still become part of a later one. Suppress takes a window whose end is included for closed
/// 1 ms before it takes no more records, as in the JVM: such a window may be told twice.
fn check_final(
    seed: u64,
    mut updates: Rows,
    last: Vec<Written>,
    size: Option<i64>,
    (end, once): (i64, bool),
) {
    let windows: BTreeSet<_> =
        last.iter().map(|(key, _)| (key.key.clone(), key.window.start, key.window.end)).collect();
    assert!(!once || windows.len() == last.len(), "seed {seed}: one result per window");
    updates.retain(|(_, start, _), _| *start < end - 100);
    let mut told = rows(last, size);
    if size.is_none() {
        told.retain(|row, _| updates.contains_key(row));
    }
    assert_eq!(told, updates, "seed {seed}");
}

#[test]
fn results_on_window_close_and_suppressed_ones_are_the_last_of_those_on_update() {
    for seed in 0..60 {
        let (inputs, end) = with_an_end(records(seed));
        let time = TimeWindows::of_size_and_grace(ms(20), ms(6)).advance_by(ms(7));
        let sliding = SlidingWindows::of_time_difference_and_grace(ms(9), ms(6));
        let session = SessionWindows::of_inactivity_gap_and_grace(ms(5), ms(6));
        let closes = EmitStrategy::on_window_close();
        // Stream time jumps at the end: what is to be emitted then must still be in the store.
        let kept = || stored().with_retention_ms(10_000);
        let suppressed = || Suppressed::until_window_closes(BufferConfig::unbounded());
        type Program = Box<dyn Fn(KGroupedStream<String, i64>) -> Table>;
        let programs: [(Option<i64>, [Program; 3]); 3] = [
            (
                Some(20),
                [
                    Box::new(move |it| it.windowed_by(time).aggregate(Values::new, add, kept())),
                    Box::new(move |it| {
                        it.windowed_by(time).emit_strategy(closes).aggregate(Values::new, add, kept())
                    }),
                    Box::new(move |it| {
                        let table = it.windowed_by(time).aggregate(Values::new, add, kept());
                        table.suppress(suppressed())
                    }),
                ],
            ),
            (
                Some(9),
                [
                    Box::new(move |it| it.windowed_by(sliding).aggregate(Values::new, add, kept())),
                    Box::new(move |it| {
                        it.windowed_by(sliding).emit_strategy(closes).aggregate(Values::new, add, kept())
                    }),
                    Box::new(move |it| {
                        let table = it.windowed_by(sliding).aggregate(Values::new, add, kept());
                        table.suppress(suppressed())
                    }),
                ],
            ),
            (
                None,
                [
                    Box::new(move |it| it.windowed_by(session).aggregate(Values::new, add, merge, kept())),
                    Box::new(move |it| {
                        it.windowed_by(session).emit_strategy(closes).aggregate(
                            Values::new,
                            add,
                            merge,
                            kept(),
                        )
                    }),
                    Box::new(move |it| {
                        let table = it.windowed_by(session).aggregate(Values::new, add, merge, kept());
                        table.suppress(suppressed())
                    }),
                ],
            ),
        ];
        for (size, [update, close, suppress]) in programs {
            let updates = rows(run(&inputs, 0, size.is_none(), update).0, size);
            for (program, once) in [(close, true), (suppress, size == Some(20))] {
                let (last, _) = run(&inputs, 0, size.is_none(), program);
                check_final(seed, updates.clone(), last, size, (end, once));
            }
        }
    }
}
