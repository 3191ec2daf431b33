//! What becomes of records that could not be delivered: the production exception handler decides (KIP-210).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kstreams_state_stores::Headers;
use rdkafka::error::RDKafkaErrorCode;

use super::error::RuntimeError;
use super::instance::{Heartbeat, Instance};
use super::refused::Verdict;
use super::settings::Settings;
use crate::client::{
    FailedDelivery, OriginTag, Outgoing, OutputOrigin, ProduceError, Producer, TransactionState,
};
use crate::error::StreamsError;
use crate::handlers::{
    DeadLetterRecord, ErrorHandlerContext, FailedOutput, ProductionDecision, ProductionExceptionHandler,
    ProductionResponse,
};

/// Asks the production exception handler about every record that failed since the last check.
///
/// # Errors
/// When it says fail, or the producer can't go on. In a transaction nobody is asked yet ([`after_abort`] does): it is over.
pub(crate) fn check(instance: &Instance, producer: &Producer) -> Result<(), StreamsError> {
    if producer.transaction().is_some() {
        return check_transaction(producer);
    }
    for failed in producer.take_failed() {
        let config = &instance.settings.config;
        let dead_letters = config.errors_dead_letter_queue_topic_name.as_deref();
        decide(&*config.production_exception_handler, dead_letters, producer, &failed)?;
    }
    if let Some((code, message)) = producer.fatal_error() {
        tracing::error!(%code, message, "the producer can't go on");
        let failed =
            RuntimeError::Produce { task: String::new(), topic: "any topic".into(), partition: -1, code };
        return Err(failed.into());
    }
    Ok(())
}

/// Whether the error says that a record was not delivered in time, and the handler that it is to be tried again: the work since the
/// last commit is done again, with another producer, since this one may still have younger records of it.
pub(crate) fn is_to_be_repeated(error: &StreamsError) -> bool {
    matches!(error, StreamsError::Runtime(RuntimeError::NotDelivered { .. }))
}

/// What could not be delivered, whatever the reason, takes the transaction along.
fn check_transaction(producer: &Producer) -> Result<(), StreamsError> {
    let fatal = producer.fatal_error().map(|(code, _)| code);
    // What is purged because of a fatal error doesn't say why.
    let failed = fatal.or(producer.first_failed());
    if failed.is_some() {
        producer.transaction_failed();
    }
    let state = match producer.transaction() {
        Some(TransactionState::Failed) => Some(RDKafkaErrorCode::State),
        Some(TransactionState::Dead) => Some(RDKafkaErrorCode::Fatal),
        _ => None,
    };
    match failed.or(state) {
        Some(code) => Err(RuntimeError::TransactionFailed { code }.into()),
        None => Ok(()),
    }
}

/// After the abort of a transaction: decides about records that the brokers refused for their own sake, so that its work can be
/// done again without them. Those of a batch are sent alone first; of those that were alone the production exception handler says
/// whether they are let pass. Whether something was decided, so that the next attempt is another one.
///
/// # Errors
/// When the handler says fail, or it isn't known which record of an input led to the one that was refused (that of a changelog or a
/// punctuation): it would be refused each time.
pub(crate) fn after_abort(instance: &Instance, producer: &Producer) -> Result<bool, StreamsError> {
    let config = &instance.settings.config;
    let dead_letters = config.errors_dead_letter_queue_topic_name.as_deref();
    // The others were taken back by the abort, or had no fault of their own: nothing is decided about them.
    let of_records = |failed: &FailedDelivery| is_of_record(failed.code);
    let failed: Vec<FailedDelivery> = producer.take_failed().into_iter().filter(of_records).collect();
    let mut together: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for failed in &failed {
        *together.entry((failed.topic.clone(), failed.partition)).or_default() += 1;
    }
    let mut decided = false;
    for failed in failed {
        let in_batch =
            together.get(&(failed.topic.clone(), failed.partition)).is_some_and(|count| *count > 1);
        let origin = failed.origin.and_then(|tag| Some((producer.origin(tag)?, tag.offset())));
        let (origin, offset) = match origin {
            Some((origin, offset)) if in_batch && !was_alone(instance, &origin, offset, &failed) => {
                decided |= instance.refused.keep(origin, offset, failed, Verdict::SendAlone);
                continue;
            }
            Some(known) => known,
            None => return Err(refused(&failed, String::new()).into()),
        };
        let (response, task) = ask(&*config.production_exception_handler, dead_letters, producer, &failed);
        if response.decision != ProductionDecision::Resume {
            return Err(refused(&failed, task).into());
        }
        let FailedDelivery { topic, partition, code, .. } = &failed;
        tracing::warn!(task, topic, partition, %code, "a record was refused and is skipped; its transaction is done again without it");
        let verdict = Verdict::Skip(response.dead_letter_records);
        decided |= instance.refused.keep(origin, offset, failed, verdict);
    }
    Ok(decided)
}

fn was_alone(instance: &Instance, origin: &OutputOrigin, offset: i64, failed: &FailedDelivery) -> bool {
    let output = (failed.topic.as_str(), failed.key.as_deref(), failed.value.as_deref());
    instance.refused.verdict((&origin.node, &origin.input, offset), output).is_some()
}

/// How long to wait for acknowledgements: beyond the client's own delivery time-out nothing can be outstanding, so that this
/// bounds a client that hangs.
pub(crate) fn limit(settings: &Settings) -> Duration {
    settings.delivery_timeout + Duration::from_secs(10)
}

