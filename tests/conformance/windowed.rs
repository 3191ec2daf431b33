//! Statements on windows: windowedBy with its kinds of windows, sessions, cogroup, suppress.

use kstreams::{
    BufferConfig, CogroupedKStream, EagerBufferConfig, EmitStrategy, KGroupedStream,
    SessionWindowedCogroupedKStream, SessionWindowedKStream, SessionWindows, SlidingWindows, Suppressed,
    TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows, UnlimitedWindows, UntilTimeLimit,
    UntilWindowCloses, WindowDefinition,
};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, ProgramError, Var, ms, named, not_there_yet, opt, s};
use super::stateful::{aggregator, reducer};
use super::stores::{SessionReader, StoreReader};
use super::types::{OK, OV, Serdes, Table, Types, WK};
use super::value::KeyKind;

/// What windowedBy makes of a grouped stream or of cogrouped ones.
#[derive(Clone)]
pub(super) enum Windowed {
    Time(TimeWindowedKStream<OK, OV>),
    Session(SessionWindowedKStream<OK, OV>),
    TimeCogrouped(TimeWindowedCogroupedKStream<OK, OV>),
    SessionCogrouped(SessionWindowedCogroupedKStream<OK, OV>),
}

/// The two kinds of handles that have windows.
enum Source {
    Grouped(KGroupedStream<OK, OV>),
    Cogrouped(CogroupedKStream<OK, OV>),
}

impl Building {
    pub(super) fn windowed_by(&mut self, statement: &Value) -> Built {
        let (source, types) = match self.var(statement, "in")? {
            Var::Grouped(grouped, types) => (Source::Grouped(grouped), types),
            Var::Cogrouped(cogrouped, types) => (Source::Cogrouped(cogrouped), types),
            _ => return not_there_yet(statement),
        };
        let window = &statement["window"];
        let grace = ms(window, "grace_ms");
        let of_size = TimeWindows::of_size_and_grace(ms(window, "size_ms"), grace);
        let (windowed, key) = match window["type"].as_str() {
            Some("tumbling") => (by_time(source, of_size), KeyKind::of_size(window, "size_ms")),
            Some("hopping") => {
                let hopping = of_size.advance_by(ms(window, "advance_ms"));
                (by_time(source, hopping), KeyKind::of_size(window, "size_ms"))
            }
            Some("unlimited") => {
                let start = window["start_ms"].as_i64().unwrap_or(0);
                let unlimited = UnlimitedWindows::of().start_on_ms(start);
                (by_time(source, unlimited), KeyKind::TimeWindow(i64::MAX))
            }
            Some("sliding") => {
                let sliding = SlidingWindows::of_time_difference_and_grace(ms(window, "diff_ms"), grace);
                (by_time(source, sliding), KeyKind::of_size(window, "diff_ms"))
            }
            Some("session") => {
                let sessions = SessionWindows::of_inactivity_gap_and_grace(ms(window, "gap_ms"), grace);
                let windowed = match source {
                    Source::Grouped(it) => Windowed::Session(it.windowed_by(sessions)),
                    Source::Cogrouped(it) => Windowed::SessionCogrouped(it.windowed_by(sessions)),
                };
                (windowed, KeyKind::Session)
            }
            other => return Err(ProgramError::NotThereYet(format!("{other:?} windows"))),
        };
        let emit = match statement["emit"].as_str() {
            None => None,
            Some("on-window-close") => Some(EmitStrategy::on_window_close()),
            Some(_) => Some(EmitStrategy::on_window_update()),
        };
        let windowed = match (windowed, emit) {
            (Windowed::Time(it), Some(emit)) => Windowed::Time(it.emit_strategy(emit)),
            (Windowed::Session(it), Some(emit)) => Windowed::Session(it.emit_strategy(emit)),
            (windowed, _) => windowed,
        };
        self.set(statement, Var::Windowed(windowed, Types { key, ..types }))
    }

    pub(super) fn cogroup(&mut self, statement: &Value) -> Built {
        let add = aggregator(s(statement, "fn"));
        let (cogrouped, types) = match self.var(statement, "in")? {
            Var::Grouped(grouped, types) => (grouped.cogroup(add), types),
            Var::Cogrouped(cogrouped, types) => {
                let Var::Grouped(other, _) = self.var(statement, "group")? else {
                    return not_there_yet(statement);
                };
                (cogrouped.cogroup(&other, add), types)
            }
            _ => return not_there_yet(statement),
        };
        self.set(statement, Var::Cogrouped(cogrouped, types))
    }

