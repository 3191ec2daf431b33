//! Reading stores for the kit's queries and final contents.

use std::marker::PhantomData;

use kstreams::KafkaStreams;
use kstreams::state::{
    KeyValueStore, SessionStore, ValueAndTimestamp, VersionedKeyValueStore, VersionedRecord, WindowStore,
    Windowed,
};
use kstreams_test::TopologyTestDriver;
use serde_json::{Value, json};

use super::run::{rendered, value_json};
use super::types::{AsKey, AsVal, KitKey, OK, OL, OV, Serdes};
use super::value::Val;

type AnyError = Box<dyn std::error::Error>;

/// A store of the program, whatever its type.
pub(crate) trait StoreReader {
    fn query(&self, driver: &TopologyTestDriver, query: &Value) -> Result<Vec<Value>, AnyError>;
    /// `type` and `rows` as at the end of a case; `keys` are those that the steps piped, for stores that cannot be listed.
    fn contents(&self, driver: &TopologyTestDriver, keys: &[String]) -> Value;
    /// The same, from a running instance.
    fn contents_of(&self, streams: &KafkaStreams, keys: &[String]) -> Result<Value, AnyError>;
}

/// The rows of a store whose entries come in another order than the traces have them.
fn sorted(kind: &str, mut rows: Vec<Value>) -> Value {
    rows.sort_by(|a, b| a[0].as_str().map(str::as_bytes).cmp(&b[0].as_str().map(str::as_bytes)));
    json!({ "type": kind, "rows": rows })
}

/// What a store's value looks like in a row: the value, and the timestamp where the store keeps one.
pub(crate) trait Cell: Clone + Send + 'static {
    fn cells(self) -> Vec<Value>;
}

impl Cell for Val {
    fn cells(self) -> Vec<Value> {
        vec![value_json(Some(self))]
    }
}

impl Cell for OV {
    fn cells(self) -> Vec<Value> {
        vec![value_json(self)]
    }
}

impl Cell for i64 {
    fn cells(self) -> Vec<Value> {
        vec![self.into()]
    }
}

impl Cell for OL {
    fn cells(self) -> Vec<Value> {
        vec![self.into()]
    }
}

/// A type of values that tables may have.
pub(crate) trait Stored: AsVal + Serdes + Cell {}

impl<V: AsVal + Serdes + Cell> Stored for V {}

impl<V: AsVal> Cell for ValueAndTimestamp<V> {
    fn cells(self) -> Vec<Value> {
        vec![value_json(self.value.val()), self.timestamp.into()]
    }
}

fn row(first: Value, cell: impl Cell) -> Value {
    std::iter::once(first).chain(cell.cells()).collect::<Vec<_>>().into()
}

/// The key of a query as the stores have it.
fn key_of<K: KitKey>(query: &Value, field: &str) -> Option<K> {
    query[field].as_str().and_then(K::named)
}

/// A key-value store of keys `K` and values `V`.
pub(crate) struct KvReader<K, V>(String, PhantomData<(K, V)>);

impl<K, V> KvReader<K, V> {
    pub(crate) fn new(store: &str) -> Self {
        KvReader(store.to_owned(), PhantomData)
    }
}

impl<K: KitKey, V: Cell> StoreReader for KvReader<K, V> {
    fn query(&self, driver: &TopologyTestDriver, query: &Value) -> Result<Vec<Value>, AnyError> {
        let (from, to) = (key_of(query, "from"), key_of(query, "to"));
        let op = query["op"].as_str().unwrap_or_default();
        driver.with_store(&self.0, |store: &mut KeyValueStore<K, V>| -> Result<_, AnyError> {
            let entries: Vec<(K, V)> = match op {
                "get" => {
                    let key = key_of(query, "key").ok_or("no key")?;
                    store.get(&key)?.map(|value| (key, value)).into_iter().collect()
                }
                "all" => store.all()?.collect::<Result<_, _>>()?,
                "reverse-all" => store.reverse_all()?.collect::<Result<_, _>>()?,
                "range" => store.range(from.as_ref(), to.as_ref())?.collect::<Result<_, _>>()?,
                "reverse-range" => {
                    store.reverse_range(from.as_ref(), to.as_ref())?.collect::<Result<_, _>>()?
                }
                "prefix" => {
                    let prefix = query["from"].as_str().unwrap_or_default().to_owned();
                    store.prefix_scan(prefix.as_bytes())?.collect::<Result<_, _>>()?
                }
                other => return Err(format!("no query {other}").into()),
            };
            Ok(entries.into_iter().map(|(key, value)| row(rendered(key.key()), value)).collect())
        })?
    }

