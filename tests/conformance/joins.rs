//! Joins: of two streams, of a stream with a table, of two tables.

use std::time::Duration;

use kstreams::{JoinWindows, Joined, KStream, KTable, Materialized, Named, StreamJoined, TableJoined};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, ProgramError, Var, must, named, opt, s, text_of};
use super::types::{AsKey, AsVal, OK, OV, Serdes, Stream, Table, Types, WK};
use super::value::{Key, KeySerde, ValSerde, text};

/// A joiner of key, left and right, whatever their Rust types.
fn joiner(statement: &Value) -> impl Fn(&OK, OV, OV) -> OV + Clone + Send + Sync + 'static {
    let spec = s(statement, "fn");
    move |key, left, right| must(catalogue::joiner(&spec, text(key).as_deref(), &left, &right))
}

/// A side that may be missing.
fn or_null<V: AsVal>(side: Option<V>) -> OV {
    side.and_then(|value| value.val())
}

impl Building {
    pub(super) fn join(&mut self, statement: &Value) -> Built {
        match (self.var(statement, "in")?, self.var(statement, "other")?) {
            (Var::Stream(left, types), Var::Stream(right, other)) => {
                let long = (types.long, other.long);
                let stream = |key| (statement, Types { key, ..types }, long);
                let joined: Stream = match (left, right) {
                    (Stream::Tt(l), Stream::Tt(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Tt(l), Stream::Tl(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Tl(l), Stream::Tt(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Tl(l), Stream::Tl(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Wt(l), Stream::Wt(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Wt(l), Stream::Wl(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Wl(l), Stream::Wt(r)) => streams(&l, &r, stream(types.key)).into(),
                    (Stream::Wl(l), Stream::Wl(r)) => streams(&l, &r, stream(types.key)).into(),
                    _ => return other_keys(),
                };
                self.set(statement, Var::Stream(joined, Types { long: false, ..types }))
            }
            (Var::Stream(left, types), Var::Table(right, _)) => {
                let joined: Stream = match (left, right) {
                    (Stream::Tt(l), Table::Tt(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Tt(l), Table::Tl(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Tl(l), Table::Tt(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Tl(l), Table::Tl(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Wt(l), Table::Wt(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Wt(l), Table::Wl(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Wl(l), Table::Wt(r)) => stream_table(&l, &r, statement, types).into(),
                    (Stream::Wl(l), Table::Wl(r)) => stream_table(&l, &r, statement, types).into(),
                    _ => return other_keys(),
                };
                self.set(statement, Var::Stream(joined, Types { long: false, ..types }))
            }
            (Var::Stream(stream, types), Var::Global(table)) => {
                self.global_join(statement, stream, types, &table)
            }
            (Var::Table(left, types), Var::Table(right, _)) => {
                let types = Types { long: false, ..types };
                let joined: Table = match (left, right) {
                    (Table::Tt(l), Table::Tt(r)) => self.tables::<OK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Tt(l), Table::Tl(r)) => self.tables::<OK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Tl(l), Table::Tt(r)) => self.tables::<OK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Tl(l), Table::Tl(r)) => self.tables::<OK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Wt(l), Table::Wt(r)) => self.tables::<WK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Wt(l), Table::Wl(r)) => self.tables::<WK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Wl(l), Table::Wt(r)) => self.tables::<WK, _, _>(&l, &r, statement, types)?.into(),
                    (Table::Wl(l), Table::Wl(r)) => self.tables::<WK, _, _>(&l, &r, statement, types)?.into(),
                    _ => return other_keys(),
                };
                self.set(statement, Var::Table(joined, types))
            }
            _ => Err(ProgramError::NotThereYet(format!("{} join", s(statement, "kind")))),
        }
    }

    pub(super) fn foreign_key_join(&mut self, statement: &Value) -> Built {
        let (Var::Table(left, types), Var::Table(right, other)) =
            (self.var(statement, "in")?, self.var(statement, "other")?)
        else {
            return other_keys();
        };
        let sides = (types, other);
        let types = Types { long: false, ..types };
        let materialized = self.materialized_or_serdes::<OK, OV>(statement, types, false)?;
        let joined: KTable<OK, OV> = match (left, right) {
            (Table::Tt(l), Table::Tt(r)) => by_foreign_key(&l, &r, (statement, sides), materialized),
            (Table::Tt(l), Table::Tl(r)) => by_foreign_key(&l, &r, (statement, sides), materialized),
            (Table::Tl(l), Table::Tt(r)) => by_foreign_key(&l, &r, (statement, sides), materialized),
            (Table::Tl(l), Table::Tl(r)) => by_foreign_key(&l, &r, (statement, sides), materialized),
            _ => return other_keys(),
        };
        self.set(statement, Var::Table(joined.into(), types))
    }

    fn tables<K, L, R>(
        &mut self,
        left: &KTable<K, L>,
        right: &KTable<K, R>,
        statement: &Value,
        types: Types,
    ) -> Built<KTable<K, OV>>
    where
        K: AsKey + Serdes,
        L: AsVal,
        R: AsVal,
    {
        let name = named(statement);
        Ok(match self.materialized::<K, OV>(statement, types, false)? {
            Some(materialized) => tables(left, right, statement, name, materialized),
            None => tables(left, right, statement, name, kstreams::Unmaterialized),
        })
    }
}

fn other_keys<T>() -> Built<T> {
    Err(ProgramError::NotThereYet("join of different keys".to_owned()))
}

fn tables<K: AsKey, L: AsVal, R: AsVal>(
    left: &KTable<K, L>,
    right: &KTable<K, R>,
    statement: &Value,
    name: Named,
    materialized: impl kstreams::TableMaterialization<K, OV>,
) -> KTable<K, OV> {
    let join = joiner(statement);
    match statement["kind"].as_str() {
        Some("inner") => left.join_with(right, move |l, r| join(&None, l.val(), r.val()), name, materialized),
        Some("left") => {
            left.left_join_with(right, move |l, r| join(&None, l.val(), or_null(r)), name, materialized)
        }
        _ => left.outer_join_with(right, move |l, r| join(&None, or_null(l), or_null(r)), name, materialized),
    }
}

fn by_foreign_key<L: AsVal + Serdes, R: AsVal + Serdes>(
    left: &KTable<OK, L>,
    right: &KTable<OK, R>,
    (statement, (this, other)): (&Value, (Types, Types)),
    materialized: Materialized<Option<KeySerde>, Option<ValSerde>>,
) -> KTable<OK, OV> {
    let (spec, join) = (s(statement, "extract"), joiner(statement));
    let extract = move |key: &OK, value: &L| text_of(&spec, key, &value.val()).map(Key::Text);
    let (key, value) = (OK::serde(this), L::serde(this));
    let mut joined = TableJoined::with(key, value, OK::serde(other), R::serde(other));
    if let Some(name) = opt(statement, "named") {
        joined = joined.with_name(name);
    }
    match statement["kind"].as_str() {
        Some("inner") => {
            let join = move |l: L, r: R| join(&None, l.val(), r.val());
            left.join_on_foreign_key_with(right, extract, join, joined, materialized)
        }
        _ => {
            let join = move |l: L, r: Option<R>| join(&None, l.val(), or_null(r));
            left.left_join_on_foreign_key_with(right, extract, join, joined, materialized)
        }
    }
}

fn stream_table<K, V, VT>(
    stream: &KStream<K, V>,
    table: &KTable<K, VT>,
    statement: &Value,
    types: Types,
) -> KStream<K, OV>
where
    K: AsKey + Serdes,
    V: AsVal + Serdes,
    VT: AsVal,
{
    let mut joined = Joined::with(K::serde(types), V::serde(types));
    if let Some(name) = opt(statement, "named") {
        joined = joined.with_name(name);
    }
    if let Some(grace) = statement["grace_ms"].as_u64() {
        joined = joined.with_grace(Duration::from_millis(grace));
    }
    let join = joiner(statement);
    match statement["kind"].as_str() {
        Some("inner") => {
            stream.join_with(table, move |k: &K, l: V, r: VT| join(&k.key(), l.val(), r.val()), joined)
        }
        _ => stream.left_join_with(
            table,
            move |k: &K, l: V, r: Option<VT>| join(&k.key(), l.val(), or_null(r)),
            joined,
        ),
    }
}

type StreamsToJoin<'a> = (&'a Value, Types, (bool, bool));

fn streams<K, V, V2>(
    left: &KStream<K, V>,
    right: &KStream<K, V2>,
    (statement, types, long): StreamsToJoin<'_>,
) -> KStream<K, OV>
where
    K: AsKey + Serdes,
    V: AsVal + Serdes,
    V2: AsVal + Serdes,
{
    let of = |long| Types { long, ..types };
    let mut joined = StreamJoined::with(K::serde(types), V::serde(of(long.0)), V2::serde(of(long.1)));
    if let Some(name) = opt(statement, "named") {
        joined = joined.with_name(name);
    }
    if let Some(name) = opt(statement, "store_name") {
        joined = joined.with_store_name(name);
    }
    if statement["store"] == "in-memory" {
        joined = joined.in_memory();
    }
    if statement["logging"] == false {
        joined = joined.with_logging_disabled();
    }
    let windows = join_windows(&statement["window"]);
    let join = joiner(statement);
    match statement["kind"].as_str() {
        Some("inner") => {
            let join = move |k: &K, l: V, r: V2| join(&k.key(), l.val(), r.val());
            left.join_stream_with(right, join, windows, joined)
        }
        Some("left") => {
            let join = move |k: &K, l: V, r: Option<V2>| join(&k.key(), l.val(), or_null(r));
            left.left_join_stream_with(right, join, windows, joined)
        }
        _ => {
            let join = move |k: &K, l: Option<V>, r: Option<V2>| join(&k.key(), or_null(l), or_null(r));
            left.outer_join_stream_with(right, join, windows, joined)
        }
    }
}

fn join_windows(window: &Value) -> JoinWindows {
    let ms = |field: &str| window[field].as_i64().unwrap_or(0);
    let grace = Duration::from_millis(window["grace_ms"].as_u64().unwrap_or(0));
    JoinWindows::of_time_difference_and_grace(Duration::ZERO, grace)
        .before_ms(ms("before_ms"))
        .after_ms(ms("after_ms"))
}
