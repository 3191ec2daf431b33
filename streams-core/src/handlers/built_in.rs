//! The handlers that come with the library: log and go on, log and stop.

use std::error::Error;

use super::dead_letter::error_chain;
use super::{
    Decision, DeserializationExceptionHandler, ErrorHandlerContext, FailedOutput, HandlerResponse,
    ProcessingExceptionHandler, ProductionExceptionHandler, ProductionResponse, SerializationExceptionOrigin,
};

/// Logs a warning, drops the record and goes on (`LogAndContinueExceptionHandler`, `LogAndContinueProcessingExceptionHandler`).
#[derive(Debug, Clone, Copy, Default)]
pub struct LogAndContinue;

/// Logs an error and stops (`LogAndFailExceptionHandler`, `LogAndFailProcessingExceptionHandler`). For output it is
/// `DefaultProductionExceptionHandler`: a retriable error is tried again. The default for all three.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogAndFail;

/// The answer of every built-in handler: it logs, an error where the thread stops and a warning where it goes on, and
/// writes a dead letter where there is a topic for it.
fn answer(
    what: &str,
    decision: Decision,
    context: &ErrorHandlerContext<'_>,
    error: &(dyn Error + 'static),
) -> HandlerResponse {
    let topic = context.topic.unwrap_or("(none)");
    let ErrorHandlerContext { task_id: task, processor_node_id: node, partition, offset, .. } = context;
    let text = error_chain(error);
    match decision {
        Decision::Fail => {
            tracing::error!(task, node, topic, partition, offset, error = text, "{what}, stopping");
        }
        Decision::Resume => {
            tracing::warn!(task, node, topic, partition, offset, error = text, "{what}, record dropped");
        }
    }
    let dead_letter_records = context.dead_letters(error).into_iter().collect();
    HandlerResponse { decision, dead_letter_records }
}

/// Each built-in handler answers the same for all that can fail.
macro_rules! answers {
    ($handler:ty, $decision:expr) => {
        impl DeserializationExceptionHandler for $handler {
            fn handle_error(
                &self,
                context: &ErrorHandlerContext<'_>,
                error: &(dyn Error + 'static),
            ) -> HandlerResponse {
                answer("deserialization failed", $decision, context, error)
            }
        }

        impl ProcessingExceptionHandler for $handler {
            fn handle_error(
                &self,
                context: &ErrorHandlerContext<'_>,
                error: &(dyn Error + 'static),
            ) -> HandlerResponse {
                answer("processing failed", $decision, context, error)
            }
        }

        impl ProductionExceptionHandler for $handler {
            fn handle_error(
                &self,
                context: &ErrorHandlerContext<'_>,
                record: &FailedOutput<'_>,
                error: &(dyn Error + 'static),
            ) -> ProductionResponse {
                if record.retriable && $decision == Decision::Fail {
                    return ProductionResponse::retry();
                }
                let what = format!("writing to topic {} failed", record.topic);
                answer(&what, $decision, context, error).into()
            }

            fn handle_serialization_error(
                &self,
                context: &ErrorHandlerContext<'_>,
                origin: SerializationExceptionOrigin,
                error: &(dyn Error + 'static),
            ) -> ProductionResponse {
                answer(&format!("serializing the {origin:?} failed"), $decision, context, error).into()
            }
        }
    };
}

answers!(LogAndContinue, Decision::Resume);
answers!(LogAndFail, Decision::Fail);

#[cfg(test)]
mod tests {
    use kstreams_state_stores::Headers;

    use super::*;
    use crate::handlers::{
        DeadLetterRecord, ProductionDecision, StreamThreadExceptionResponse, StreamsUncaughtExceptionHandler,
    };

    #[derive(Debug, thiserror::Error)]
    #[error("size is 1, not 8")]
    struct WrongSize;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("the value cannot be read")]
        Value { source: WrongSize },
    }

    fn context<'a>(headers: &'a Headers, dead_letter_topic: Option<&'a str>) -> ErrorHandlerContext<'a> {
        ErrorHandlerContext {
            topic: Some("in"),
            partition: 0,
            offset: 1,
            headers,
            processor_node_id: "KSTREAM-SOURCE-0000000000",
            task_id: "0_0",
            timestamp: 2,
            source_raw_key: Some(b"k"),
            source_raw_value: Some(&[0xff]),
            dead_letter_topic,
        }
    }

    fn text_headers(record: &DeadLetterRecord) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        record
            .headers
            .iter()
            .map(|h| (h.key.to_string(), h.value.as_deref().map_or("null".into(), text)))
            .collect()
    }

    /// The traces `deser-dead-letter` and `processing-dead-letter` of the JVM: raw key and value, the record's timestamp, its
    /// headers first, then ours in `ExceptionHandlerUtils`' order.
    #[test]
    fn dead_letters_are_those_of_kafka_streams() {
        let mut headers = Headers::new();
        headers.add("h", Some(b"y"));
        let context = context(&headers, Some("dlq"));
        let error = Outer::Value { source: WrongSize };
        let response = DeserializationExceptionHandler::handle_error(&LogAndContinue, &context, &error);
        assert_eq!(response.decision, Decision::Resume);
        let [record] = response.dead_letter_records.as_slice() else {
            panic!("one dead letter, not {response:?}")
        };
        assert_eq!((record.topic.as_str(), record.timestamp), ("dlq", Some(2)));
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"k"[..]), Some(&[0xff][..])));
        let expected = [
            ("h", "y"),
            ("__streams.errors.exception", "Value"),
            ("__streams.errors.message", "the value cannot be read"),
            ("__streams.errors.stacktrace", "the value cannot be read\ncaused by: size is 1, not 8"),
            ("__streams.errors.topic", "in"),
            ("__streams.errors.partition", "0"),
            ("__streams.errors.offset", "1"),
        ];
        assert_eq!(text_headers(record), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(headers.len(), 1, "the failed record's own headers stay as they are");
    }

    #[test]
    fn without_a_dead_letter_topic_built_in_handlers_only_decide() {
        let headers = Headers::new();
        let context = context(&headers, None);
        let resume = ProcessingExceptionHandler::handle_error(&LogAndContinue, &context, &WrongSize);
        assert_eq!(resume, HandlerResponse::resume());
        let fail = ProcessingExceptionHandler::handle_error(&LogAndFail, &context, &WrongSize);
        assert_eq!(fail, HandlerResponse::fail());
    }

    #[test]
    fn the_default_production_handler_retries_what_may_still_succeed_and_fails_the_rest() {
        let headers = Headers::new();
        let context = context(&headers, Some("dlq"));
        let mut record = FailedOutput {
            topic: "out",
            partition: None,
            key: None,
            value: None,
            timestamp: None,
            headers: &headers,
            retriable: true,
        };
        let handler: &dyn ProductionExceptionHandler = &LogAndFail;
        assert_eq!(handler.handle_error(&context, &record, &WrongSize), ProductionResponse::retry());
        record.retriable = false;
        let failed = handler.handle_error(&context, &record, &WrongSize);
        assert_eq!((failed.decision, failed.dead_letter_records.len()), (ProductionDecision::Fail, 1));
        let origin = SerializationExceptionOrigin::Value;
        assert_eq!(
            handler.handle_serialization_error(&context, origin, &WrongSize).decision,
            ProductionDecision::Fail
        );
    }

    #[test]
    fn closures_are_handlers() {
        let handler = |context: &ErrorHandlerContext<'_>, error: &(dyn Error + 'static)| {
            HandlerResponse::resume().with_dead_letters([context.dead_letter_for("mine", error)])
        };
        let handler: &dyn ProcessingExceptionHandler = &handler;
        let headers = Headers::new();
        assert_eq!(
            handler.handle_error(&context(&headers, None), &WrongSize).dead_letter_records[0].topic,
            "mine"
        );
        let uncaught: &dyn StreamsUncaughtExceptionHandler =
            &|_: &(dyn Error + 'static)| StreamThreadExceptionResponse::ReplaceThread;
        assert_eq!(uncaught.handle(&WrongSize), StreamThreadExceptionResponse::ReplaceThread);
    }

    #[test]
    fn a_record_without_timestamp_lets_the_producer_set_it() {
        let headers = Headers::new();
        let context = ErrorHandlerContext { timestamp: -1, topic: None, ..context(&headers, Some("dlq")) };
        let record = context.dead_letter_for("dlq", &WrongSize);
        assert_eq!(record.timestamp, None);
        assert!(text_headers(&record).contains(&("__streams.errors.topic".into(), "null".into())));
    }
}
