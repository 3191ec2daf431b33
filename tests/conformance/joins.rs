//! Joins: of two streams, of a stream with a table, of two tables.

use std::time::Duration;

use kstreams::state::StoreType;
use kstreams::{JoinWindows, Joined, KStream, KTable, Named, StreamJoined, TableJoined};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, ProgramError, Var, must, named, opt, s, text_of};
use super::stateful::Kept;
use super::types::{
    AsKey, AsVal, KitKey, KitValue, OK, OV, Serdes, Stream, StreamOf, Table, TableOf, Types, by_value, on,
};
use super::value::{Key, text};

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
            (Var::Stream(left, types), Var::Stream(right, _)) => {
                let joined = match (left, right) {
                    (Stream::Text(l), Stream::Text(r)) => streams(l, r, statement, types),
                    (Stream::Windowed(l), Stream::Windowed(r)) => streams(l, r, statement, types),
                    _ => return other_keys(),
                };
                self.set(statement, Var::Stream(joined, types.texts()))
            }
            (Var::Stream(left, types), Var::Table(right, _)) => {
                let joined = match (left, right) {
                    (Stream::Text(l), Table::Text(r)) => with_table(l, r, statement, types),
                    (Stream::Windowed(l), Table::Windowed(r)) => with_table(l, r, statement, types),
                    _ => return other_keys(),
                };
                self.set(statement, Var::Stream(joined, types.texts()))
            }
            (Var::Stream(stream, types), Var::Global(table)) => {
                self.global_join(statement, stream, types, &table)
            }
            (Var::Table(left, types), Var::Table(right, _)) => {
                let types = types.texts();
                let joined = match (left, right) {
                    (Table::Text(l), Table::Text(r)) => self.tables_of(l, r, statement, types)?,
                    (Table::Windowed(l), Table::Windowed(r)) => self.tables_of(l, r, statement, types)?,
                    _ => return other_keys(),
                };
                self.set(statement, Var::Table(joined, types))
            }
            _ => Err(ProgramError::NotThereYet(format!("{} join", s(statement, "kind")))),
        }
    }

    pub(super) fn foreign_key_join(&mut self, statement: &Value) -> Built {
        let (Var::Table(left, types), Var::Table(Table::Text(right), other)) =
            (self.var(statement, "in")?, self.var(statement, "other")?)
        else {
            return other_keys();
        };
        let joined = on!(Table / TableOf, left, l => {
            by_value!(TableOf, right, r => self.by_foreign_key(&l, &r, statement, (types, other)))
        });
        self.set(statement, Var::Table(joined?, types.texts()))
    }

    fn by_foreign_key<K: KitKey, L: AsVal + Serdes, R: AsVal + Serdes>(
        &mut self,
        left: &KTable<K, L>,
        right: &KTable<OK, R>,
        statement: &Value,
        (this, other): (Types, Types),
    ) -> Built<Table> {
        let materialized = self.materialized_or_serdes::<K, OV>(statement, this.texts(), Kept::Rows)?;
        let (spec, join) = (s(statement, "extract"), joiner(statement));
        let extract = move |key: &K, value: &L| text_of(&spec, &key.key(), &value.val()).map(Key::Text);
        let (key, value) = (K::serde(this), L::serde(this));
        let mut joined = TableJoined::with(key, value, OK::serde(other), R::serde(other));
        if let Some(name) = opt(statement, "named") {
            joined = joined.with_name(name);
        }
        Ok(K::table(match statement["kind"].as_str() {
            Some("inner") => {
                let join = move |l: L, r: R| join(&None, l.val(), r.val());
                left.join_on_foreign_key_with(right, extract, join, joined, materialized)
            }
            _ => {
                let join = move |l: L, r: Option<R>| join(&None, l.val(), or_null(r));
                left.left_join_on_foreign_key_with(right, extract, join, joined, materialized)
            }
        }))
    }

    fn tables_of<K: KitKey>(
        &mut self,
        left: TableOf<K>,
        right: TableOf<K>,
        statement: &Value,
        types: Types,
    ) -> Built<Table> {
        let joined = by_value!(TableOf, left, l => {
            by_value!(TableOf, right, r => self.tables(&l, &r, statement, types))
        });
        Ok(K::table(joined?))
    }

    fn tables<K, L, R>(
        &mut self,
        left: &KTable<K, L>,
        right: &KTable<K, R>,
        statement: &Value,
        types: Types,
    ) -> Built<KTable<K, OV>>
    where
        K: KitKey,
        L: AsVal,
        R: AsVal,
    {
        let name = named(statement);
        Ok(match self.materialized::<K, OV>(statement, types, Kept::Rows)? {
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

fn with_table<K: KitKey>(stream: StreamOf<K>, table: TableOf<K>, statement: &Value, types: Types) -> Stream {
    K::stream(by_value!(StreamOf, stream, l => {
        by_value!(TableOf, table, r => stream_table(&l, &r, statement, types))
    }))
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

fn streams<K: KitKey>(left: StreamOf<K>, right: StreamOf<K>, statement: &Value, types: Types) -> Stream {
    K::stream(by_value!(StreamOf, left, l => {
        by_value!(StreamOf, right, r => two_streams(&l, &r, statement, types))
    }))
}

fn two_streams<K, V, V2>(
    left: &KStream<K, V>,
    right: &KStream<K, V2>,
    statement: &Value,
    types: Types,
) -> KStream<K, OV>
where
    K: KitKey,
    V: KitValue,
    V2: KitValue,
{
    // The Rust types say what the values are.
    let types = types.texts();
    let mut joined = StreamJoined::with(K::serde(types), V::serde(types), V2::serde(types));
    if let Some(name) = opt(statement, "named") {
        joined = joined.with_name(name);
    }
    if let Some(name) = opt(statement, "store_name") {
        joined = joined.with_store_name(name);
    }
    match statement["store"].as_str() {
        Some("in-memory") => joined = joined.in_memory(),
        Some(_) => joined = joined.with_store_type(StoreType::RocksDb),
        None => {}
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
