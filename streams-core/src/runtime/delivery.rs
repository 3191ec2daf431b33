//! What becomes of records that could not be delivered: the production exception handler decides (KIP-210).

use std::time::Duration;

use kstreams_state_stores::Headers;
use rdkafka::error::RDKafkaErrorCode;

use super::error::RuntimeError;
use super::instance::Instance;
use crate::client::{FailedDelivery, OriginTag, Outgoing, ProduceError, Producer, TransactionState};
use crate::error::StreamsError;
use crate::handlers::{
    DeadLetterRecord, ErrorHandlerContext, FailedOutput, ProductionDecision, ProductionExceptionHandler,
};

/// Asks the production exception handler about every record that failed since the last check.
///
/// # Errors
/// When it says fail, or the producer can't go on.
pub(crate) fn check(instance: &Instance, producer: &Producer) -> Result<(), StreamsError> {
    for failed in producer.take_failed() {
        if producer.transaction().is_some() && !is_of_record(failed.code) {
            // The transaction goes back and is tried again: nothing is decided about the record.
            producer.transaction_failed();
            return Err(RuntimeError::TransactionFailed { code: failed.code }.into());
        }
        let config = &instance.settings.config;
        let dead_letters = config.errors_dead_letter_queue_topic_name.as_deref();
        decide(&*config.production_exception_handler, dead_letters, producer, &failed)?;
    }
    match producer.transaction() {
        Some(TransactionState::Failed) => {
            return Err(RuntimeError::TransactionFailed { code: RDKafkaErrorCode::State }.into());
        }
        Some(TransactionState::Dead) => {
            let code = producer.fatal_error().map_or(RDKafkaErrorCode::Fatal, |(code, _)| code);
            return Err(RuntimeError::TransactionFailed { code }.into());
        }
        _ => {}
    }
    if let Some((code, message)) = producer.fatal_error() {
        if producer.transaction().is_some() {
            producer.transaction_failed();
            return Err(RuntimeError::TransactionFailed { code }.into());
        }
        tracing::error!(%code, message, "the producer can't go on");
        let failed =
            RuntimeError::Produce { task: String::new(), topic: "any topic".into(), partition: -1, code };
        return Err(failed.into());
    }
    Ok(())
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

/// Asks the handler about one record. librdkafka reports failures long after the record was handed over: of the record
/// that led to it, topic, partition and offset are still known, of changelog records and punctuations nothing.
///
/// # Errors
/// When it says fail; retries are over, so `Retry` is that, too.
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
        retriable: false,
    };
    let response = handler.handle_error(&context, &output, code);
    for letter in &response.dead_letter_records {
        send_dead_letter(producer, letter)?;
    }
    if response.decision == ProductionDecision::Resume {
        tracing::warn!(task, topic, partition, %code, "a record could not be written and is skipped");
        return Ok(());
    }
    let topic = topic.clone();
    Err(RuntimeError::Produce { task, topic, partition: *partition, code: *code }.into())
}

/// A dead letter that can't be written stops the task: the record would be lost without a trace.
fn send_dead_letter(producer: &Producer, letter: &DeadLetterRecord) -> Result<(), StreamsError> {
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
