//! Calls of recorded programs on windows, sessions, cogrouped streams, and suppress.

use std::time::Duration;

use kstreams_dsl::{
    BufferConfig, CogroupedKStream, EmitStrategy, KGroupedStream, KTable, SessionWindowedCogroupedKStream,
    SessionWindowedKStream, SessionWindows, SlidingWindows, Suppressed, TimeWindowedCogroupedKStream,
    TimeWindowedKStream, TimeWindows, UnlimitedWindows, UntilTimeLimit, WindowDefinition,
};

use crate::functions::{self as f, Text};
use crate::interpreter::{Node, materialized, named};
use crate::program::Call;

/// What only windowed programs have.
#[derive(Clone)]
pub(crate) enum Windowed {
    Time(TimeWindowedKStream<Text, Text>),
    Sessions(SessionWindowedKStream<Text, Text>),
    Cogrouped(CogroupedKStream<Text, Text>),
    TimeCogrouped(TimeWindowedCogroupedKStream<Text, Text>),
    SessionCogrouped(SessionWindowedCogroupedKStream<Text, Text>),
}

fn ms(call: &Call, name: &str) -> Duration {
    Duration::from_millis(call.number(name).unwrap_or(0))
}

fn add(_: &Text, value: Text, aggregate: Text) -> Text {
    f::append(aggregate, &value)
}

fn start() -> Text {
    Some(String::new())
}

fn merge(_: &Text, one: Text, other: Text) -> Text {
    f::merge(&one, &other)
}

/// The two kinds of handles that have windows.
enum Source {
    Grouped(KGroupedStream<Text, Text>),
    Cogrouped(CogroupedKStream<Text, Text>),
}

/// A call on a grouped stream that is no aggregation over all time.
pub(crate) fn on_grouped(grouped: KGroupedStream<Text, Text>, call: &Call, other: Option<Node>) -> Node {
    assert!(other.is_none());
    match &*call.op {
        "cogroup" => Node::Windowed(Windowed::Cogrouped(grouped.cogroup(add))),
        _ => windowed_by(Source::Grouped(grouped), call),
    }
}

fn windowed_by(source: Source, call: &Call) -> Node {
    let grace = ms(call, "grace");
    Node::Windowed(match &*call.op {
        "timeWindow" => {
            let windows = TimeWindows::of_size_and_grace(ms(call, "size"), grace);
            match call.arg("advance") {
                Some(_) => by_time(source, windows.advance_by(ms(call, "advance"))),
                None => by_time(source, windows),
            }
        }
        "unlimitedWindow" => by_time(source, UnlimitedWindows::of()),
        "slidingWindow" => {
            by_time(source, SlidingWindows::of_time_difference_and_grace(ms(call, "diff"), grace))
        }
        "sessionWindow" => {
            let windows = SessionWindows::of_inactivity_gap_and_grace(ms(call, "gap"), grace);
            match source {
                Source::Grouped(it) => Windowed::Sessions(it.windowed_by(windows)),
                Source::Cogrouped(it) => Windowed::SessionCogrouped(it.windowed_by(windows)),
            }
        }
        other => panic!("unknown call {other}"),
    })
}

fn by_time<W>(source: Source, windows: W) -> Windowed
where
    W: WindowDefinition<
            Windowed<Text, Text> = TimeWindowedKStream<Text, Text>,
            Cogrouped<Text, Text> = TimeWindowedCogroupedKStream<Text, Text>,
        >,
{
    match source {
        Source::Grouped(it) => Windowed::Time(it.windowed_by(windows)),
        Source::Cogrouped(it) => Windowed::TimeCogrouped(it.windowed_by(windows)),
    }
}

pub(crate) fn on_windowed(windowed: Windowed, call: &Call, other: Option<Node>) -> Node {
    let (name, store) = (named(call), materialized(call));
    let append = |old, new| f::append(old, &new);
    let closes = EmitStrategy::on_window_close();
    match (windowed, &*call.op) {
        (Windowed::Time(it), "emitFinal") => Node::Windowed(Windowed::Time(it.emit_strategy(closes))),
        (Windowed::Sessions(it), "emitFinal") => Node::Windowed(Windowed::Sessions(it.emit_strategy(closes))),
        (Windowed::Time(it), "count") => Node::WindowCountTable(it.count_with(name, store)),
        (Windowed::Time(it), "reduce") => Node::WindowTable(it.reduce_with(append, name, store)),
        (Windowed::Time(it), "aggregate") => Node::WindowTable(it.aggregate_with(start, add, name, store)),
        (Windowed::Sessions(it), "count") => Node::WindowCountTable(it.count_with(name, store)),
        (Windowed::Sessions(it), "reduce") => Node::WindowTable(it.reduce_with(append, name, store)),
        (Windowed::Sessions(it), "aggregate") => {
            Node::WindowTable(it.aggregate_with(start, add, merge, name, store))
        }
        (Windowed::Cogrouped(it), "cogroup") => match other {
            Some(Node::Grouped(other)) => Node::Windowed(Windowed::Cogrouped(it.cogroup(&other, add))),
            _ => panic!("a grouped stream is cogrouped"),
        },
        (Windowed::Cogrouped(it), "aggregate") => Node::Table(it.aggregate_with(start, name, store)),
        (Windowed::Cogrouped(it), _) => windowed_by(Source::Cogrouped(it), call),
        (Windowed::TimeCogrouped(it), "aggregate") => {
            Node::WindowTable(it.aggregate_with(start, name, store))
        }
        (Windowed::SessionCogrouped(it), "aggregate") => {
            Node::WindowTable(it.aggregate_with(start, merge, name, store))
        }
        (_, other) => panic!("unknown call {other}"),
    }
}

fn suppressed<T>(suppressed: Suppressed<T>, call: &Call) -> Suppressed<T> {
    match call.arg("name") {
        Some(name) => suppressed.with_name(name),
        None => suppressed,
    }
}

/// suppress until windows close.
pub(crate) fn suppress_counts(
    table: &KTable<kstreams_state_stores::Windowed<Text>, i64>,
    call: &Call,
) -> Node {
    assert!(call.arg("final").is_some());
    let until_closed = Suppressed::until_window_closes(BufferConfig::unbounded());
    Node::WindowCountTable(table.suppress(suppressed(until_closed, call)))
}

/// suppress until a time limit.
pub(crate) fn suppress(table: &KTable<Text, Text>, call: &Call) -> KTable<Text, Text> {
    let limit = ms(call, "time");
    let until_limit: Suppressed<UntilTimeLimit> = match call.number("maxRecords") {
        Some(records) => Suppressed::until_time_limit(limit, BufferConfig::max_records(records)),
        None => Suppressed::until_time_limit(limit, BufferConfig::unbounded()),
    };
    table.suppress(suppressed(until_limit, call))
}
