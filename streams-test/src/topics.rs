//! Typed ends of a driver: topics to pipe into and to read from.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kstreams_core::task::OwnedRecord;
use kstreams_state_stores::{DynSerde, Record, Serde, SerdeError};

use crate::capture::ProducedRecord;
use crate::driver::{DriverError, Inner};

/// A topic that the topology reads.
pub struct TestInputTopic<K, V> {
    inner: Rc<RefCell<Inner>>,
    topic: String,
    key_serde: DynSerde<K>,
    value_serde: DynSerde<V>,
    /// The time of the next record without one of its own, and by how much it moves on (ms).
    auto_advance: Cell<Option<(i64, i64)>>,
}

impl<K: 'static, V: 'static> TestInputTopic<K, V> {
    pub(crate) fn new(
        inner: Rc<RefCell<Inner>>,
        topic: &str,
        key_serde: impl Serde<Target = K>,
        value_serde: impl Serde<Target = V>,
    ) -> Self {
        TestInputTopic {
            inner,
            topic: topic.to_owned(),
            key_serde: DynSerde::new(key_serde.for_topic(topic, true)),
            value_serde: DynSerde::new(value_serde.for_topic(topic, false)),
            auto_advance: Cell::new(None),
        }
    }

    /// Gives records that come without a time `start_ms`, and each one `advance_ms` more than the one before.
    #[must_use]
    pub fn with_auto_advance(self, start_ms: i64, advance_ms: i64) -> Self {
        self.auto_advance.set(Some((start_ms, advance_ms)));
        self
    }

    /// Pipes a record with the driver's wall-clock time, or the next of [`with_auto_advance`](Self::with_auto_advance).
    ///
    /// # Errors
    /// When the topology fails on it.
    pub fn pipe_input(&self, key: K, value: V) -> Result<(), DriverError> {
        let timestamp = match self.auto_advance.get() {
            Some((now, advance)) => {
                self.auto_advance.set(Some((now + advance, advance)));
                now
            }
            None => self.inner.borrow().now_ms(),
        };
        self.pipe_input_at(key, value, timestamp)
    }

    /// Pipes a record of the given time (ms).
    ///
    /// # Errors
    /// When the topology fails on it.
    pub fn pipe_input_at(&self, key: K, value: V, timestamp: i64) -> Result<(), DriverError> {
        self.pipe_record(Record::new(key, value, timestamp))
    }

    /// Pipes a record with everything.
    ///
    /// # Errors
    /// When the topology fails on it, or key or value cannot be serialized.
    pub fn pipe_record(&self, record: Record<K, V>) -> Result<(), DriverError> {
        let key = self.bytes("key", &self.key_serde, &record.key)?;
        let value = self.bytes("value", &self.value_serde, &record.value)?;
        let raw = OwnedRecord { key, value, timestamp: record.timestamp, offset: 0, headers: record.headers };
        self.inner.borrow_mut().pipe(&self.topic, raw)
    }

    fn bytes<T: 'static>(
        &self,
        part: &'static str,
        serde: &DynSerde<T>,
        value: &T,
    ) -> Result<Option<Vec<u8>>, DriverError> {
        let mut bytes = Vec::new();
        match serde.serialize_nullable(value, &mut bytes) {
            Ok(present) => Ok(present.then_some(bytes)),
            Err(source) => Err(DriverError::Serde { part, topic: self.topic.clone(), source }),
        }
    }
}

/// A topic that the topology writes.
pub struct TestOutputTopic<K, V> {
    inner: Rc<RefCell<Inner>>,
    topic: String,
    key_serde: DynSerde<K>,
    value_serde: DynSerde<V>,
}

impl<K: 'static, V: 'static> TestOutputTopic<K, V> {
    pub(crate) fn new(
        inner: Rc<RefCell<Inner>>,
        topic: &str,
        key_serde: impl Serde<Target = K>,
        value_serde: impl Serde<Target = V>,
    ) -> Self {
        TestOutputTopic {
            inner,
            topic: topic.to_owned(),
            key_serde: DynSerde::new(key_serde.for_topic(topic, true)),
            value_serde: DynSerde::new(value_serde.for_topic(topic, false)),
        }
    }

    /// Records that wait to be read.
    pub fn queue_size(&self) -> usize {
        self.inner.borrow().size(&self.topic)
    }

    /// Whether nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        self.queue_size() == 0
    }

    /// Takes the next record; `None` when there is none.
    ///
    /// # Errors
    /// When its bytes do not fit the serdes.
    pub fn read_record(&self) -> Result<Option<ProducedRecord<K, V>>, DriverError> {
        let Some(raw) = self.inner.borrow_mut().take_one(&self.topic) else { return Ok(None) };
        let failed = |part: &'static str| {
            let topic = self.topic.clone();
            move |source: SerdeError| DriverError::Serde { part, topic, source }
        };
        let key = self.key_serde.deserialize_nullable(raw.key.as_deref()).map_err(failed("key"))?;
        let value = self.value_serde.deserialize_nullable(raw.value.as_deref()).map_err(failed("value"))?;
        Ok(Some(ProducedRecord { key, value, timestamp: raw.timestamp, headers: raw.headers }))
    }

    /// Takes the next record's key and value.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_value(&self) -> Result<Option<(K, V)>, DriverError> {
        Ok(self.read_record()?.map(|record| (record.key, record.value)))
    }

    /// Takes the next record's value.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_value(&self) -> Result<Option<V>, DriverError> {
        Ok(self.read_record()?.map(|record| record.value))
    }

    /// Takes all that wait, keys and values.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_values_to_list(&self) -> Result<Vec<(K, V)>, DriverError> {
        std::iter::from_fn(|| self.read_key_value().transpose()).collect()
    }

    /// Takes all that wait; the last value of each key.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_values_to_map(&self) -> Result<std::collections::BTreeMap<K, V>, DriverError>
    where
        K: Ord,
    {
        std::iter::from_fn(|| self.read_key_value().transpose()).collect()
    }
}
