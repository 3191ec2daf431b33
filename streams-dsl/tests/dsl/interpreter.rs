//! Runs the calls of a recorded program on the DSL.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams_core::processor::{
    FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, InitContext, ProcessResult, Processor,
    ProcessorContext, PunctuationType, ScheduleId, StoreScope,
};
use kstreams_core::topology::{SinkTopic, SourceTopics};
use kstreams_dsl::{
    Branched, ByType, Consumed, GlobalKTable, Grouped, KGroupedStream, KGroupedTable, KStream, KTable,
    Materialized, Named, Produced, Repartitioned, StreamsBuilder, Unmaterialized, ValueTransformerWithKey,
};
use kstreams_state_stores::{self as state, Record, Stores};
use regex::Regex;

use crate::functions::{self as f, Text};
use crate::join_calls;
use crate::program::Call;
use crate::windowed_calls::{self, Windowed};

/// What a call may give. A language without types meets one with types here: texts and counts, plain and windowed.
#[derive(Clone)]
pub(crate) enum Node {
    Stream(KStream<Text, Text>),
    Counts(KStream<Text, Option<i64>>),
    WindowStream(KStream<state::Windowed<Text>, Text>),
    WindowCounts(KStream<state::Windowed<Text>, Option<i64>>),
    Table(KTable<Text, Text>),
    CountTable(KTable<Text, i64>),
    WindowTable(KTable<state::Windowed<Text>, Text>),
    WindowCountTable(KTable<state::Windowed<Text>, i64>),
    Grouped(KGroupedStream<Text, Text>),
    Windowed(Windowed),
    GroupedTable(KGroupedTable<Text, Text>),
    Global(GlobalKTable<Text, Text>),
    Nothing,
}

/// The builder on which the calls were made.
pub(crate) fn builder_of(calls: &[Call]) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let mut results: BTreeMap<String, Node> = BTreeMap::new();
    for call in calls {
        let result = match &call.receiver {
            None => on_builder(&builder, call),
            Some(receiver) if call.op == "split" => {
                results.extend(split(&results[receiver], call));
                Node::Nothing
            }
            Some(receiver) => {
                let other = call.arg("other").map(|other| results[other].clone());
                on_node(results[receiver].clone(), call, other)
            }
        };
        results.insert(call.id.clone(), result);
    }
    builder
}

pub(crate) fn named(call: &Call) -> Named {
    call.arg("name").map_or_else(Named::default, Named::new)
}

