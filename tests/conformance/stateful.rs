//! Statements that keep state: tables, groupings, aggregations over all time.

use kstreams::state::{StoreType, ValueAndTimestamp};
use kstreams::{Grouped as GroupedOptions, KGroupedStream, KGroupedTable, KStream, KTable, Materialized};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, Var, must, named, not_there_yet, opt, s, text_of};
use super::stores::{KvReader, SessionReader, StoreReader, Stored, VersionedReader, WindowReader};
use super::types::{
    AsKey, AsVal, Grouped, GroupedOf, GroupedTable, GroupedTableOf, KitKey, KitValue, OK, OL, OV, Serdes,
    Stream, StreamOf, Table, TableOf, Types, by_value, on, typed,
};
use super::value::{Key, KeyKind, Val, show, text};

/// What a table's store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Rows,
    Windows,
    Sessions,
}

/// count, reduce or aggregate, as the statement says, of whatever is grouped by keys `$key` and has values `$value`; the table
/// has keys `$row`. `reduce` and `aggregate` list the functions that they are called with.
macro_rules! aggregated {
    (
        $building:ident, $statement:ident, $grouped:ident: $handle:ident<$key:ty, $value:ty> => $row:ty,
        ($types:expr, $kept:expr), reduce($($reduce:expr),+), aggregate($($aggregate:expr),+)
    ) => {{
        let (grouped, name, types): (&$handle<$key, $value>, _, Types) = ($grouped, named($statement), $types);
        match $statement["op"].as_str() {
            Some("count") => {
                let kept = $building.materialized_or_serdes::<$key, i64>($statement, types, $kept)?;
                <$row>::table(grouped.count_with(name, kept))
            }
            Some("reduce") => {
                let kept = $building.materialized_or_serdes::<$key, $value>($statement, types, $kept)?;
                <$row>::table(grouped.reduce_with($($reduce,)+ name, kept))
            }
            _ if types.long => {
                let kept = $building.materialized_or_serdes::<$key, OL>($statement, types, $kept)?;
                <$row>::table(grouped.aggregate_with(start::<OL>($statement), $($aggregate,)+ name, kept))
            }
            _ => {
                let kept = $building.materialized_or_serdes::<$key, OV>($statement, types, $kept)?;
                <$row>::table(grouped.aggregate_with(start::<OV>($statement), $($aggregate,)+ name, kept))
            }
        }
    }};
}
pub(super) use aggregated;

impl Building {
    /// The statement's Materialized, with a reader registered for a named store.
    pub(super) fn materialized<K: KitKey, V: Stored>(
        &mut self,
        statement: &Value,
        types: Types,
        kept: Kept,
    ) -> Built<Option<Materialized<K::Serde, V::Serde>>> {
        let spec = &statement["materialized"];
        if spec.is_null() {
            return Ok(None);
        }
        let mut materialized = Materialized::with(K::serde(types), V::serde(types));
        if let Some(name) = opt(spec, "name") {
            let reader: Box<dyn StoreReader> = match kept {
                Kept::Rows if spec["store"] == "versioned" => Box::new(VersionedReader::<K, V>::new(&name)),
                Kept::Rows => Box::new(KvReader::<K, ValueAndTimestamp<V>>::new(&name)),
                Kept::Windows => Box::new(WindowReader::<ValueAndTimestamp<V>>::new(&name)),
                Kept::Sessions => Box::new(SessionReader::<V>::new(&name)),
            };
            self.program.stores.insert(name.clone(), reader);
            materialized = materialized.with_store_name(name);
        }
        match spec["store"].as_str() {
            Some("versioned") => {
                materialized = materialized.versioned(spec["history_ms"].as_i64().unwrap_or(0));
            }
            Some("in-memory") => materialized = materialized.in_memory(),
            Some("persistent") => materialized = materialized.with_store_type(StoreType::RocksDb),
            _ => {}
        }
        match spec["caching"].as_bool() {
            Some(true) => materialized = materialized.with_caching_enabled(),
            Some(false) => materialized = materialized.with_caching_disabled(),
            None => {}
        }
        if spec["logging"] == false {
            materialized = materialized.with_logging_disabled();
        }
        if let Some(retention) = spec["retention_ms"].as_i64() {
            materialized = materialized.with_retention_ms(retention);
        }
        Ok(Some(materialized))
    }

