//! map_values_async, process_async: steps that wait for something outside, a web service say, without stopping their
//! thread. Not in Kafka Streams; see KIP-408 for how often it was asked for.
//!
//! `map_values_async` keeps key, timestamp and headers, so nothing has to be repartitioned because of it; after
//! `process_async` the key counts as changed. Nothing is stored: a commit waits for what is at work. Null is given to the
//! function. The machinery is the core's `AsyncAdapter`.

use std::hash::Hash;
use std::sync::Arc;

use kstreams_core::processor::{AsyncAdapter, AsyncOptions, AsyncProcessor, ProcessResult, RecordMetadata};
use kstreams_state_stores::Record;

use super::stateless::Effect;
use crate::options::Named;
use crate::stream::KStream;

/// An asynchronous function of key and value as a processor that keeps everything else.
struct MapValues<F>(F);

impl<K, V, V2, F, Fut> AsyncProcessor<K, V, K, V2> for MapValues<F>
where
    K: Clone + Send,
    V: Send,
    V2: Send,
    F: Fn(K, V) -> Fut + Send + Sync,
    Fut: Future<Output = ProcessResult<V2>> + Send,
{
    fn process(
        &self,
        record: Record<K, V>,
        _metadata: RecordMetadata,
    ) -> impl Future<Output = ProcessResult<Vec<Record<K, V2>>>> + Send {
        let Record { key, value, timestamp, headers } = record;
        let value = (self.0)(key.clone(), value);
        async move { Ok(vec![Record { key, value: value.await?, timestamp, headers }]) }
    }
}

