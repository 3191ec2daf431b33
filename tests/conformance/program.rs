//! The kit's topology language over the public DSL: one statement, one call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kstreams::processor::RecordMetadata;
use kstreams::topology::{Extracted, ExtractorRecord, SinkTopic};
use kstreams::{
    Branched, Consumed, GlobalKTable, KStream, KTable, Named, Produced, Repartitioned, StreamsBuilder,
    StreamsConfig, Topology,
};
use serde_json::{Value, json};

use super::catalogue;
use super::run::{Log, Program, SinkTypes};
use super::stateful::Kept;
use super::stores::{StoreReader, Stored};
use super::types::{
    AsKey, AsVal, Grouped, GroupedTable, KitKey, KitValue, OK, OL, OV, Serdes, Stream, StreamOf, Table,
    TableOf, Types, by_value, on,
};
use super::value::{Key, KeyKind, KeySerde, Val, text};
use super::windowed::{Cogrouped, Windowed, WindowedCogrouped};

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// A statement that the DSL does not have yet.
    #[error("not there yet: {0}")]
    NotThereYet(String),
    /// A statement that is an error in the JVM when the topology is built, and here when the program is compiled.
    #[error("does not compile: {0}")]
    DoesNotCompile(&'static str),
    #[error(transparent)]
    Topology(#[from] kstreams::TopologyError),
}

#[derive(Clone)]
pub(super) enum Var {
    Stream(Stream, Types),
    Table(Table, Types),
    /// Its values are only ever joined, and a join's results are texts: longs need no type of their own.
    Global(GlobalKTable<OK, OV>),
    Grouped(Grouped, Types),
    GroupedTable(GroupedTable, Types),
    Windowed(Windowed, Types),
    Cogrouped(Cogrouped, Types),
    WindowedCogrouped(WindowedCogrouped, Types),
}

/// Builds a case's program.
pub(crate) fn build(case: &Value, config: &StreamsConfig) -> Result<Program, ProgramError> {
    let mut building = Building {
        builder: StreamsBuilder::new(),
        vars: BTreeMap::new(),
        families: BTreeMap::new(),
        program: ProgramParts::default(),
        topology: None,
    };
    for statement in case["topology"].as_array().into_iter().flatten() {
        building.statement(statement)?;
    }
    let ProgramParts { log, sinks, dynamic_sink, stores } = building.program;
    let topology = building.topology.map_or_else(|| building.builder.build_with(config), Ok)?;
    Ok(Program { topology, log, sinks, dynamic_sink, stores })
}

#[derive(Default)]
pub(super) struct ProgramParts {
    log: Log,
    pub(super) sinks: BTreeMap<String, SinkTypes>,
    dynamic_sink: SinkTypes,
    pub(super) stores: BTreeMap<String, Box<dyn StoreReader>>,
}

pub(super) struct Building {
    pub(super) builder: StreamsBuilder,
    pub(super) vars: BTreeMap<String, Var>,
    /// Cogrouped variables by the first of their family: there `cogroup` adds to the very object it is called on.
    pub(super) families: BTreeMap<String, String>,
    pub(super) program: ProgramParts,
    /// A topology made by hand, where the program has statements of that.
    pub(super) topology: Option<Topology>,
}

pub(super) type Built<T = ()> = Result<T, ProgramError>;

pub(super) fn s(statement: &Value, field: &str) -> String {
    statement[field].as_str().unwrap_or_default().to_owned()
}

pub(super) fn opt(statement: &Value, field: &str) -> Option<String> {
    statement[field].as_str().map(str::to_owned)
}

pub(super) fn named(statement: &Value) -> Named {
    opt(statement, "named").map_or_else(Named::default, Named::new)
}

pub(super) fn ms(value: &Value, field: &str) -> std::time::Duration {
    std::time::Duration::from_millis(value[field].as_u64().unwrap_or(0))
}

/// The program's own failure: a panic is how user code of a topology fails.
pub(super) fn must<T>(result: Result<T, catalogue::CatalogueError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn text_of(spec: &str, key: &OK, value: &OV) -> Option<String> {
    must(catalogue::of_record(spec, key, value))
}

pub(super) fn not_there_yet<T>(statement: &Value) -> Built<T> {
    Err(ProgramError::NotThereYet(s(statement, "op")))
}

impl Building {
    fn statement(&mut self, statement: &Value) -> Built {
        match statement["op"].as_str().unwrap_or_default() {
            "stream" => self.stream(statement),
            "table" => self.table(statement),
            "globalTable" => self.global_table(statement),
            "globalStore" => self.global_store(statement),
            "filter" | "filterNot" => self.filter(statement),
            "mapValues" => self.map_values(statement),
            "map" => self.map(statement),
            "flatMap" => self.flat_map(statement),
            "flatMapValues" => self.flat_map_values(statement),
            "selectKey" => self.select_key(statement),
            "peek" | "foreach" => self.observe(statement),
            "merge" => self.merge(statement),
            "split" => self.split(statement),
            "repartition" => self.repartition(statement),
            "toTable" => self.make_table(statement),
            "toStream" => self.make_stream(statement),
            "to" => self.sink(statement),
            "groupByKey" | "groupBy" => self.group(statement),
            "windowedBy" => self.windowed_by(statement),
            "count" | "reduce" | "aggregate" => self.aggregation(statement),
            "cogroup" => self.cogroup(statement),
            "suppress" => self.suppress(statement),
            "join" => self.join(statement),
            "fkJoin" => self.foreign_key_join(statement),
            "process" => self.process(statement),
            "processValues" => self.process_values(statement),
            "store" => self.store(statement),
            "addSource" | "addProcessor" | "addSink" | "addStateStore" => self.low_level(statement),
            _ => not_there_yet(statement),
        }
    }

    pub(super) fn set(&mut self, statement: &Value, var: Var) -> Built {
        if let Some(id) = opt(statement, "id") {
            self.vars.insert(id, var);
        }
        Ok(())
    }

    pub(super) fn var(&self, statement: &Value, field: &str) -> Built<Var> {
        let name = s(statement, field);
        self.vars.get(&name).cloned().ok_or_else(|| ProgramError::NotThereYet(format!("variable {name}")))
    }

    pub(super) fn stream_var(&self, statement: &Value, field: &str) -> Built<(Stream, Types)> {
        match self.var(statement, field)? {
            Var::Stream(stream, types) => Ok((stream, types)),
            _ => Err(ProgramError::NotThereYet(format!("{} is no stream", s(statement, field)))),
        }
    }

    pub(super) fn consumed<V: AsVal + Serdes>(
        &self,
        statement: &Value,
    ) -> (Consumed<Option<KeySerde>, V::Serde>, Types) {
        let types = Types { key: KeyKind::Text, long: statement["value_type"] == "long" };
        let mut consumed = Consumed::with(OK::serde(types), V::serde(types));
        if let Some(name) = opt(statement, "named") {
            consumed = consumed.with_name(name);
        }
        if let Some(extractor) = opt(statement, "timestamp_extractor") {
            consumed = consumed.with_timestamp_extractor(
                move |record: &ExtractorRecord<'_, OK, V>, partition_time| {
                    extract(&extractor, record, partition_time)
                },
            );
        }
        (consumed, types)
    }

    fn stream(&mut self, statement: &Value) -> Built {
        match statement["value_type"] == "long" {
            true => self.stream_of::<OL>(statement),
            false => self.stream_of::<OV>(statement),
        }
    }

    fn stream_of<V: KitValue>(&mut self, statement: &Value) -> Built
    where
        StreamOf<OK>: From<KStream<OK, V>>,
    {
        let (consumed, types) = self.consumed::<V>(statement);
        let stream = if let Some(pattern) = opt(statement, "pattern") {
            let pattern =
                regex::Regex::new(&pattern).map_err(|_| ProgramError::NotThereYet(pattern.clone()))?;
            self.builder.stream_with(pattern, consumed)
        } else if let Some(topics) = statement["topics"].as_array() {
            let topics: Vec<String> = topics.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect();
            self.builder.stream_with(topics, consumed)
        } else {
            self.builder.stream_with(s(statement, "topic"), consumed)
        };
        self.set(statement, Var::Stream(OK::stream(stream), types))
    }

    fn filter(&mut self, statement: &Value) -> Built {
        let (spec, not) = (s(statement, "fn"), statement["op"] == "filterNot");
        let predicate = move |key: &OK, value: &OV| must(catalogue::predicate(&spec, key, value)) != not;
        match self.var(statement, "in")? {
            Var::Stream(stream, types) => {
                let stream: Stream = on!(Stream / StreamOf, stream, it => {
                    it.filter_with(move |k, v| predicate(&k.key(), &v.val()), named(statement)).into()
                });
                self.set(statement, Var::Stream(stream, types))
            }
            Var::Table(table, types) => {
                let table = on!(Table / TableOf, table, it => {
                    self.filter_rows(&it, (statement, types), predicate)
                });
                self.set(statement, Var::Table(table?, types))
            }
            _ => not_there_yet(statement),
        }
    }

    fn filter_rows<K: KitKey, V: Stored>(
        &mut self,
        table: &KTable<K, V>,
        (statement, types): (&Value, Types),
        predicate: impl Fn(&OK, &OV) -> bool + Send + Sync + 'static,
    ) -> Built<Table>
    where
        TableOf<K>: From<KTable<K, V>>,
    {
        let keep = move |k: &K, v: &V| predicate(&k.key(), &v.val());
        Ok(K::table(match self.materialized::<K, V>(statement, types, Kept::Rows)? {
            Some(materialized) => table.filter_with(keep, named(statement), materialized),
            None => table.filter_with(keep, named(statement), kstreams::Unmaterialized),
        }))
    }

    fn map_values(&mut self, statement: &Value) -> Built {
        let spec = s(statement, "fn");
        let map = move |key: &OK, value: OV| text_of(&spec, key, &value).map(Val::Text);
        match self.var(statement, "in")? {
            Var::Stream(stream, types) => {
                let stream: Stream = on!(Stream / StreamOf, stream, it => {
                    it.map_values_with_key_with(move |k, v| map(&k.key(), v.val()), named(statement)).into()
                });
                self.set(statement, Var::Stream(stream, types.texts()))
            }
            Var::Table(table, types) => {
                let types = types.texts();
                let table = on!(Table / TableOf, table, it => self.map_rows(&it, (statement, types), map));
                self.set(statement, Var::Table(table?, types))
            }
            _ => not_there_yet(statement),
        }
    }

    fn map_rows<K: KitKey, V: AsVal>(
        &mut self,
        table: &KTable<K, V>,
        (statement, types): (&Value, Types),
        map: impl Fn(&OK, OV) -> OV + Send + Sync + 'static,
    ) -> Built<Table> {
        let map = move |k: &K, v: V| map(&k.key(), v.val());
        Ok(K::table(match self.materialized::<K, OV>(statement, types, Kept::Rows)? {
            Some(materialized) => table.map_values_with_key_with(map, named(statement), materialized),
            None => table.map_values_with_key_with(map, named(statement), kstreams::Unmaterialized),
        }))
    }

    fn map(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let (key, value) = (opt(statement, "key"), opt(statement, "value"));
        let types = Types {
            key: if key.is_some() { KeyKind::Text } else { types.key },
            long: value.is_none() && types.long,
        };
        let name = named(statement);
        let new_key = |spec: String| move |k: &OK, v: &OV| text_of(&spec, k, v).map(Key::Text);
        let new_value = |spec: String| move |k: &OK, v: &OV| text_of(&spec, k, v).map(Val::Text);
        let stream: Stream = match (key, value) {
            (Some(key), Some(value)) => {
                let (f, g) = (new_key(key), new_value(value));
                on!(Stream / StreamOf, stream, it => it.map_with(move |k, v| (f(&k.key(), &v.val()), g(&k.key(), &v.val())), name).into())
            }
            (Some(key), None) => {
                let f = new_key(key);
                on!(Stream / StreamOf, stream, it => it.map_with(move |k, v| (f(&k.key(), &v.val()), v), name).into())
            }
            (None, Some(value)) => {
                let g = new_value(value);
                on!(Stream / StreamOf, stream, it => it.map_with(move |k, v| { let new = g(&k.key(), &v.val()); (k, new) }, name).into())
            }
            (None, None) => on!(Stream / StreamOf, stream, it => it.map_with(|k, v| (k, v), name).into()),
        };
        self.set(statement, Var::Stream(stream, types))
    }

    fn flat_map(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let (flat, key, value) = (s(statement, "flat"), opt(statement, "key"), opt(statement, "value"));
        let items = move |k: &OK, v: &OV| -> Vec<(Option<OK>, OV)> {
            let of_item =
                |spec: &str, item: &str| must(catalogue::function(spec, text(k).as_deref(), Some(item)));
            let items = must(catalogue::flat(&flat, k, v)).into_iter();
            items
                .map(|item| {
                    let new_key = key.as_deref().map(|spec| of_item(spec, &item).map(Key::Text));
                    let new_value = match value.as_deref() {
                        Some(spec) => of_item(spec, &item),
                        None => Some(item),
                    };
                    (new_key, new_value.map(Val::Text))
                })
                .collect()
        };
        let rekeyed = !statement["key"].is_null();
        let name = named(statement);
        let stream: Stream = if rekeyed {
            on!(Stream / StreamOf, stream, it => it.flat_map_with(move |k, v| {
                items(&k.key(), &v.val()).into_iter().map(|(key, value)| (key.flatten(), value)).collect::<Vec<(OK, OV)>>()
            }, name).into())
        } else {
            on!(Stream / StreamOf, stream, it => it.flat_map_with(move |k, v| {
                items(&k.key(), &v.val()).into_iter().map(|(_, value)| (k.clone(), value)).collect::<Vec<_>>()
            }, name).into())
        };
        let key = if rekeyed { KeyKind::Text } else { types.key };
        self.set(statement, Var::Stream(stream, Types { key, long: false }))
    }

    fn flat_map_values(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let spec = s(statement, "fn");
        let items = move |k: &OK, v: &OV| -> Vec<OV> {
            must(catalogue::flat(&spec, k, v)).into_iter().map(|item| Some(Val::Text(item))).collect()
        };
        let stream: Stream = on!(Stream / StreamOf, stream, it => {
            it.flat_map_values_with_key_with(move |k, v| items(&k.key(), &v.val()), named(statement)).into()
        });
        self.set(statement, Var::Stream(stream, types.texts()))
    }

    fn select_key(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let spec = s(statement, "fn");
        let stream: Stream = on!(Stream / StreamOf, stream, it => {
            it.select_key_with(move |k, v| text_of(&spec, &k.key(), &v.val()).map(Key::Text), named(statement)).into()
        });
        self.set(statement, Var::Stream(stream, types.text_keys()))
    }

    fn observe(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let (label, log) = (s(statement, "label"), Arc::clone(&self.program.log));
        let see = move |k: &OK, v: &OV| {
            lock(&log).push(json!([label, text(k), text(v)]));
        };
        if statement["op"] == "foreach" {
            on!(Stream / StreamOf, stream, it => it.for_each_with(move |k, v| see(&k.key(), &v.val()), named(statement)));
            return Ok(());
        }
        let stream = on!(Stream / StreamOf, stream, it => it.peek_with(move |k, v| see(&k.key(), &v.val()), named(statement)).into());
        self.set(statement, Var::Stream(stream, types))
    }

    fn merge(&mut self, statement: &Value) -> Built {
        let (left, types) = self.stream_var(statement, "in")?;
        let (right, _) = self.stream_var(statement, "other")?;
        let name = named(statement);
        let merged = match (left, right) {
            (Stream::Text(l), Stream::Text(r)) => merge(l, r, name),
            (Stream::Windowed(l), Stream::Windowed(r)) => merge(l, r, name),
            _ => None,
        };
        let Some(merged) = merged else { return not_there_yet(statement) };
        self.set(statement, Var::Stream(merged, types))
    }

    fn split(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let branches = statement["branches"].as_array().cloned().unwrap_or_default();
        let default = opt(statement, "default");
        let parts: Vec<Stream> = on!(Stream / StreamOf, stream, it => {
            let mut split = match opt(statement, "named") {
                Some(name) => it.split_with(name),
                None => it.split(),
            };
            for branch in &branches {
                let spec = s(branch, "pred");
                let predicate = move |k: &_, v: &_| must(catalogue::predicate(&spec, &AsKey::key(k), &AsVal::val(v)));
                let branched = opt(branch, "name").map_or_else(Branched::default, Branched::new);
                split = split.branch(predicate, branched);
            }
            let made = match &default {
                Some(_) => split.default_branch(Branched::default()),
                None => split.no_default_branch(),
            };
            made.iter().map(|(_, stream)| stream.clone().into()).collect()
        });
        let ids = branches.iter().map(|branch| s(branch, "id")).chain(default);
        for (id, part) in ids.zip(parts) {
            self.vars.insert(id, Var::Stream(part, types));
        }
        Ok(())
    }

    fn repartition(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let stream: Stream = on!(Stream / StreamOf, stream, it => repartition(it, statement, types).into());
        self.set(statement, Var::Stream(stream, types))
    }

    fn make_stream(&mut self, statement: &Value) -> Built {
        let Var::Table(table, types) = self.var(statement, "in")? else { return not_there_yet(statement) };
        let name = named(statement);
        let stream = match table {
            Table::Text(rows) => updates(rows, name),
            Table::Windowed(rows) => updates(rows, name),
        };
        if statement["key"].is_null() {
            return self.set(statement, Var::Stream(stream, types));
        }
        let spec = s(statement, "key");
        let stream: Stream = on!(Stream / StreamOf, stream, it => {
            it.select_key(move |k, v| text_of(&spec, &k.key(), &v.val()).map(Key::Text)).into()
        });
        let types = types.text_keys();
        self.set(statement, Var::Stream(stream, types))
    }

    fn sink(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let sink = SinkTypes { key: types.key, long: types.long };
        match opt(statement, "topic") {
            Some(topic) => self.program.sinks.insert(topic, sink),
            None => Some(std::mem::replace(&mut self.program.dynamic_sink, sink)),
        };
        on!(Stream / StreamOf, stream, it => to(it, statement, types));
        Ok(())
    }
}

fn lock(log: &Mutex<Vec<Value>>) -> std::sync::MutexGuard<'_, Vec<Value>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn updates<K: KitKey>(table: TableOf<K>, name: Named) -> Stream {
    match table {
        TableOf::T(it) => K::stream(it.to_flat_stream_with(name)),
        TableOf::L(it) => K::stream(it.to_flat_stream_with(name)),
        TableOf::C(it) => K::stream(it.to_stream_with(name)),
    }
}

