//! Statements that keep state: tables, groupings, aggregations.

use kstreams::state::{StoreType, ValueAndTimestamp};
use kstreams::{Grouped, KGroupedStream, KGroupedTable, KTable, Materialized, TimeWindowedKStream};
use serde_json::Value;

use super::catalogue;
use super::program::{Building, Built, Var, must, named, not_there_yet, opt, s, text_of};
use super::stores::{KvReader, StoreReader, VersionedReader, WindowReader};
use super::types::{AsKey, AsVal, OK, OV, Serdes, Stream, Table, Types, WK, on};
use super::value::{Key, KeyKind, KeySerde, Val, ValSerde, show, text};
use super::windowed::Windowed;

impl Building {
    /// The statement's Materialized, with a reader registered for a named store.
    pub(super) fn materialized<K: Serdes, V: Serdes>(
        &mut self,
        statement: &Value,
        types: Types,
        windowed: bool,
    ) -> Built<Option<Materialized<K::Serde, V::Serde>>> {
        let spec = &statement["materialized"];
        if spec.is_null() {
            return Ok(None);
        }
        let mut materialized = Materialized::with(K::serde(types), V::serde(types));
        if let Some(name) = opt(spec, "name") {
            let versioned = spec["store"] == "versioned";
            let reader: Box<dyn StoreReader> = match (windowed, is_i64::<V>()) {
                (false, false) if versioned => Box::new(VersionedReader::<OV>::new(&name)),
                (false, true) if versioned => Box::new(VersionedReader::<i64>::new(&name)),
                (false, false) => Box::new(KvReader::<ValueAndTimestamp<OV>>::new(&name)),
                (false, true) => Box::new(KvReader::<ValueAndTimestamp<i64>>::new(&name)),
                (true, false) => Box::new(WindowReader::<ValueAndTimestamp<OV>>::new(&name)),
                (true, true) => Box::new(WindowReader::<ValueAndTimestamp<i64>>::new(&name)),
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
    pub(super) fn materialized_or_serdes<K: Serdes, V: Serdes>(
        &mut self,
        statement: &Value,
        types: Types,
        windowed: bool,
    ) -> Built<Materialized<K::Serde, V::Serde>> {
        let given = self.materialized::<K, V>(statement, types, windowed)?;
        Ok(given.unwrap_or_else(|| Materialized::with(K::serde(types), V::serde(types))))
    }

    pub(super) fn table(&mut self, statement: &Value) -> Built {
        let (consumed, types) = self.consumed(statement);
        let topic = s(statement, "topic");
        let table = match self.materialized::<OK, OV>(statement, types, false)? {
            Some(materialized) => self.builder.table_with(&topic, consumed, materialized),
            None => self.builder.table_with(&topic, consumed, Materialized::default()),
        };
        self.set(statement, Var::Table(table.into(), types))
    }

    pub(super) fn make_table(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let Stream::Tt(stream) = stream else { return not_there_yet(statement) };
        let materialized = self.materialized_or_serdes::<OK, OV>(statement, types, false)?;
        let table = stream.to_table_with(named(statement), materialized);
        self.set(statement, Var::Table(table.into(), types))
    }

    pub(super) fn group(&mut self, statement: &Value) -> Built {
        let spec = s(statement, "fn");
        let name = opt(statement, "name");
        match (self.var(statement, "in")?, statement["op"] == "groupBy") {
            (Var::Stream(Stream::Tt(stream), types), false) => {
                let grouped = stream.group_by_key_with(grouped(name, types));
                self.set(statement, Var::Grouped(grouped, types))
            }
            (Var::Stream(Stream::Tt(stream), types), true) => {
                let types = Types { key: KeyKind::Text, ..types };
                let key = move |k: &OK, v: &OV| text_of(&spec, k, v).map(Key::Text);
                let grouped = stream.group_by_with(key, grouped(name, types));
                self.set(statement, Var::Grouped(grouped, types))
            }
            (Var::Stream(Stream::Wt(stream), types), true) => {
                let types = Types { key: KeyKind::Text, ..types };
                let key = move |k: &WK, v: &OV| text_of(&spec, &k.key(), v).map(Key::Text);
                let grouped = stream.group_by_with(key, grouped(name, types));
                self.set(statement, Var::Grouped(grouped, types))
            }
            (Var::Table(table, types), true) => {
                let grouped = on!(Table, table, it => group_rows(&it, statement, types));
                let types = Types {
                    key: if statement["key"].is_null() { types.key } else { KeyKind::Text },
                    long: statement["value"].is_null() && types.long,
                };
                self.set(statement, Var::GroupedTable(grouped, types))
            }
            _ => not_there_yet(statement),
        }
    }

    pub(super) fn aggregation(&mut self, statement: &Value) -> Built {
        let (grouped, types) = match self.var(statement, "in")? {
            Var::Grouped(grouped, types) => (Aggregable::Stream(grouped), types),
            Var::Windowed(Windowed::Time(windowed), types) => (Aggregable::Windowed(windowed), types),
            Var::GroupedTable(grouped, types) => (Aggregable::Table(grouped), types),
            other => return self.session_or_cogroup(statement, other),
        };
        let windowed = matches!(grouped, Aggregable::Windowed(_));
        let (f, sub, name) = (s(statement, "fn"), s(statement, "sub"), named(statement));
        // The store's key is the text; only the result's key is windowed.
        let stored = |long: bool| Types { key: KeyKind::Text, long };
        match statement["op"].as_str() {
            Some("count") => {
                let m = self.materialized_or_serdes::<OK, i64>(statement, stored(true), windowed)?;
                let table: Table = match grouped {
                    Aggregable::Stream(it) => it.count_with(name, m).into(),
                    Aggregable::Windowed(it) => it.count_with(name, m).into(),
                    Aggregable::Table(it) => it.count_with(name, m).into(),
                };
                self.set(statement, Var::Table(table, Types { long: true, ..types }))
            }
            Some("reduce") => {
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(types.long), windowed)?;
                let (add, remove) = (reducer(f, types.long), reducer(sub, types.long));
                let table: Table = match grouped {
                    Aggregable::Stream(it) => it.reduce_with(add, name, m).into(),
                    Aggregable::Windowed(it) => it.reduce_with(add, name, m).into(),
                    Aggregable::Table(it) => it.reduce_with(add, remove, name, m).into(),
                };
                self.set(statement, Var::Table(table, types))
            }
            _ => {
                let long = statement["value_type"] == "long";
                let m = self.materialized_or_serdes::<OK, OV>(statement, stored(long), windowed)?;
                let init = s(statement, "init");
                let start = move || catalogue::initializer(&init);
                let (add, remove) = (aggregator(f), aggregator(sub));
                let table: Table = match grouped {
                    Aggregable::Stream(it) => it.aggregate_with(start, add, name, m).into(),
                    Aggregable::Windowed(it) => it.aggregate_with(start, add, name, m).into(),
                    Aggregable::Table(it) => it.aggregate_with(start, add, remove, name, m).into(),
                };
                self.set(statement, Var::Table(table, Types { long, ..types }))
            }
        }
    }
}

/// Groups the rows of any table; in the result keys and values are the kit's.
fn group_rows<K: AsKey, V: AsVal>(
    table: &KTable<K, V>,
    statement: &Value,
    types: Types,
) -> KGroupedTable<OK, OV> {
    let (key, value) = (opt(statement, "key"), opt(statement, "value"));
    let types = Types {
        key: if key.is_some() { KeyKind::Text } else { types.key },
        long: value.is_none() && types.long,
    };
    let map = move |k: &K, v: V| {
        let (k, v) = (k.key(), v.val());
        let new_key = key.as_deref().map_or_else(|| k.clone(), |spec| text_of(spec, &k, &v).map(Key::Text));
        let new = value.as_deref().map_or_else(|| v.clone(), |spec| text_of(spec, &k, &v).map(Val::Text));
        (new_key, new)
    };
    table.group_by_with(map, grouped(opt(statement, "name"), types))
}

enum Aggregable {
    Stream(KGroupedStream<OK, OV>),
    Windowed(TimeWindowedKStream<OK, OV>),
    Table(KGroupedTable<OK, OV>),
}

fn is_i64<V: 'static>() -> bool {
    std::any::TypeId::of::<V>() == std::any::TypeId::of::<i64>()
}

fn grouped(name: Option<String>, types: Types) -> Grouped<Option<KeySerde>, Option<ValSerde>> {
    let grouped = Grouped::with(OK::serde(types), OV::serde(types));
    match name {
        Some(name) => grouped.with_name(name),
        None => grouped,
    }
}

/// A reducer of texts; where the values are longs its result is turned back.
pub(super) fn reducer(spec: String, long: bool) -> impl Fn(OV, OV) -> OV + Send + Sync + 'static {
    move |aggregate, value| {
        let reduced = catalogue::reducer(&spec, &text(&aggregate).unwrap_or_default(), &show(&value));
        reduced.map(|text| if long { Val::Long(catalogue::num(Some(&text))) } else { Val::Text(text) })
    }
}

pub(super) fn aggregator(spec: String) -> impl Fn(&OK, OV, OV) -> OV + Send + Sync + 'static {
    move |key, value, aggregate| must(catalogue::aggregator(&spec, key, &value, &aggregate))
}