/// Waits until everything produced is acknowledged or reported, as long as `goes_on` says so; false: it did not.
///
/// # Errors
/// When the limit is reached.
pub(crate) fn flush(
    producer: &Producer,
    heartbeat: &Heartbeat,
    limit: Duration,
    goes_on: impl Fn() -> bool,
) -> Result<bool, StreamsError> {
    let start = Instant::now();
    while !producer.flush(Duration::from_millis(500)) {
        heartbeat.beat();
        if !goes_on() {
            return Ok(false);
        }
        if start.elapsed() > limit {
            let in_flight = producer.in_flight();
            return Err(RuntimeError::NotAcknowledged { in_flight, waited: start.elapsed() }.into());
        }
    }
    Ok(true)
}

/// Whether a record was not delivered in time. As long as there is time the client tries again whatever may pass, so that there is
/// one code for all of it (a leader that is not there, too few replicas in sync, no connection).
fn is_late(code: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::MessageTimedOut
}

/// Whether a record was refused for its own sake, so that it would be refused again.
fn is_of_record(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        code,
        C::MessageSizeTooLarge
            | C::InvalidMessage
            | C::InvalidMessageSize
            | C::InvalidTimestamp
            | C::InvalidRecord
            | C::MessageBatchTooLarge
            | C::UnsupportedForMessageFormat
            | C::TopicAuthorizationFailed
            | C::PolicyViolation
            | C::InvalidTopic
            | C::UnknownTopic
            | C::UnknownPartition
            | C::UnknownTopicOrPartition
    )
}

/// Asks the handler about one record, and does what it says.
///
/// # Errors
/// `NotDelivered` when it says retry about a record that was only late; of any other, retry is taken for fail.
pub(crate) fn decide(
    handler: &dyn ProductionExceptionHandler,
    dead_letter_topic: Option<&str>,
    producer: &Producer,
    failed: &FailedDelivery,
) -> Result<(), StreamsError> {
    let FailedDelivery { topic, partition, code, .. } = failed;
    if let Some(TransactionState::Failed | TransactionState::Dead) = producer.transaction() {
        return Err(RuntimeError::TransactionFailed { code: *code }.into());
    }
    let (response, task) = ask(handler, dead_letter_topic, producer, failed);
    for letter in &response.dead_letter_records {
        send_dead_letter(producer, letter)?;
    }
    if response.decision == ProductionDecision::Resume {
        tracing::warn!(task, topic, partition, %code, "a record could not be written and is skipped");
        return Ok(());
    }
    if response.decision == ProductionDecision::Retry && is_late(*code) {
        let (topic, partition) = (topic.clone(), *partition);
        return Err(RuntimeError::NotDelivered { topic, partition }.into());
    }
    Err(refused(failed, task).into())
}

fn refused(failed: &FailedDelivery, task: String) -> RuntimeError {
    RuntimeError::Produce {
        task,
        topic: failed.topic.clone(),
        partition: failed.partition,
        code: failed.code,
    }
}

/// Asks the handler about one record; its answer, and the task's name as far as it is known. librdkafka reports failures long after the
/// record was handed over: of the record that led to it, topic, partition and offset are still known, of changelog records and
/// punctuations nothing.
fn ask(
    handler: &dyn ProductionExceptionHandler,
    dead_letter_topic: Option<&str>,
    producer: &Producer,
    failed: &FailedDelivery,
) -> (ProductionResponse, String) {
    let FailedDelivery { topic, partition, code, .. } = failed;
    let headers = Headers::new();
    let origin = failed.origin.and_then(|tag| producer.origin(tag));
    let task = origin.as_ref().map(|origin| origin.task.to_string()).unwrap_or_default();
    let context = ErrorHandlerContext {
        topic: origin.as_ref().map(|origin| &*origin.input.topic),
        partition: origin.as_ref().map_or(-1, |origin| origin.input.partition),
        offset: failed.origin.map_or(-1, OriginTag::offset),
        headers: &headers,
        processor_node_id: origin.as_ref().map_or("", |origin| &origin.node),
        task_id: &task,
        timestamp: failed.timestamp,
        source_raw_key: None,
        source_raw_value: None,
        dead_letter_topic,
    };
    let output = FailedOutput {
        topic,
        partition: (*partition >= 0).then_some(*partition),
        key: failed.key.as_deref(),
        value: failed.value.as_deref(),
        timestamp: Some(failed.timestamp),
        headers: &headers,
        retriable: is_late(*code),
    };
    let response = handler.handle_error(&context, &output, code);
    (response, task)
}

/// A dead letter that can't be written stops the task: the record would be lost without a trace.
pub(crate) fn send_dead_letter(producer: &Producer, letter: &DeadLetterRecord) -> Result<(), StreamsError> {
    let topic = producer.topic(&letter.topic).map_err(RuntimeError::from)?;
    let record = Outgoing {
        topic: &topic,
        partition: None,
        key: letter.key.as_deref(),
        value: letter.value.as_deref(),
        timestamp: letter.timestamp,
        headers: &letter.headers,
        acknowledged: None,
        origin: None,
    };
    let mut produced = producer.produce(&record);
    if produced == Err(ProduceError::QueueFull) {
        producer.poll(Duration::from_millis(100));
        produced = producer.produce(&record);
    }
    produced.map_err(|error| {
        let code = match error {
            ProduceError::Refused(code) => code,
            ProduceError::QueueFull => RDKafkaErrorCode::QueueFull,
        };
        RuntimeError::Produce { task: String::new(), topic: letter.topic.clone(), partition: -1, code }.into()
    })
}