fn merge<K: KitKey>(left: StreamOf<K>, right: StreamOf<K>, name: Named) -> Option<Stream> {
    Some(match (left, right) {
        (StreamOf::T(l), StreamOf::T(r)) => K::stream(l.merge_with(&r, name)),
        (StreamOf::L(l), StreamOf::L(r)) => K::stream(l.merge_with(&r, name)),
        _ => return None,
    })
}

fn repartition<K, V>(stream: KStream<K, V>, statement: &Value, types: Types) -> KStream<K, V>
where
    K: AsKey + Serdes,
    V: AsVal + Serdes,
{
    let mut repartitioned = Repartitioned::with(K::serde(types), V::serde(types));
    if let Some(name) = opt(statement, "name") {
        repartitioned = repartitioned.with_name(name);
    }
    if let Some(partitions) = statement["partitions"].as_i64() {
        repartitioned =
            repartitioned.with_number_of_partitions(i32::try_from(partitions).unwrap_or(i32::MAX));
    }
    stream.repartition_with(repartitioned)
}

fn to<K, V>(stream: KStream<K, V>, statement: &Value, types: Types)
where
    K: AsKey + Serdes,
    V: AsVal + Serdes,
{
    let mut produced = Produced::with(K::serde(types), V::serde(types));
    if let Some(name) = opt(statement, "named") {
        produced = produced.with_name(name);
    }
    match opt(statement, "topic_fn") {
        None => stream.to_with(s(statement, "topic").as_str(), produced),
        Some(spec) => {
            let shown = format!("fn({spec})");
            let extractor = move |k: &K, v: &V, _: &RecordMetadata| {
                text_of(&spec, &k.key(), &v.val()).unwrap_or_default()
            };
            stream.to_with(SinkTopic::Extractor(Arc::new(extractor), shown), produced);
        }
    }
}

pub(super) fn extract<V: AsVal>(
    spec: &str,
    record: &ExtractorRecord<'_, OK, V>,
    partition_time: i64,
) -> Extracted {
    let field = text(&record.value.val());
    let number =
        field.as_deref().and_then(|text| catalogue::parse_num(text.split(',').next().unwrap_or_default()));
    Extracted::Timestamp(match spec {
        "value-num" => number.unwrap_or(-1),
        "value-num-or-record" => number.unwrap_or(record.timestamp),
        "value-num-or-partition-time" => number.unwrap_or(partition_time),
        "record-plus-1000" => record.timestamp + 1000,
        "fail-on-invalid" if record.timestamp < 0 => return Extracted::Invalid(record.timestamp),
        _ => record.timestamp,
    })
}