impl<K, V> KStream<K, V>
where
    K: Clone + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Turns each value into another one by an asynchronous function: a call of a web service, a database, a model. Key,
    /// timestamp and headers stay; nothing is repartitioned because of it, nothing is stored.
    ///
    /// - **Order**: that of each key is kept, unless [`AsyncOptions::with_order`] says otherwise. Records of different
    ///   keys overtake each other, so a windowed operator below may need a grace period.
    /// - **Failures**: an attempt that answers an error or takes too long is repeated as often as the options say. After
    ///   that, or after a panic, the processing exception handler decides, with the record's topic, partition, offset,
    ///   bytes and headers: fail, or drop the record, with a dead letter or without.
    /// - **Load**: a task has at most [`with_max_in_flight`](AsyncOptions::with_max_in_flight) records in the step; then it
    ///   takes no more from its inputs until some are done.
    /// - **Delivery**: a commit waits for what is in the step, at most
    ///   [`with_drain_timeout`](AsyncOptions::with_drain_timeout) for a call. After a crash the records since the last commit are
    ///   called for again: calls should be idempotent. The same holds for a task that moves and could not wait so long.
    ///   Under exactly-once that holds for the results; the calls are no part of a transaction.
    /// - **Null** values are given to the function.
    ///
    /// The calls run on a tokio runtime: see [`AsyncRuntime`](kstreams_core::processor::AsyncRuntime).
    ///
    /// ```
    /// use kstreams_core::processor::AsyncOptions;
    /// use kstreams_dsl::StreamsBuilder;
    /// use kstreams_test::TopologyTestDriver;
    ///
    /// async fn price_of(item: &str) -> Result<i64, std::io::Error> {
    ///     Ok(item.len() as i64) // ask a service
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("items")
    ///     .map_values_async(AsyncOptions::new().with_retries(3), |item| async move { Ok(price_of(&item).await?) })
    ///     .to("prices");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let items = driver.create_input_topic::<String, String>("items");
    /// items.pipe_input("order 1".to_owned(), "tea".to_owned())?;
    /// let prices = driver.create_output_topic::<String, i64>("prices");
    /// assert_eq!(prices.read_value()?, Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values_async<V2, Fut>(
        &self,
        options: AsyncOptions,
        f: impl Fn(V) -> Fut + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        Fut: Future<Output = ProcessResult<V2>> + Send + 'static,
    {
        self.map_values_async_with(options, f, Named::default())
    }

    /// As [`map_values_async`](Self::map_values_async), with a name.
    pub fn map_values_async_with<V2, Fut>(
        &self,
        options: AsyncOptions,
        f: impl Fn(V) -> Fut + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        Fut: Future<Output = ProcessResult<V2>> + Send + 'static,
    {
        self.map_values_async_with_key_with(options, move |_, value| f(value), named)
    }

    /// As [`map_values_async`](Self::map_values_async), with the key to look at.
    pub fn map_values_async_with_key<V2, Fut>(
        &self,
        options: AsyncOptions,
        f: impl Fn(K, V) -> Fut + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        Fut: Future<Output = ProcessResult<V2>> + Send + 'static,
    {
        self.map_values_async_with_key_with(options, f, Named::default())
    }

    /// As [`map_values_async_with_key`](Self::map_values_async_with_key), with a name.
    pub fn map_values_async_with_key_with<V2, Fut>(
        &self,
        options: AsyncOptions,
        f: impl Fn(K, V) -> Fut + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        Fut: Future<Output = ProcessResult<V2>> + Send + 'static,
    {
        let processor = Arc::new(MapValues(f));
        let supplier = move || AsyncAdapter::new(Arc::clone(&processor), options.clone());
        let upstream =
            self.operator::<K, V2, _>(&named.into(), "KSTREAM-MAPVALUES-", Effect::ChangesValue, supplier);
        KStream::new(upstream, self.key_serde.clone(), None)
    }

    /// Runs an [`AsyncProcessor`] on the stream: user code that takes a record, with headers and metadata, and answers
    /// zero or more records, under any keys, when its future is done. One for all tasks.
    ///
    /// Order, failures, load and delivery are as for [`map_values_async`](Self::map_values_async). The key counts as
    /// changed: a later grouping or join repartitions.
    ///
    /// - null: is given to the processor
    /// - state: none; late records: as any other
    ///
    /// ```
    /// use kstreams_core::processor::{AsyncOptions, AsyncProcessor, ProcessResult, RecordMetadata};
    /// use kstreams_dsl::StreamsBuilder;
    /// use kstreams_state_stores::Record;
    /// use kstreams_test::TopologyTestDriver;
    ///
    /// /// Splits an order into its items.
    /// struct Items;
    ///
    /// impl AsyncProcessor<String, String, String, i64> for Items {
    ///     async fn process(
    ///         &self,
    ///         order: Record<String, String>,
    ///         _metadata: RecordMetadata,
    ///     ) -> ProcessResult<Vec<Record<String, i64>>> {
    ///         let items = order.value.split(' ');
    ///         Ok(items.map(|item| Record::new(item.to_owned(), 1, order.timestamp)).collect())
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.process_async(AsyncOptions::new(), Items).to("items");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.create_input_topic::<String, String>("orders");
    /// orders.pipe_input("1".to_owned(), "tea milk".to_owned())?;
    /// let items = driver.create_output_topic::<String, i64>("items");
    /// assert_eq!(items.read_key_values_to_list()?, [("tea".to_owned(), 1), ("milk".to_owned(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process_async<K2, V2>(
        &self,
        options: AsyncOptions,
        processor: impl AsyncProcessor<K, V, K2, V2> + 'static,
    ) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        self.process_async_with(options, processor, Named::default())
    }

    /// As [`process_async`](Self::process_async), with a name.
    pub fn process_async_with<K2, V2>(
        &self,
        options: AsyncOptions,
        processor: impl AsyncProcessor<K, V, K2, V2> + 'static,
        named: impl Into<Named>,
    ) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        let processor = Arc::new(processor);
        let supplier = move || AsyncAdapter::new(Arc::clone(&processor), options.clone());
        let mut upstream =
            self.processed::<K2, V2, _>(supplier, &named.into(), "KSTREAM-PROCESSOR-", true, &[]);
        upstream.key_changed = true;
        KStream::new(upstream, None, None)
    }
}