    /// As [`materialized`](Self::materialized) where the call always has one.
    pub(super) fn materialized_or_serdes<K: KitKey, V: Stored>(
        &mut self,
        statement: &Value,
        types: Types,
        kept: Kept,
    ) -> Built<Materialized<K::Serde, V::Serde>> {
        let given = self.materialized::<K, V>(statement, types, kept)?;
        Ok(given.unwrap_or_else(|| Materialized::with(K::serde(types), V::serde(types))))
    }

    pub(super) fn table(&mut self, statement: &Value) -> Built {
        match statement["value_type"] == "long" {
            true => self.table_of::<OL>(statement),
            false => self.table_of::<OV>(statement),
        }
    }

    fn table_of<V: KitValue>(&mut self, statement: &Value) -> Built
    where
        TableOf<OK>: From<KTable<OK, V>>,
    {
        let (consumed, types) = self.consumed::<V>(statement);
        let topic = s(statement, "topic");
        let table = match self.materialized::<OK, V>(statement, types, Kept::Rows)? {
            Some(materialized) => self.builder.table_with(&topic, consumed, materialized),
            None => self.builder.table_with(&topic, consumed, Materialized::default()),
        };
        self.set(statement, Var::Table(OK::table(table), types))
    }

    pub(super) fn make_table(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let table = on!(Stream / StreamOf, stream, it => self.last_of_each(&it, statement, types));
        self.set(statement, Var::Table(table?, types))
    }

    fn last_of_each<K: KitKey, V: KitValue>(
        &mut self,
        stream: &KStream<K, V>,
        statement: &Value,
        types: Types,
    ) -> Built<Table>
    where
        TableOf<K>: From<KTable<K, V>>,
    {
        let materialized = self.materialized_or_serdes::<K, V>(statement, types, Kept::Rows)?;
        Ok(K::table(stream.to_table_with(named(statement), materialized)))
    }

    pub(super) fn group(&mut self, statement: &Value) -> Built {
        match (self.var(statement, "in")?, statement["op"] == "groupBy") {
            (Var::Stream(stream, types), false) => {
                let grouped = on!(Stream / StreamOf, stream, it => group_by_key(&it, statement, types));
                self.set(statement, Var::Grouped(grouped, types))
            }
            (Var::Stream(stream, types), true) => {
                let types = types.text_keys();
                let grouped = on!(Stream / StreamOf, stream, it => group_by(&it, statement, types));
                self.set(statement, Var::Grouped(grouped, types))
            }
            (Var::Table(table, types), true) => {
                let types = Types {
                    key: if statement["key"].is_null() { types.key } else { KeyKind::Text },
                    long: statement["value"].is_null() && types.long,
                };
                let grouped = on!(Table / TableOf, table, it => group_rows(&it, statement, types));
                self.set(statement, Var::GroupedTable(grouped, types))
            }
            _ => not_there_yet(statement),
        }
    }

    pub(super) fn aggregation(&mut self, statement: &Value) -> Built {
        let types = |types: Types| match statement["op"].as_str() {
            Some("count") => Types { long: true, ..types },
            Some("reduce") => types,
            _ => Types { long: statement["value_type"] == "long", ..types },
        };
        let (table, types) = match self.var(statement, "in")? {
            Var::Grouped(grouped, of) => {
                let types = types(of);
                (on!(Grouped / GroupedOf, grouped, it => self.aggregate(&it, statement, types))?, types)
            }
            Var::GroupedTable(grouped, of) => {
                let types = types(of);
                let table = on!(GroupedTable / GroupedTableOf, grouped, it => {
                    self.aggregate_rows(&it, statement, types)
                });
                (table?, types)
            }
            Var::Windowed(windowed, of) => {
                let types = types(of);
                (self.windowed_aggregation(statement, windowed, types)?, types)
            }
            Var::Cogrouped(cogrouped, of) => (self.cogrouped(statement, cogrouped)?, types(of)),
            Var::WindowedCogrouped(cogrouped, of) => {
                (self.windowed_cogrouped(statement, cogrouped)?, types(of))
            }
            _ => return not_there_yet(statement),
        };
        self.set(statement, Var::Table(table, types))
    }

    fn aggregate<K: KitKey, V: KitValue>(
        &mut self,
        grouped: &KGroupedStream<K, V>,
        statement: &Value,
        types: Types,
    ) -> Built<Table>
    where
        TableOf<K>: From<KTable<K, V>>,
    {
        let f = || s(statement, "fn");
        Ok(aggregated!(self, statement, grouped: KGroupedStream<K, V> => K, (types, Kept::Rows),
            reduce(reducer(f())), aggregate(aggregator(f()))))
    }

