//! What becomes of records that could not be delivered.

use kstreams_state_stores::Headers;

use super::error::RuntimeError;
use super::instance::Instance;
use crate::client::{FailedDelivery, Producer};
use crate::error::StreamsError;
use crate::handlers::{ErrorHandlerContext, FailedOutput, ProductionDecision};

/// Asks the production exception handler about every record that failed since the last check.
///
/// # Errors
/// When it says fail, or the producer can't go on.
pub(crate) fn check(instance: &Instance, producer: &Producer) -> Result<(), StreamsError> {
    for failed in producer.take_failed() {
        decide(instance, &failed)?;
    }
    if let Some((code, message)) = producer.fatal_error() {
        tracing::error!(%code, message, "the producer can't go on");
        let failed =
            RuntimeError::Produce { task: String::new(), topic: "any topic".into(), partition: -1, code };
        return Err(failed.into());
    }
    Ok(())
}

fn decide(instance: &Instance, failed: &FailedDelivery) -> Result<(), StreamsError> {
    let FailedDelivery { topic, partition, code, .. } = failed;
    if skips(instance, failed) {
        tracing::warn!(topic, partition, %code, "a record could not be written and is skipped");
        return Ok(());
    }
    Err(RuntimeError::Produce {
        task: String::new(),
        topic: topic.clone(),
        partition: *partition,
        code: *code,
    }
    .into())
}

/// What the production exception handler says. The context is that of no record: librdkafka reports failures long after.
fn skips(instance: &Instance, failed: &FailedDelivery) -> bool {
    let headers = Headers::new();
    let context = ErrorHandlerContext {
        topic: None,
        partition: -1,
        offset: -1,
        headers: &headers,
        processor_node_id: "",
        task_id: "",
        timestamp: failed.timestamp,
        source_raw_key: None,
        source_raw_value: None,
        dead_letter_topic: None,
    };
    let output = FailedOutput {
        topic: &failed.topic,
        partition: (failed.partition >= 0).then_some(failed.partition),
        key: failed.key.as_deref(),
        value: failed.value.as_deref(),
        timestamp: Some(failed.timestamp),
        headers: &headers,
        retriable: false,
    };
    let handler = &instance.settings.config.production_exception_handler;
    handler.handle_error(&context, &output, &failed.code).decision == ProductionDecision::Resume
}