    /// count, reduce and aggregate of sessions and of cogrouped streams.
    pub(super) fn session_or_cogroup(&mut self, statement: &Value, source: Var) -> Built {
        let (f, name) = (s(statement, "fn"), named(statement));
        let stored = |long: bool| Types { key: KeyKind::Text, long };
        let long = statement["value_type"] == "long";
        let start = {
            let init = s(statement, "init");
            move || catalogue::initializer(&init)
        };
        let merge = {
            let merger = s(statement, "merger");
            move |_: &OK, one: OV, other: OV| catalogue::merger(&merger, &one, &other)
        };
        let (table, types): (Table, Types) = match (source, statement["op"].as_str()) {
            (Var::Windowed(Windowed::Session(it), types), Some("count")) => {
                let m = self.materialized_or_serdes::<OK, i64>(statement, stored(true), true)?;
                self.sessions(statement, SessionReader::<i64>::new);
                (it.count_with(name, m).into(), Types { long: true, ..types })
            }
            (Var::Windowed(Windowed::Session(it), types), Some("reduce")) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(types.long), true)?;
                self.sessions(statement, SessionReader::<OV>::new);
                (it.reduce_with(reducer(f, types.long), name, m).into(), types)
            }
            (Var::Windowed(Windowed::Session(it), types), _) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(long), true)?;
                self.sessions(statement, SessionReader::<OV>::new);
                let table = it.aggregate_with(start, aggregator(f), merge, name, m);
                (table.into(), Types { long, ..types })
            }
            (Var::Windowed(Windowed::SessionCogrouped(it), types), _) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(long), true)?;
                self.sessions(statement, SessionReader::<OV>::new);
                (it.aggregate_with(start, merge, name, m).into(), Types { long, ..types })
            }
            (Var::Windowed(Windowed::TimeCogrouped(it), types), _) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(long), true)?;
                (it.aggregate_with(start, name, m).into(), Types { long, ..types })
            }
            (Var::Cogrouped(it, types), _) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(long), false)?;
                (it.aggregate_with(start, name, m).into(), Types { long, ..types })
            }
            _ => return not_there_yet(statement),
        };
        self.set(statement, Var::Table(table, types))
    }

    pub(super) fn suppress(&mut self, statement: &Value) -> Built {
        let Var::Table(table, types) = self.var(statement, "in")? else { return not_there_yet(statement) };
        let table: Table = match (table, s(statement, "until").as_str()) {
            (Table::Wt(it), "window-closes") => {
                it.suppress_with(serdes::<WK, OV, _>(until_closed(statement), types)).into()
            }
            (Table::Wl(it), "window-closes") => {
                it.suppress_with(serdes::<WK, i64, _>(until_closed(statement), types)).into()
            }
            (_, "window-closes") => return not_there_yet(statement),
            (Table::Tt(it), _) => it.suppress_with(serdes::<OK, OV, _>(until_limit(statement), types)).into(),
            (Table::Tl(it), _) => {
                it.suppress_with(serdes::<OK, i64, _>(until_limit(statement), types)).into()
            }
            (Table::Wt(it), _) => it.suppress_with(serdes::<WK, OV, _>(until_limit(statement), types)).into(),
            (Table::Wl(it), _) => {
                it.suppress_with(serdes::<WK, i64, _>(until_limit(statement), types)).into()
            }
        };
        self.set(statement, Var::Table(table, types))
    }

    /// The statement's store holds sessions.
    fn sessions<R: StoreReader + 'static>(&mut self, statement: &Value, reader: impl Fn(&str) -> R) {
        if let Some(name) = opt(&statement["materialized"], "name") {
            let reader = Box::new(reader(&name));
            self.program.stores.insert(name, reader);
        }
    }
}

fn by_time<W>(source: Source, windows: W) -> Windowed
where
    W: WindowDefinition<
            Windowed<OK, OV> = TimeWindowedKStream<OK, OV>,
            Cogrouped<OK, OV> = TimeWindowedCogroupedKStream<OK, OV>,
        >,
{
    match source {
        Source::Grouped(it) => Windowed::Time(it.windowed_by(windows)),
        Source::Cogrouped(it) => Windowed::TimeCogrouped(it.windowed_by(windows)),
    }
}

fn serdes<K: Serdes, V: Serdes, T>(
    suppressed: Suppressed<T>,
    types: Types,
) -> Suppressed<T, K::Serde, V::Serde> {
    suppressed.with_key_serde(K::serde(types)).with_value_serde(V::serde(types))
}

fn until_closed(statement: &Value) -> Suppressed<UntilWindowCloses> {
    named_as(Suppressed::until_window_closes(buffer(statement).shut_down_when_full()), statement)
}

fn until_limit(statement: &Value) -> Suppressed<UntilTimeLimit> {
    let (limit, buffer) = (ms(statement, "limit_ms"), buffer(statement));
    let suppressed = match statement["full"].as_str() {
        Some("shutdown") => Suppressed::until_time_limit(limit, buffer.shut_down_when_full()),
        _ => Suppressed::until_time_limit(limit, buffer.emit_early_when_full()),
    };
    named_as(suppressed, statement)
}

fn named_as<T>(suppressed: Suppressed<T>, statement: &Value) -> Suppressed<T> {
    match opt(statement, "name") {
        Some(name) => suppressed.with_name(name),
        None => suppressed,
    }
}

fn buffer(statement: &Value) -> EagerBufferConfig {
    let mut buffer = BufferConfig::unbounded().emit_early_when_full();
    if let Some(records) = statement["max_records"].as_u64() {
        buffer = buffer.with_max_records(records);
    }
    if let Some(bytes) = statement["max_bytes"].as_u64() {
        buffer = buffer.with_max_bytes(bytes);
    }
    if statement["logging"] == false { buffer.with_logging_disabled() } else { buffer }
}