    fn aggregate_rows<K: KitKey, V: KitValue>(
        &mut self,
        grouped: &KGroupedTable<K, V>,
        statement: &Value,
        types: Types,
    ) -> Built<Table>
    where
        TableOf<K>: From<KTable<K, V>>,
    {
        let (add, remove) = (|| s(statement, "fn"), || s(statement, "sub"));
        Ok(aggregated!(self, statement, grouped: KGroupedTable<K, V> => K, (types, Kept::Rows),
            reduce(reducer(add()), reducer(remove())), aggregate(aggregator(add()), aggregator(remove()))))
    }
}

fn group_by_key<K: KitKey, V: KitValue>(stream: &KStream<K, V>, statement: &Value, types: Types) -> Grouped
where
    GroupedOf<K>: From<KGroupedStream<K, V>>,
{
    K::grouped(stream.group_by_key_with(grouped::<K, V>(statement, types)))
}

fn group_by<K: AsKey, V: KitValue>(stream: &KStream<K, V>, statement: &Value, types: Types) -> Grouped
where
    GroupedOf<OK>: From<KGroupedStream<OK, V>>,
{
    let spec = s(statement, "fn");
    let key = move |k: &K, v: &V| text_of(&spec, &k.key(), &v.val()).map(Key::Text);
    OK::grouped(stream.group_by_with(key, grouped::<OK, V>(statement, types)))
}

/// Groups the rows of a table: by a function or by their own key, with the values of a function or their own.
fn group_rows<K: KitKey, V: AsVal>(table: &KTable<K, V>, statement: &Value, types: Types) -> GroupedTable {
    match opt(statement, "key") {
        None => regroup(table, |key: &K, _: &OV| key.clone(), statement, types),
        Some(spec) => {
            let key = move |k: &K, v: &OV| text_of(&spec, &k.key(), v).map(Key::Text);
            regroup(table, key, statement, types)
        }
    }
}

fn regroup<K: AsKey, V: AsVal, K2: KitKey>(
    table: &KTable<K, V>,
    new_key: impl Fn(&K, &OV) -> K2 + Send + Sync + 'static,
    statement: &Value,
    types: Types,
) -> GroupedTable {
    let spec = opt(statement, "value");
    let map = move |key: &K, value: V| {
        let value = value.val();
        let new_value = match spec.as_deref() {
            Some(spec) => text_of(spec, &key.key(), &value).map(Val::Text),
            None => value.clone(),
        };
        (new_key(key, &value), new_value)
    };
    if types.long {
        let longs = move |key: &K, value: V| {
            let (key, value) = map(key, value);
            (key, typed::<OL>(value))
        };
        K2::grouped_table(table.group_by_with(longs, grouped::<K2, OL>(statement, types)))
    } else {
        K2::grouped_table(table.group_by_with(map, grouped::<K2, OV>(statement, types)))
    }
}

fn grouped<K: Serdes, V: Serdes>(statement: &Value, types: Types) -> GroupedOptions<K::Serde, V::Serde> {
    let grouped = GroupedOptions::with(K::serde(types), V::serde(types));
    match opt(statement, "name") {
        Some(name) => grouped.with_name(name),
        None => grouped,
    }
}

/// The statement's initializer.
pub(super) fn start<A: KitValue>(statement: &Value) -> impl Fn() -> A + Send + Sync + 'static {
    let init = s(statement, "init");
    move || typed(catalogue::initializer(&init))
}

/// A reducer of texts; where the values are longs its result is turned back.
pub(super) fn reducer<V: KitValue>(spec: String) -> impl Fn(V, V) -> V + Send + Sync + 'static {
    move |aggregate, value| {
        let (aggregate, value) = (aggregate.val(), value.val());
        let reduced = catalogue::reducer(&spec, &text(&aggregate).unwrap_or_default(), &show(&value));
        reduced.map_or_else(|| typed(None), V::of_text)
    }
}

pub(super) fn aggregator<K, V, A>(spec: String) -> impl Fn(&K, V, A) -> A + Send + Sync + 'static
where
    K: AsKey,
    V: AsVal,
    A: KitValue,
{
    move |key, value, aggregate| {
        typed(must(catalogue::aggregator(&spec, &key.key(), &value.val(), &aggregate.val())))
    }
}