    fn contents(&self, driver: &TopologyTestDriver, _keys: &[String]) -> Value {
        let rows = self.query(driver, &json!({ "op": "all" })).unwrap_or_default();
        json!({ "type": "kv", "rows": rows })
    }

    fn contents_of(&self, streams: &KafkaStreams, _keys: &[String]) -> Result<Value, AnyError> {
        let entries = streams.store::<KeyValueStore<K, V>>(&self.0)?.all()?;
        let entries = entries.collect::<Result<Vec<(K, V)>, _>>()?;
        let rows = entries.into_iter().map(|(key, value)| row(rendered(key.key()), value));
        Ok(json!({ "type": "kv", "rows": rows.collect::<Vec<_>>() }))
    }
}

/// A window store whose values are `V`.
pub(crate) struct WindowReader<V>(String, PhantomData<V>);

impl<V> WindowReader<V> {
    pub(crate) fn new(store: &str) -> Self {
        WindowReader(store.to_owned(), PhantomData)
    }
}

impl<V: Cell> StoreReader for WindowReader<V> {
    fn query(&self, driver: &TopologyTestDriver, query: &Value) -> Result<Vec<Value>, AnyError> {
        let (from, to) = (key_of::<OK>(query, "from"), key_of::<OK>(query, "to"));
        let (start, end) = (query["time_from"].as_i64().unwrap_or(0), query["time_to"].as_i64().unwrap_or(0));
        let op = query["op"].as_str().unwrap_or_default();
        driver.with_store(&self.0, |store: &mut WindowStore<OK, V>| -> Result<_, AnyError> {
            if op == "fetch" || op == "backward-fetch" {
                let key = key_of(query, "key").ok_or("no key")?;
                let found = match op {
                    "fetch" => store.fetch(&key, start, end)?,
                    _ => store.backward_fetch(&key, start, end)?,
                };
                let found: Vec<(i64, V)> = found.collect::<Result<_, _>>()?;
                return Ok(found.into_iter().map(|(start, value)| row(start.into(), value)).collect());
            }
            let found: Vec<(Windowed<OK>, V)> = match op {
                "fetch-keys" => {
                    store.fetch_range(from.as_ref(), to.as_ref(), start, end)?.collect::<Result<_, _>>()?
                }
                "backward-fetch-keys" => store
                    .backward_fetch_range(from.as_ref(), to.as_ref(), start, end)?
                    .collect::<Result<_, _>>()?,
                "fetch-all" => store.fetch_all(start, end)?.collect::<Result<_, _>>()?,
                "backward-fetch-all" => store.backward_fetch_all(start, end)?.collect::<Result<_, _>>()?,
                "all" => store.all()?.collect::<Result<_, _>>()?,
                "reverse-all" => store.backward_all()?.collect::<Result<_, _>>()?,
                other => return Err(format!("no query {other}").into()),
            };
            Ok(found.into_iter().map(|(key, value)| row(windowed(key), value)).collect())
        })?
    }

    fn contents(&self, driver: &TopologyTestDriver, _keys: &[String]) -> Value {
        sorted("window", self.query(driver, &json!({ "op": "all" })).unwrap_or_default())
    }

    fn contents_of(&self, streams: &KafkaStreams, _keys: &[String]) -> Result<Value, AnyError> {
        let store = streams.store::<WindowStore<OK, V>>(&self.0)?;
        let found = store.fetch_range(None, None, 0, i64::MAX)?.collect::<Result<Vec<_>, _>>()?;
        Ok(sorted("window", found.into_iter().map(|(key, value)| row(windowed(key), value)).collect()))
    }
}

/// A session store whose values are `V`.
pub(crate) struct SessionReader<V>(String, PhantomData<V>);

impl<V> SessionReader<V> {
    pub(crate) fn new(store: &str) -> Self {
        SessionReader(store.to_owned(), PhantomData)
    }
}

