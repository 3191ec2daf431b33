//! Statements on windows: windowedBy with its kinds of windows, sessions, cogroup, suppress.

use kstreams::{
    BufferConfig, CogroupedKStream, EagerBufferConfig, EmitStrategy, KGroupedStream, KTable,
    SessionWindowedCogroupedKStream, SessionWindowedKStream, SessionWindows, SlidingWindows, Suppressed,
    TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows, UnlimitedWindows, UntilTimeLimit,
    UntilWindowCloses,
};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, ProgramError, Var, ms, named, not_there_yet, opt, s};
use super::stateful::{Kept, aggregated, aggregator, reducer, start};
use super::types::{
    Grouped, GroupedOf, KitKey, KitValue, OK, OL, OV, Serdes, Table, TableOf, Types, WK, by_value, on, typed,
};
use super::value::KeyKind;

/// What is the same for texts and for longs.
#[derive(Clone)]
pub(super) enum Of<T, L> {
    T(T),
    L(L),
}

/// A grouped stream by windows.
#[derive(Clone)]
pub(super) enum WindowedOf<V> {
    Time(TimeWindowedKStream<OK, V>),
    Session(SessionWindowedKStream<OK, V>),
}
pub(super) type Windowed = Of<WindowedOf<OV>, WindowedOf<OL>>;

/// Cogrouped streams, by what they are aggregated into.
pub(super) type Cogrouped = Of<CogroupedKStream<OK, OV>, CogroupedKStream<OK, OL>>;

/// The same by windows.
#[derive(Clone)]
pub(super) enum WindowedCogroupedOf<A> {
    Time(TimeWindowedCogroupedKStream<OK, A>),
    Session(SessionWindowedCogroupedKStream<OK, A>),
}
pub(super) type WindowedCogrouped = Of<WindowedCogroupedOf<OV>, WindowedCogroupedOf<OL>>;

/// The windows of a statement.
#[derive(Clone, Copy)]
enum Windows {
    Time(TimeWindows),
    Unlimited(UnlimitedWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
}

/// The statement's windows, and the keys of what is aggregated by them.
fn windows(window: &Value) -> Built<(Windows, KeyKind)> {
    let grace = ms(window, "grace_ms");
    let of_size = TimeWindows::of_size_and_grace(ms(window, "size_ms"), grace);
    Ok(match window["type"].as_str() {
        Some("tumbling") => (Windows::Time(of_size), KeyKind::of_size(window, "size_ms")),
        Some("hopping") => {
            let hopping = of_size.advance_by(ms(window, "advance_ms"));
            (Windows::Time(hopping), KeyKind::of_size(window, "size_ms"))
        }
        Some("unlimited") => {
            let unlimited = UnlimitedWindows::of().start_on_ms(window["start_ms"].as_i64().unwrap_or(0));
            (Windows::Unlimited(unlimited), KeyKind::TimeWindow(i64::MAX))
        }
        Some("sliding") => {
            let sliding = SlidingWindows::of_time_difference_and_grace(ms(window, "diff_ms"), grace);
            (Windows::Sliding(sliding), KeyKind::of_size(window, "diff_ms"))
        }
        Some("session") => {
            let sessions = SessionWindows::of_inactivity_gap_and_grace(ms(window, "gap_ms"), grace);
            (Windows::Session(sessions), KeyKind::Session)
        }
        other => return Err(ProgramError::NotThereYet(format!("{other:?} windows"))),
    })
}

impl Windows {
    fn grouped<V: KitValue>(
        self,
        grouped: &KGroupedStream<OK, V>,
        emit: Option<EmitStrategy>,
    ) -> WindowedOf<V> {
        let of_time = |it: TimeWindowedKStream<OK, V>| {
            WindowedOf::Time(match emit {
                Some(emit) => it.emit_strategy(emit),
                None => it,
            })
        };
        match self {
            Windows::Time(windows) => of_time(grouped.windowed_by(windows)),
            Windows::Unlimited(windows) => of_time(grouped.windowed_by(windows)),
            Windows::Sliding(windows) => of_time(grouped.windowed_by(windows)),
            Windows::Session(windows) => {
                let it = grouped.windowed_by(windows);
                WindowedOf::Session(match emit {
                    Some(emit) => it.emit_strategy(emit),
                    None => it,
                })
            }
        }
    }

