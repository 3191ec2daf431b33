//! Topologies that several tests run, by the Processor API.

use kstreams_core::Topology;
use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
use kstreams_core::topology::RepartitionTopic;
use kstreams_state_stores::{KeyValueStore, Record, Stores};

/// Splits lines into words, which become keys.
pub struct Split;

impl Processor<(), String, String, ()> for Split {
    fn process(
        &mut self,
        record: Record<(), String>,
        ctx: &mut ProcessorContext<'_, String, ()>,
    ) -> ProcessResult {
        for word in record.value.split_whitespace() {
            ctx.forward(Record::new(word.to_lowercase(), (), record.timestamp))?;
        }
        Ok(())
    }
}

/// Counts records by key in a store.
pub struct Count {
    store: String,
    counts: Option<StoreHandle<KeyValueStore<String, i64>>>,
}

impl Count {
    pub fn in_store(store: &str) -> Self {
        Count { store: store.to_owned(), counts: None }
    }
}

impl Default for Count {
    fn default() -> Self {
        Count::in_store("counts")
    }
}

impl Processor<String, (), String, i64> for Count {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.counts = Some(ctx.state_store(&self.store)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, ()>,
        ctx: &mut ProcessorContext<'_, String, i64>,
    ) -> ProcessResult {
        let Some(handle) = &self.counts else { return Ok(()) };
        let count = {
            let mut counts = ctx.store(handle);
            let count = counts.get(&record.key)?.unwrap_or(0) + 1;
            counts.put(&record.key, &count)?;
            count
        };
        ctx.forward(record.with_value(count))
    }
}

/// Lines -> words -> repartition -> count -> output: two sub-topologies.
pub fn word_count(input: &str, output: &str) -> Topology {
    let mut topology = Topology::new();
    topology.add_repartition_topic("words-repartition", RepartitionTopic::default());
    topology.add_source::<(), String>("lines", input).unwrap();
    topology.add_processor("split", || Split, &["lines"]).unwrap();
    topology.add_sink::<String, ()>("to-words", "words-repartition", &["split"]).unwrap();
    topology.add_source::<String, ()>("words", "words-repartition").unwrap();
    topology.add_processor("count", Count::default, &["words"]).unwrap();
    let store = Stores::key_value::<String, i64>("counts");
    topology.add_state_store(store, &["count"]).unwrap();
    topology.add_sink::<String, i64>("to-counts", output, &["count"]).unwrap();
    topology
}
