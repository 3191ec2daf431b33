//! One partition's queue of fetched records, read in batches by the thread that owns its task.
#![allow(unsafe_code)] // rd_kafka_consume_batch_queue and the queue's event callback are not in rdkafka

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::consumer::GroupContext;
use super::message::Message;
use super::waker::Waker;
use crate::task::TopicPartition;

/// Keeps a queue's consumer alive. Each queue has its own, so that the reference count that every message holds isn't
/// shared between threads.
pub(super) struct QueueOwner {
    consumer: Arc<BaseConsumer<GroupContext>>,
}

/// What was read from a partition's queue.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// A record.
    Record(Message),
    /// The end of the partition was reached; the offset is that of the next record to come. Only of consumers with
    /// `enable.partition.eof` that are in no group: librdkafka 2.12 takes the end, when it is read in a batch, for a
    /// record, and a rebalance would then make it skip the next one.
    End(i64),
    /// The partition can't be read; librdkafka goes on trying unless the code says otherwise.
    Error(RDKafkaErrorCode),
}

/// Set by librdkafka when the queue gets its first message; read by the owning thread.
struct Readiness {
    ready: AtomicBool,
    waker: Arc<Waker>,
}

/// The queue of one partition, split off from its consumer's. Owned by one thread at a time.
pub(crate) struct PartitionQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    readiness: Arc<Readiness>,
    /// Reused between reads; empty outside of `read`.
    batch: Vec<*mut rd::rd_kafka_message_t>,
    /// librdkafka takes an error that is read in a batch for a record at the position, which is one too far then.
    had_errors: bool,
    owner: Arc<QueueOwner>,
}

// SAFETY: librdkafka's queues are thread safe; `batch` holds no pointer outside of `read`, which takes `&mut self`.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits the partition's queue off: from now on its messages come here only, and `waker` is woken when there are
    /// some. `None` when the name can't be a topic's.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<GroupContext>>,
        topic: &str,
        partition: i32,
        waker: Arc<Waker>,
    ) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let native = consumer.client().native_ptr();
        // SAFETY: a live client and a nul-terminated name.
        let queue =
            NonNull::new(unsafe { rd::rd_kafka_queue_get_partition(native, topic.as_ptr(), partition) })?;
        let readiness = Arc::new(Readiness { ready: AtomicBool::new(true), waker });
        // SAFETY: forwarding to null ends the forwarding to the consumer's queue. The callback's argument outlives the
        // callback: it is disabled in drop, under the queue's lock, before `readiness` is released.
        unsafe {
            rd::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            let argument = Arc::as_ptr(&readiness).cast_mut().cast::<c_void>();
            rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_messages), argument);
        }
        let owner = Arc::new(QueueOwner { consumer: consumer.clone() });
        Some(PartitionQueue { queue, readiness, batch: Vec::new(), had_errors: false, owner })
    }

    /// Whether there may be something to read. False negatives don't occur; after `seek` false positives do.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.ready.load(Ordering::Acquire)
    }

    /// Reads up to `max` records without waiting and hands each to `sink`; answers how many. Outdated ones (from before
    /// a seek or an unassignment) are dropped by librdkafka.
    pub(crate) fn read(&mut self, max: usize, mut sink: impl FnMut(Fetched)) -> usize {
        // Before reading: a message that arrives meanwhile sets it again.
        self.readiness.ready.store(false, Ordering::Release);
        self.batch.reserve(max);
        // SAFETY: room for `max` pointers was reserved; librdkafka writes at most that many and answers how many (-1 is
        // an error that leaves none).
        let count = unsafe {
            let count =
                rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.batch.as_mut_ptr(), max);
            let count = usize::try_from(count).unwrap_or(0);
            self.batch.set_len(count);
            count
        };
        if count == max {
            // The callback only comes when the queue was empty: there may be more.
            self.readiness.ready.store(true, Ordering::Release);
        }
        for message in self.batch.drain(..) {
            if let Some(message) = NonNull::new(message) {
                // SAFETY: just received from this client and owned by nobody else.
                let fetched = unsafe { classify(message, &self.owner) };
                self.had_errors |= !matches!(fetched, Fetched::Record(_));
                sink(fetched);
            }
        }
        count
    }

    /// Whether everything up to the high watermark of the last fetch was read; `next` is the offset behind the last record
    /// read. The client's own position counts control records, which end every transaction and are never seen.
    pub(crate) fn is_caught_up(&self, partition: &TopicPartition, next: i64) -> bool {
        let Some(end) = self.cached_end(&partition.topic, partition.partition) else { return false };
        next >= end || self.position(partition).is_some_and(|position| position >= end)
    }

    /// The offset of the next record that may come, `next` or what lies behind control records that were read since.
    pub(crate) fn next_to_read(&self, partition: &TopicPartition, next: i64) -> i64 {
        self.position(partition).filter(|_| !self.had_errors).map_or(next, |position| position.max(next))
    }

    /// The client's position: behind the last record, or control record, that was read.
    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&partition.topic, partition.partition);
        // SAFETY: a live client and a valid list, which is only written to.
        let answer = unsafe { rd::rd_kafka_position(self.owner.consumer.client().native_ptr(), list.ptr()) };
        let element = list.find_partition(&partition.topic, partition.partition)?;
        match element.offset() {
            Offset::Offset(offset) if answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Some(offset),
            _ => None,
        }
    }

    /// The high watermark of the partition as of the last fetch, without asking the broker; `None` before the first.
    pub(crate) fn cached_end(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: a live client, a nul-terminated name, two valid places for the answer.
        let answer = unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.owner.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours; the callback is ended before its argument goes away (it is called under the lock
        // that disabling takes), then our reference to the queue is given back.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Called by librdkafka's threads, under the queue's lock, when an empty queue gets a message.
unsafe extern "C" fn on_messages(_: *mut rd::rd_kafka_t, argument: *mut c_void) {
    // SAFETY: `split` passed a pointer to a Readiness that lives until the callback is disabled.
    let readiness = unsafe { &*argument.cast::<Readiness>() };
    readiness.ready.store(true, Ordering::Release);
    readiness.waker.wake();
}

/// # Safety
/// As for [`Message::from_raw`]; here the message may carry an error.
unsafe fn classify(message: NonNull<rd::rd_kafka_message_t>, owner: &Arc<QueueOwner>) -> Fetched {
    // SAFETY: by the caller's promise. An error's message is owned by `message` like a record's, and freed with it.
    let (error, message) = unsafe { (message.as_ref().err, Message::from_raw(message, owner.clone())) };
    match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Fetched::Record(message),
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Fetched::End(message.offset()),
        other => Fetched::Error(other.into()),
    }
}