    fn cogrouped<A: KitValue>(self, cogrouped: &CogroupedKStream<OK, A>) -> WindowedCogroupedOf<A> {
        match self {
            Windows::Time(windows) => WindowedCogroupedOf::Time(cogrouped.windowed_by(windows)),
            Windows::Unlimited(windows) => WindowedCogroupedOf::Time(cogrouped.windowed_by(windows)),
            Windows::Sliding(windows) => WindowedCogroupedOf::Time(cogrouped.windowed_by(windows)),
            Windows::Session(windows) => WindowedCogroupedOf::Session(cogrouped.windowed_by(windows)),
        }
    }
}

/// The store's key is the text; only the result's key is windowed.
fn stored(long: bool) -> Types {
    Types { key: KeyKind::Text, long }
}

/// The statement's merger of sessions.
fn merger<A: KitValue>(statement: &Value) -> impl Fn(&OK, A, A) -> A + Send + Sync + 'static {
    let merger = s(statement, "merger");
    move |_, one, other| typed(catalogue::merger(&merger, &one.val(), &other.val()))
}

impl Building {
    pub(super) fn windowed_by(&mut self, statement: &Value) -> Built {
        let (windows, key) = windows(&statement["window"])?;
        let emit = match statement["emit"].as_str() {
            None => None,
            Some("on-window-close") => Some(EmitStrategy::on_window_close()),
            Some(_) => Some(EmitStrategy::on_window_update()),
        };
        match self.var(statement, "in")? {
            Var::Grouped(Grouped::Text(grouped), types) => {
                let windowed = match grouped {
                    GroupedOf::T(it) => Of::T(windows.grouped(&it, emit)),
                    GroupedOf::L(it) => Of::L(windows.grouped(&it, emit)),
                };
                self.set(statement, Var::Windowed(windowed, Types { key, ..types }))
            }
            // Here windows are emitted at each update, whatever the statement says.
            Var::Cogrouped(cogrouped, types) => {
                let windowed = match cogrouped {
                    Of::T(it) => Of::T(windows.cogrouped(&it)),
                    Of::L(it) => Of::L(windows.cogrouped(&it)),
                };
                self.set(statement, Var::WindowedCogrouped(windowed, Types { key, ..types }))
            }
            _ => not_there_yet(statement),
        }
    }

    pub(super) fn cogroup(&mut self, statement: &Value) -> Built {
        let add = s(statement, "fn");
        let (cogrouped, types) = match self.var(statement, "in")? {
            Var::Grouped(Grouped::Text(grouped), types) => {
                let cogrouped = match catalogue::makes_longs(&add) {
                    true => Of::L(by_value!(GroupedOf, grouped, it => it.cogroup(aggregator(add)))),
                    false => Of::T(by_value!(GroupedOf, grouped, it => it.cogroup(aggregator(add)))),
                };
                (cogrouped, types.texts())
            }
            Var::Cogrouped(cogrouped, types) => {
                let Var::Grouped(Grouped::Text(other), _) = self.var(statement, "group")? else {
                    return not_there_yet(statement);
                };
                let cogrouped = match cogrouped {
                    Of::T(it) => Of::T(by_value!(GroupedOf, other, o => it.cogroup(&o, aggregator(add)))),
                    Of::L(it) => Of::L(by_value!(GroupedOf, other, o => it.cogroup(&o, aggregator(add)))),
                };
                (cogrouped, types)
            }
            _ => return not_there_yet(statement),
        };
        let (id, of) = (s(statement, "id"), s(statement, "in"));
        let family = self.families.get(&of).cloned().unwrap_or_else(|| id.clone());
        self.families.insert(id, family.clone());
        for member in self.families.iter().filter(|(_, of)| **of == family).map(|(member, _)| member) {
            self.vars.insert(member.clone(), Var::Cogrouped(cogrouped.clone(), types));
        }
        Ok(())
    }

