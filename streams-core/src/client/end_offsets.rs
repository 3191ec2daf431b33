//! The ends of partitions as one wants them, past open transactions or before them, whatever the client at hand is allowed to read.
#![allow(unsafe_code)] // rd_kafka_ListOffsets is not in rdkafka

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::error::ClientError;
use super::millis;
use crate::task::TopicPartition;

type Level = rd::rd_kafka_IsolationLevel_t;

/// Beyond the time that the brokers get: for librdkafka to say that there was no answer.
const GRACE: Duration = Duration::from_secs(1);

/// Options of one request.
struct Options(NonNull<rd::rd_kafka_AdminOptions_t>);

impl Options {
    /// # Safety
    /// `client` is alive.
    unsafe fn new(client: *mut rd::rd_kafka_t, level: Level, timeout: Duration) -> Option<Self> {
        let (mut text, timeout) = ([c_char::default(); 256], millis(timeout));
        // SAFETY: by the caller's promise; the text has room for what its size says.
        unsafe {
            let raw =
                rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
            let options = Options(NonNull::new(raw)?);
            let set =
                rd::rd_kafka_AdminOptions_set_request_timeout(raw, timeout, text.as_mut_ptr(), text.len());
            let level = rd::rd_kafka_AdminOptions_set_isolation_level(raw, level);
            if !level.is_null() {
                rd::rd_kafka_error_destroy(level);
                return None;
            }
            (set == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

/// Where the answer comes.
struct Answers(NonNull<rd::rd_kafka_queue_t>);

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once; an answer that comes later goes with the last reference of librdkafka's own.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// An answer.
struct Event(NonNull<rd::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// The ends of partitions past open transactions, in their order, with one request per broker; waits at most about `timeout`.
pub(crate) fn high_watermarks<C: ClientContext>(
    client: &Client<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<i64>, ClientError> {
    ends(client, partitions, Level::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED, timeout)
}

/// The last stable offsets: the same, where open transactions begin.
pub(crate) fn stable_ends<C: ClientContext>(
    client: &Client<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<i64>, ClientError> {
    ends(client, partitions, Level::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED, timeout)
}

fn ends<C: ClientContext>(
    client: &Client<C>,
    partitions: &[TopicPartition],
    level: Level,
    timeout: Duration,
) -> Result<Vec<i64>, ClientError> {
    let failed = |code| {
        ClientError::request(
            format!("reading the ends of {} partitions", partitions.len()),
            KafkaError::OffsetFetch(code),
        )
    };
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut request = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        request.add_partition(&partition.topic, partition.partition);
    }
    // What the call takes for "the end" stands where an offset would.
    request
        .set_all_offsets(Offset::End)
        .map_err(|source| ClientError::request("naming partitions", source))?;
    let client = client.native_ptr();
    // SAFETY: the client is borrowed, so it is alive; options, queue and event are valid until they are dropped at the end of this function; the result
    // and what is in it live as long as the event.
    unsafe {
        let options = Options::new(client, level, timeout).ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
        let queue =
            NonNull::new(rd::rd_kafka_queue_new(client)).ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
        let answers = Answers(queue);
        rd::rd_kafka_ListOffsets(client, request.ptr(), options.0.as_ptr(), answers.0.as_ptr());
        let event = rd::rd_kafka_queue_poll(answers.0.as_ptr(), millis(timeout + GRACE));
        let event = Event(NonNull::new(event).ok_or_else(|| failed(RDKafkaErrorCode::OperationTimedOut))?);
        let error = rd::rd_kafka_event_error(event.0.as_ptr());
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(error.into()));
        }
        let found = ends_in(rd::rd_kafka_event_ListOffsets_result(event.0.as_ptr())).map_err(failed)?;
        let end_of = |partition: &TopicPartition| {
            let end = found.iter().find(|(known, _)| known == partition).map(|(_, end)| *end);
            end.ok_or_else(|| failed(RDKafkaErrorCode::UnknownPartition))
        };
        partitions.iter().map(end_of).collect()
    }
}

/// # Safety
/// `result` is null or a result whose event is alive.
unsafe fn ends_in(
    result: *const rd::rd_kafka_ListOffsets_result_t,
) -> Result<Vec<(TopicPartition, i64)>, RDKafkaErrorCode> {
    if result.is_null() {
        return Err(RDKafkaErrorCode::Fail);
    }
    let mut count = 0;
    // SAFETY: a valid result; it has `count` infos, each with a partition whose topic is nul-terminated.
    unsafe {
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, ptr::from_mut(&mut count));
        let mut ends = Vec::with_capacity(count);
        for index in 0..count {
            let partition = &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            if partition.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(partition.err.into());
            }
            let topic = CStr::from_ptr(partition.topic).to_string_lossy().into_owned();
            ends.push((TopicPartition::new(topic, partition.partition), partition.offset));
        }
        Ok(ends)
    }
}