pub(crate) fn materialized(call: &Call) -> Materialized {
    let mut materialized = if call.has_any(&["mat", "log", "logConfig", "cache", "retention", "storeType"]) {
        Materialized::with(ByType, ByType)
    } else {
        Materialized::default()
    };
    if let Some(store) = call.arg("store") {
        materialized = materialized.with_store_name(store);
    }
    if call.arg("log") == Some("off") {
        materialized = materialized.with_logging_disabled();
    }
    if let Some(config) = call.arg("logConfig") {
        let (key, value) = config.split_once(':').unwrap();
        materialized =
            materialized.with_logging_enabled(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    }
    if call.arg("cache") == Some("off") {
        materialized = materialized.with_caching_disabled();
    }
    if call.has_any(&["inMemory", "storeType"]) {
        materialized = materialized.in_memory();
    }
    if let Some(history) = call.number("versioned") {
        materialized = materialized.versioned(i64::try_from(history).unwrap());
    }
    if let Some(retention) = call.number("retention") {
        materialized = materialized.with_retention_ms(i64::try_from(retention).unwrap());
    }
    materialized
}

fn is_materialized(call: &Call) -> bool {
    call.has_any(&["store", "mat", "log", "cache", "storeType"])
}

fn on_builder(builder: &StreamsBuilder, call: &Call) -> Node {
    let mut consumed = Consumed::<Text, Text>::new();
    if let Some(name) = call.arg("name") {
        consumed = consumed.with_name(name);
    }
    match &*call.op {
        "stream" => {
            let topics = match call.arg("pattern") {
                Some(pattern) => SourceTopics::Pattern(Regex::new(pattern).unwrap()),
                None => SourceTopics::Names(call.text("topic").split('|').map(str::to_owned).collect()),
            };
            Node::Stream(builder.stream_with(topics, consumed))
        }
        "table" => Node::Table(builder.table_with(call.text("topic"), consumed, materialized(call))),
        "globalTable" => {
            Node::Global(builder.global_table_with(call.text("topic"), consumed, materialized(call)))
        }
        "addGlobalStore" => {
            let store = Stores::key_value::<Text, String>(call.text("store")).in_memory();
            builder.add_global_store(store.with_logging_disabled(), call.text("topic"), consumed, || Pass);
            Node::Nothing
        }
        "addStore" => {
            builder.add_state_store(Stores::key_value::<String, String>(call.text("store")));
            Node::Nothing
        }
        other => panic!("unknown call {other}"),
    }
}

fn on_node(node: Node, call: &Call, other: Option<Node>) -> Node {
    match node {
        Node::Stream(stream) => on_stream(&stream, call, other),
        Node::Counts(stream) => write(&stream, call),
        Node::WindowStream(stream) => write(&stream, call),
        Node::WindowCounts(stream) => write(&stream, call),
        Node::Table(table) => on_table(&table, call, other),
        Node::CountTable(table) => Node::Counts(table.to_stream_with(named(call))),
        Node::WindowTable(table) => Node::WindowStream(table.to_flat_stream_with(named(call))),
        Node::WindowCountTable(table) if call.op == "suppress" => {
            windowed_calls::suppress_counts(&table, call)
        }
        Node::WindowCountTable(table) => Node::WindowCounts(table.to_stream_with(named(call))),
        Node::Grouped(grouped) => on_grouped(grouped, call, other),
        Node::Windowed(windowed) => windowed_calls::on_windowed(windowed, call, other),
        Node::GroupedTable(grouped) => on_grouped_table(&grouped, call),
        Node::Global(_) | Node::Nothing => panic!("{} is called on what has no calls", call.op),
    }
}

/// `to`, the only call on streams that are not of texts.
fn write<K, V>(stream: &KStream<K, V>, call: &Call) -> Node
where
    K: kstreams_state_stores::DefaultSerde + Clone + Send,
    V: kstreams_state_stores::DefaultSerde + Clone + Send,
{
    assert_eq!(call.op, "to");
    let mut produced = Produced::with(ByType, ByType);
    if let Some(name) = call.arg("name") {
        produced = produced.with_name(name);
    }
    let topic = call.text("topic").to_owned();
    let topic = match call.arg("dynamic") {
        Some(_) => SinkTopic::Extractor(
            std::sync::Arc::new(move |_, _, _| topic.clone()),
            "TO_STRING_OF_EXTRACTOR".to_owned(),
        ),
        None => SinkTopic::Name(topic),
    };
    stream.to_with(topic, produced);
    Node::Nothing
}

fn on_stream(stream: &KStream<Text, Text>, call: &Call, other: Option<Node>) -> Node {
    let named = named(call);
    Node::Stream(match &*call.op {
        "filter" => stream.filter_with(|_, value| f::keeps(value), named),
        "filterNot" => stream.filter_not_with(|_, value| f::keeps(value), named),
        "map" => stream.map_with(|_, value| (f::first_character(&value), f::map_value(value)), named),
        "mapValues" => stream.map_values_with(f::map_value, named),
        "flatMap" => stream.flat_map_with(|_, value| f::characters(&value), named),
        "flatMapValues" => stream.flat_map_values_with(f::pieces, named),
        "selectKey" => stream.select_key_with(|_, value| f::first_character(value), named),
        "peek" => stream.peek_with(|_, _| (), named),
        "process" => match call.arg("punct") {
            Some("stream") => stream.process_with(|| Ticks(PunctuationType::StreamTime), named, &[]),
            Some(_) => stream.process_with(|| Ticks(PunctuationType::WallClockTime), named, &[]),
            None => stream.process_with(|| Pass, named, &stores(call)),
        },
        "processValues" => stream.process_values_with(|| Pass, named, &stores(call)),
        "repartition" => {
            let mut repartitioned = Repartitioned::with(ByType, ByType);
            if let Some(name) = call.arg("name") {
                repartitioned = repartitioned.with_name(name);
            }
            if let Some(partitions) = call.number("partitions") {
                repartitioned = repartitioned.with_number_of_partitions(i32::try_from(partitions).unwrap());
            }
            stream.repartition_with(repartitioned)
        }
        "merge" => match other {
            Some(Node::Stream(other)) => stream.merge_with(&other, named),
            _ => panic!("a stream merges with a stream"),
        },
        "join" | "leftJoin" | "outerJoin" => match other {
            Some(Node::Table(table)) => join_calls::with_table(stream, &table, call),
            Some(Node::Stream(other)) => join_calls::with_stream(stream, &other, call),
            Some(Node::Global(table)) => join_calls::with_global_table(stream, &table, call),
            _ => panic!("a stream is joined with a stream or a table"),
        },
        "foreach" => {
            stream.for_each_with(|_, _| (), named);
            return Node::Nothing;
        }
        "print" => {
            stream.print_with("p", named);
            return Node::Nothing;
        }
        "to" => return write(stream, call),
        "toTable" => return Node::Table(stream.to_table_with(named, materialized(call))),
        "groupByKey" => return Node::Grouped(stream.group_by_key_with(grouped(call))),
        "groupBy" => {
            return Node::Grouped(stream.group_by_with(|_, value| f::first_character(value), grouped(call)));
        }
        other => panic!("unknown call {other}"),
    })
}

fn stores(call: &Call) -> Vec<&str> {
    call.arg("stores").into_iter().collect()
}

fn grouped(call: &Call) -> Grouped<ByType, ByType> {
    let grouped = Grouped::with(ByType, ByType);
    match call.arg("name") {
        Some(name) => grouped.with_name(name),
        None => grouped,
    }
}

fn on_table(table: &KTable<Text, Text>, call: &Call, other: Option<Node>) -> Node {
    let named = named(call);
    let (store, stored) = (materialized(call), is_materialized(call));
    Node::Table(match (&*call.op, other) {
        ("filter", _) if stored => table.filter_with(|_, value| f::keeps(value), named, store),
        ("filter", _) => table.filter_with(|_, value| f::keeps(value), named, Unmaterialized),
        ("filterNot", _) if stored => table.filter_not_with(|_, value| f::keeps(value), named, store),
        ("filterNot", _) => table.filter_not_with(|_, value| f::keeps(value), named, Unmaterialized),
        ("mapValues", _) if stored => table.map_values_with(f::map_value, named, store),
        ("mapValues", _) => table.map_values_with(f::map_value, named, Unmaterialized),
        ("join", Some(Node::Table(other))) => {
            let joiner = |left, right| f::join(&left, &right);
            if stored {
                table.join_with(&other, joiner, named, store)
            } else {
                table.join_with(&other, joiner, named, Unmaterialized)
            }
        }
        ("leftJoin", Some(Node::Table(other))) => {
            let joiner = |left, right: Option<Text>| f::join(&left, &right.flatten());
            if stored {
                table.left_join_with(&other, joiner, named, store)
            } else {
                table.left_join_with(&other, joiner, named, Unmaterialized)
            }
        }
        ("outerJoin", Some(Node::Table(other))) => {
            let joiner = |left: Option<Text>, right: Option<Text>| f::join(&left.flatten(), &right.flatten());
            if stored {
                table.outer_join_with(&other, joiner, named, store)
            } else {
                table.outer_join_with(&other, joiner, named, Unmaterialized)
            }
        }
        ("suppress", _) => windowed_calls::suppress(table, call),
        ("fkJoin" | "fkLeftJoin", Some(Node::Table(other))) => {
            join_calls::by_foreign_key(table, &other, call, store)
        }
        ("transformValues", _) if stored => table.transform_values_with(|| Same, named, store, &[]),
        ("transformValues", _) => table.transform_values_with(|| Same, named, Unmaterialized, &[]),
        ("toStream", _) => {
            let stream = table.to_flat_stream_with(named);
            return Node::Stream(match call.arg("selectKey") {
                Some(_) => stream.select_key(|_, value| f::first_character(value)),
                None => stream,
            });
        }
        ("groupBy", _) => {
            let select = |_: &Text, value: Text| (f::first_character(&value), value);
            return Node::GroupedTable(table.group_by_with(select, grouped(call)));
        }
        (other, _) => panic!("unknown call {other}"),
    })
}

fn on_grouped(grouped: KGroupedStream<Text, Text>, call: &Call, other: Option<Node>) -> Node {
    let (named, store) = (named(call), materialized(call));
    match &*call.op {
        "count" => Node::CountTable(grouped.count_with(named, store)),
        "reduce" => Node::Table(grouped.reduce_with(|old, new| f::append(old, &new), named, store)),
        "aggregate" => {
            let aggregator = |_: &Text, value: Text, aggregate: Text| f::append(aggregate, &value);
            Node::Table(grouped.aggregate_with(|| Some(String::new()), aggregator, named, store))
        }
        _ => windowed_calls::on_grouped(grouped, call, other),
    }
}

fn on_grouped_table(grouped: &KGroupedTable<Text, Text>, call: &Call) -> Node {
    let (named, store) = (named(call), materialized(call));
    match &*call.op {
        "count" => Node::CountTable(grouped.count_with(named, store)),
        "reduce" => Node::Table(grouped.reduce_with(
            |aggregate, new| f::add(aggregate, &new),
            |aggregate, old| f::subtract(aggregate, &old),
            named,
            store,
        )),
        "aggregate" => Node::Table(grouped.aggregate_with(
            || Some(String::new()),
            |_, new, aggregate| f::add(aggregate, &new),
            |_, old, aggregate| f::subtract(aggregate, &old),
            named,
            store,
        )),
        other => panic!("unknown call {other}"),
    }
}

/// `<id>1`, `<id>2`, ... and `<id>0` for the default branch; `-` stands for a branch without a name.
fn split(node: &Node, call: &Call) -> Vec<(String, Node)> {
    let Node::Stream(stream) = node else { panic!("a stream is split") };
    let branched = |name: &str| if name == "-" { Branched::default() } else { Branched::new(name) };
    let names: Vec<&str> = call.text("branches").split('|').collect();
    let mut split = stream.split_with(named(call));
    for (index, name) in names.iter().enumerate() {
        split = split.branch(move |_, value| f::in_branch(index + 1, value), branched(name));
    }
    let branches = match call.arg("default") {
        Some(default) => split.default_branch(branched(default)),
        None => split.no_default_branch(),
    };
    let streams = branches.iter().enumerate().map(|(index, (_, stream))| {
        let ordinal = if index < names.len() { index + 1 } else { 0 };
        (format!("{}{ordinal}", call.id), Node::Stream(stream.clone()))
    });
    streams.collect()
}

/// A processor that forwards what it gets.
struct Pass;

impl Processor<Text, Text, Text, Text> for Pass {
    fn process(
        &mut self,
        record: Record<Text, Text>,
        ctx: &mut ProcessorContext<'_, Text, Text>,
    ) -> ProcessResult {
        ctx.forward(record)
    }
}

impl FixedKeyProcessor<Text, Text, Text> for Pass {
    fn process(
        &mut self,
        record: FixedKeyRecord<Text, Text>,
        ctx: &mut FixedKeyProcessorContext<'_, Text, Text>,
    ) -> ProcessResult {
        ctx.forward(record)
    }
}

/// A processor that only tells, every 10 ms of one kind of time, what time it is.
struct Ticks(PunctuationType);

impl Processor<Text, Text, Text, Text> for Ticks {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        ctx.schedule(Duration::from_millis(10), self.0);
        Ok(())
    }

    fn process(&mut self, _: Record<Text, Text>, _: &mut ProcessorContext<'_, Text, Text>) -> ProcessResult {
        Ok(())
    }

    fn punctuate(
        &mut self,
        _: ScheduleId,
        time: i64,
        ctx: &mut ProcessorContext<'_, Text, Text>,
    ) -> ProcessResult {
        ctx.forward(Record::new(Some("punct".to_owned()), Some(time.to_string()), time))
    }
}

/// A transformer that leaves values as they are.
struct Same;

impl ValueTransformerWithKey<Text, Text, Text> for Same {
    fn transform(
        &mut self,
        _: &Text,
        value: Option<Text>,
        _: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<Text>> {
        Ok(value)
    }
}