    /// count, reduce and aggregate by windows.
    pub(super) fn windowed_aggregation(
        &mut self,
        statement: &Value,
        windowed: Windowed,
        types: Types,
    ) -> Built<Table> {
        let types = stored(types.long);
        by_value!(Of, windowed, it => self.by_windows(statement, &it, types))
    }

    fn by_windows<V: KitValue>(
        &mut self,
        statement: &Value,
        windowed: &WindowedOf<V>,
        types: Types,
    ) -> Built<Table>
    where
        TableOf<WK>: From<KTable<WK, V>>,
    {
        let f = || s(statement, "fn");
        Ok(match windowed {
            WindowedOf::Time(it) => {
                aggregated!(self, statement, it: TimeWindowedKStream<OK, V> => WK, (types, Kept::Windows),
                    reduce(reducer(f())), aggregate(aggregator(f())))
            }
            WindowedOf::Session(it) => {
                aggregated!(self, statement, it: SessionWindowedKStream<OK, V> => WK, (types, Kept::Sessions),
                    reduce(reducer(f())), aggregate(aggregator(f()), merger(statement)))
            }
        })
    }

    /// aggregate of cogrouped streams.
    pub(super) fn cogrouped(&mut self, statement: &Value, cogrouped: Cogrouped) -> Built<Table> {
        let name = named(statement);
        Ok(match cogrouped {
            Of::T(it) => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(false), Kept::Rows)?;
                OK::table(it.aggregate_with(start::<OV>(statement), name, m))
            }
            Of::L(it) => {
                let m = self.materialized_or_serdes::<OK, OL>(statement, stored(true), Kept::Rows)?;
                OK::table(it.aggregate_with(start::<OL>(statement), name, m))
            }
        })
    }

    /// aggregate of cogrouped streams by windows.
    pub(super) fn windowed_cogrouped(
        &mut self,
        statement: &Value,
        cogrouped: WindowedCogrouped,
    ) -> Built<Table> {
        by_value!(Of, cogrouped, it => self.cogrouped_by(statement, it))
    }

    fn cogrouped_by<A: KitValue>(
        &mut self,
        statement: &Value,
        cogrouped: WindowedCogroupedOf<A>,
    ) -> Built<Table>
    where
        TableOf<WK>: From<KTable<WK, A>>,
    {
        let (name, start) = (named(statement), start::<A>(statement));
        Ok(match cogrouped {
            WindowedCogroupedOf::Time(it) => {
                let m = self.materialized_or_serdes::<OK, A>(statement, stored(A::LONG), Kept::Windows)?;
                WK::table(it.aggregate_with(start, name, m))
            }
            WindowedCogroupedOf::Session(it) => {
                let m = self.materialized_or_serdes::<OK, A>(statement, stored(A::LONG), Kept::Sessions)?;
                WK::table(it.aggregate_with(start, merger(statement), name, m))
            }
        })
    }

    pub(super) fn suppress(&mut self, statement: &Value) -> Built {
        let Var::Table(table, types) = self.var(statement, "in")? else { return not_there_yet(statement) };
        let bounded = statement["max_records"].is_u64() || statement["max_bytes"].is_u64();
        if statement["until"] == "window-closes"
            && (statement["full"] == "emit-early" || bounded && statement["full"] != "shutdown")
        {
            return Err(ProgramError::DoesNotCompile("a result of closed windows cannot be emitted early"));
        }
        let table: Table = match (table, s(statement, "until").as_str()) {
            (Table::Windowed(rows), "window-closes") => by_value!(TableOf, rows, it => {
                it.suppress_with(with_serdes(until_closed(statement), &it, types)).into()
            }),
            (Table::Text(_), "window-closes") => {
                return Err(ProgramError::DoesNotCompile("the table has no windows to wait for"));
            }
            (table, _) => on!(Table / TableOf, table, it => {
                it.suppress_with(with_serdes(until_limit(statement), &it, types)).into()
            }),
        };
        self.set(statement, Var::Table(table, types))
    }
}

fn with_serdes<K: Serdes, V: Serdes, T>(
    suppressed: Suppressed<T>,
    _of: &KTable<K, V>,
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