impl<V: Cell> StoreReader for SessionReader<V> {
    fn query(&self, driver: &TopologyTestDriver, query: &Value) -> Result<Vec<Value>, AnyError> {
        let (from, to) = (key_of::<OK>(query, "from"), key_of::<OK>(query, "to"));
        let key = key_of::<OK>(query, "key");
        let (end, start) = (query["time_from"].as_i64().unwrap_or(0), query["time_to"].as_i64().unwrap_or(0));
        let op = query["op"].as_str().unwrap_or_default();
        driver.with_store(&self.0, |store: &mut SessionStore<OK, V>| -> Result<_, AnyError> {
            let found = match (op, &key) {
                ("fetch", Some(key)) => store.fetch(key)?,
                ("backward-fetch", Some(key)) => store.backward_fetch(key)?,
                ("fetch-keys", _) => store.fetch_range(from.as_ref(), to.as_ref())?,
                ("backward-fetch-keys", _) => store.backward_fetch_range(from.as_ref(), to.as_ref())?,
                ("find-sessions", Some(key)) => store.find_sessions(key, end, start)?,
                ("backward-find-sessions", Some(key)) => store.backward_find_sessions(key, end, start)?,
                (other, _) => return Err(format!("no query {other}").into()),
            };
            let found = found.collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().map(|(key, value)| row(windowed(key), value)).collect())
        })?
    }

    fn contents(&self, driver: &TopologyTestDriver, _keys: &[String]) -> Value {
        sorted("session", self.query(driver, &json!({ "op": "fetch-keys" })).unwrap_or_default())
    }

    fn contents_of(&self, streams: &KafkaStreams, _keys: &[String]) -> Result<Value, AnyError> {
        let store = streams.store::<SessionStore<OK, V>>(&self.0)?;
        let found = store.fetch_range(None, None)?.collect::<Result<Vec<_>, _>>()?;
        Ok(sorted("session", found.into_iter().map(|(key, value)| row(windowed(key), value)).collect()))
    }
}

fn version<K: KitKey, V: AsVal>(key: &K, found: VersionedRecord<V>) -> Value {
    let VersionedRecord { value, timestamp, .. } = found;
    row(rendered(key.key()), ValueAndTimestamp { value, timestamp })
}

fn windowed(key: Windowed<OK>) -> Value {
    rendered(key.key())
}

/// A versioned store of keys `K` and values `V`.
pub(crate) struct VersionedReader<K, V>(String, PhantomData<(K, V)>);

impl<K, V> VersionedReader<K, V> {
    pub(crate) fn new(store: &str) -> Self {
        VersionedReader(store.to_owned(), PhantomData)
    }
}

impl<K: KitKey, V: AsVal> StoreReader for VersionedReader<K, V> {
    fn query(&self, driver: &TopologyTestDriver, query: &Value) -> Result<Vec<Value>, AnyError> {
        let key: K = key_of(query, "key").ok_or("no key")?;
        driver.with_store(&self.0, |store: &mut VersionedKeyValueStore<K, V>| -> Result<_, AnyError> {
            let found = match query["op"].as_str().unwrap_or_default() {
                "get" => store.get(&key)?,
                "get-as-of" => store.get_as_of(&key, query["time"].as_i64().ok_or("no time")?)?,
                other => return Err(format!("no query {other}").into()),
            };
            Ok(found.map(|found| version(&key, found)).into_iter().collect())
        })?
    }

    fn contents(&self, driver: &TopologyTestDriver, keys: &[String]) -> Value {
        let get = |key: &String| self.query(driver, &json!({ "op": "get", "key": key })).unwrap_or_default();
        let rows: Vec<Value> = keys.iter().flat_map(get).collect();
        json!({ "type": "versioned", "rows": rows })
    }

    fn contents_of(&self, streams: &KafkaStreams, keys: &[String]) -> Result<Value, AnyError> {
        let store = streams.store::<VersionedKeyValueStore<K, V>>(&self.0)?;
        let mut rows = Vec::new();
        for key in keys.iter().filter_map(|key| K::named(key)) {
            rows.extend(store.get(&key)?.map(|found| version(&key, found)));
        }
        Ok(json!({ "type": "versioned", "rows": rows }))
    }
}
