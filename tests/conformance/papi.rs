//! Statements of the Processor API: processors within the DSL, stores, and topologies made by hand.

use kstreams::state::{
    DynSerde, KeyValueStoreBuilder, SessionStoreBuilder, ValueAndTimestamp, VersionedKeyValueStoreBuilder,
    WindowStoreBuilder,
};
use kstreams::topology::{ExtractorRecord, SourceOptions, TimestampExtractor};
use kstreams::{Consumed, Topology, TopologyError};
use serde_json::Value;
use std::sync::Arc;

use super::processors::{CatalogueProcessor, FixedProcessor, Spec};
use super::program::{Building, Built, ProgramError, Var, extract, named, not_there_yet, opt, s};
use super::run::SinkTypes;
use super::stores::{KvReader, SessionReader, StoreReader, VersionedReader, WindowReader};
use super::types::{OK, OV, Serdes, Stream, StreamOf, Types, by_value, on};
use super::value::{KeySerde, Val, ValSerde};

/// Texts of a list.
fn list(statement: &Value, field: &str) -> Vec<String> {
    let items = statement[field].as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn spec(statement: &Value) -> Spec {
    Spec::new(&s(statement, "processor"), list(statement, "stores"))
}

fn types(statement: &Value) -> Types {
    Types { long: statement["value_type"] == "long", ..Types::default() }
}

/// Where a store goes: a builder of the DSL, or a topology with the processors to connect.
pub(super) enum Place<'a> {
    Builder(&'a kstreams::StreamsBuilder),
    /// A global store of a topic, and the processor that makes it.
    Global(&'a kstreams::StreamsBuilder, String, Consumed<Option<KeySerde>, Option<ValSerde>>, Spec),
    Topology(&'a mut Topology, Vec<String>),
}

impl Place<'_> {
    fn add<B>(self, builder: B) -> Result<(), TopologyError>
    where
        B: kstreams::state::StoreBuilder + Clone + 'static,
    {
        match self {
            Place::Builder(target) => {
                target.add_state_store(builder);
                Ok(())
            }
            Place::Global(target, topic, consumed, spec) => {
                let supplier = move || CatalogueProcessor::new(spec.clone());
                target.add_global_store(builder, &topic, consumed, supplier);
                Ok(())
            }
            Place::Topology(topology, users) => topology.add_state_store(builder, &refs(&users)).map(|_| ()),
        }
    }
}

/// The settings that all builders of stores share, and the end.
macro_rules! add_store {
    ($statement:expr, $place:expr, $builder:expr) => {{
        let mut builder = $builder;
        if $statement["store"] == "in-memory" {
            builder = builder.in_memory();
        }
        match $statement["caching"].as_bool() {
            Some(true) => builder = builder.with_caching_enabled(),
            Some(false) => builder = builder.with_caching_disabled(),
            None => {}
        }
        if $statement["logging"] == false {
            builder = builder.with_logging_disabled();
        }
        $place.add(builder)?
    }};
}

impl Building {
    pub(super) fn process(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let (spec, stores) = (spec(statement), list(statement, "stores"));
        let supplier = move || CatalogueProcessor::new(spec.clone());
        let (name, stores) = (named(statement), refs(&stores));
        let Stream::Text(stream) = stream else { return not_there_yet(statement) };
        let stream: Stream =
            by_value!(StreamOf, stream, it => it.process_with(supplier, name, &stores).into());
        self.set(statement, Var::Stream(stream, types.texts()))
    }

    pub(super) fn process_values(&mut self, statement: &Value) -> Built {
        let (stream, types) = self.stream_var(statement, "in")?;
        let (spec, stores) = (spec(statement), list(statement, "stores"));
        let supplier = move || FixedProcessor::new(spec.clone());
        let (name, stores) = (named(statement), refs(&stores));
        let stream: Stream =
            on!(Stream / StreamOf, stream, it => it.process_values_with(supplier, name, &stores).into());
        self.set(statement, Var::Stream(stream, types.texts()))
    }

    pub(super) fn store(&mut self, statement: &Value) -> Built {
        let builder = self.builder.clone();
        let reader = store_at(statement, Place::Builder(&builder))?;
        self.program.stores.insert(s(statement, "name"), reader);
        Ok(())
    }

    /// Statements of a topology made by hand; the first of them makes the topology.
    pub(super) fn low_level(&mut self, statement: &Value) -> Built {
        let topology = self.topology.get_or_insert_with(Topology::new);
        let (name, topic) = (s(statement, "name"), s(statement, "topic"));
        let parents = list(statement, "parents");
        let types = types(statement);
        // Processors take texts and longs alike.
        match statement["op"].as_str() {
            Some("addSource") => {
                topology.add_source_with::<OK, OV>(&name, &*topic, source_options(statement, types))?;
            }
            Some("addProcessor") => {
                // Its stores are connected to it by their own statements.
                let spec = spec(statement);
                let supplier = move || CatalogueProcessor::new(spec.clone());
                topology.add_processor::<OK, OV, OK, OV, _>(&name, supplier, &refs(&parents))?;
            }
            Some("addSink") => {
                topology.add_sink::<Option<KeySerde>, Option<ValSerde>>(&name, &*topic, &refs(&parents))?;
                self.program.sinks.insert(topic, SinkTypes::default());
            }
            _ => {
                let reader = store_at(statement, Place::Topology(topology, list(statement, "processors")))?;
                self.program.stores.insert(name, reader);
            }
        }
        Ok(())
    }
}

fn source_options(statement: &Value, types: Types) -> SourceOptions<OK, OV> {
    let extractor = opt(statement, "timestamp_extractor");
    SourceOptions {
        key_serde: DynSerde::new(OK::serde(types)),
        value_serde: DynSerde::new(OV::serde(types)),
        timestamp_extractor: extractor.map(|spec| -> TimestampExtractor<OK, OV> {
            Arc::new(move |record: &ExtractorRecord<'_, OK, OV>, partition_time: i64| {
                extract(&spec, record, partition_time)
            })
        }),
        offset_reset: None,
    }
}

/// Adds the statement's store; what reads it.
pub(super) fn store_at(statement: &Value, place: Place<'_>) -> Built<Box<dyn StoreReader>> {
    let (name, types) = (s(statement, "name"), types(statement));
    let key = DynSerde::new(OK::serde(types));
    let plain = DynSerde::new(ValSerde { long: types.long });
    let number = |field: &str| statement[field].as_i64().unwrap_or(0);
    match statement["type"].as_str().unwrap_or_default() {
        "kv" => {
            add_store!(statement, place, KeyValueStoreBuilder::new(&name, key, plain));
            Ok(Box::new(KvReader::<OK, Val>::new(&name)))
        }
        "timestamped-kv" => {
            let value = DynSerde::new(OV::serde(types));
            add_store!(statement, place, KeyValueStoreBuilder::timestamped(&name, key, value));
            Ok(Box::new(KvReader::<OK, ValueAndTimestamp<OV>>::new(&name)))
        }
        "versioned" => {
            let history = number("history_ms");
            add_store!(statement, place, VersionedKeyValueStoreBuilder::new(&name, history, key, plain));
            Ok(Box::new(VersionedReader::<OK, Val>::new(&name)))
        }
        "session" => {
            let retention = number("retention_ms");
            add_store!(statement, place, SessionStoreBuilder::new(&name, retention, key, plain));
            Ok(Box::new(SessionReader::<Val>::new(&name)))
        }
        "window" => {
            let (retention, size) = (number("retention_ms"), number("size_ms"));
            let mut builder = WindowStoreBuilder::new(&name, retention, size, key, plain);
            if statement["duplicates"] == true {
                builder = builder.retain_duplicates();
            }
            add_store!(statement, place, builder);
            Ok(Box::new(WindowReader::<Val>::new(&name)))
        }
        other => Err(ProgramError::NotThereYet(format!("{other} store"))),
    }
}
