//! Records that cannot be read, processed or serialized: the handlers decide, dead letters join the task's output, and
//! what is let pass is counted as dropped (KIP-161, KIP-1033, KIP-1034).

use std::error::Error;
use std::sync::Arc;

use kstreams_state_stores::SerdeError;

use super::{OutputRecord, RawRecord, TaskContext, TopicPartition};
use crate::config::{DefaultTimestampExtractor, StreamsConfig};
use crate::error::StreamsError;
use crate::handlers::{
    DeadLetterRecord, Decision, DeserializationExceptionHandler, ErrorHandlerContext, LogAndFail,
    ProcessingExceptionHandler, ProductionDecision, ProductionExceptionHandler, SerializationExceptionOrigin,
};
use crate::processor::{ProcessError, ProcessErrorKind, ProcessResult};

/// What a task does about failures, and about records without a valid time.
#[derive(Clone)]
pub struct TaskHandlers {
    /// Asked about records that cannot be read.
    pub deserialization: Arc<dyn DeserializationExceptionHandler>,
    /// Asked about records that user code fails on.
    pub processing: Arc<dyn ProcessingExceptionHandler>,
    /// Asked about records that cannot be written.
    pub production: Arc<dyn ProductionExceptionHandler>,
    /// `errors.dead.letter.queue.topic.name`.
    pub dead_letter_topic: Option<Arc<str>>,
    /// For sources that name no extractor.
    pub timestamp_extractor: DefaultTimestampExtractor,
}

impl Default for TaskHandlers {
    /// Fail on everything, as an application without settings does.
    fn default() -> Self {
        TaskHandlers {
            deserialization: Arc::new(LogAndFail),
            processing: Arc::new(LogAndFail),
            production: Arc::new(LogAndFail),
            dead_letter_topic: None,
            timestamp_extractor: DefaultTimestampExtractor::default(),
        }
    }
}

impl From<&StreamsConfig> for TaskHandlers {
    fn from(config: &StreamsConfig) -> Self {
        TaskHandlers {
            deserialization: Arc::clone(&config.deserialization_exception_handler),
            processing: Arc::clone(&config.processing_exception_handler),
            production: Arc::clone(&config.production_exception_handler),
            dead_letter_topic: config.errors_dead_letter_queue_topic_name.as_deref().map(Arc::from),
            timestamp_extractor: config.default_timestamp_extractor,
        }
    }
}

impl TaskHandlers {
    /// For global stores: there is no producer for dead letters, and the processing handler is asked only where
    /// `processing.exception.handler.global.enabled` says so (KIP-1270).
    pub fn of_global(config: &StreamsConfig) -> Self {
        let mut handlers = TaskHandlers { dead_letter_topic: None, ..TaskHandlers::from(config) };
        if !config.processing_exception_handler_global_enabled {
            handlers.processing = Arc::new(LogAndFail);
        }
        handlers
    }
}

impl TaskContext {
    /// The bytes of a record cannot be read: its handler decides whether to skip it.
    pub(crate) fn deserialization_failed(
        &mut self,
        node: usize,
        partition: &TopicPartition,
        raw: &RawRecord,
        error: StreamsError,
    ) -> Result<(), StreamsError> {
        let cause: &(dyn Error + 'static) = error.source().unwrap_or(&error);
        let response = self.handlers.deserialization.handle_error(
            &ErrorHandlerContext {
                topic: Some(&partition.topic),
                partition: partition.partition,
                offset: raw.offset(),
                headers: &raw.headers(),
                processor_node_id: self.node_name(node),
                task_id: &self.task_id.to_string(),
                timestamp: raw.timestamp(),
                source_raw_key: raw.key(),
                source_raw_value: raw.value(),
                dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
            },
            cause,
        );
        self.send_dead_letters(node, response.dead_letter_records)?;
        match response.decision {
            Decision::Fail => Err(error),
            Decision::Resume => {
                self.dropped += 1;
                Ok(())
            }
        }
    }

    /// A node failed on the current record.
    pub(crate) fn processing_failed(&mut self, node: usize, error: ProcessError) -> ProcessResult {
        let source = match error.0 {
            ProcessErrorKind::Fatal(_) => return Err(error),
            ProcessErrorKind::User(source) => source,
        };
        let handler = Arc::clone(&self.handlers.processing);
        let response = self.with_error_context(node, |context| handler.handle_error(context, &*source));
        self.send_dead_letters(node, response.dead_letter_records).map_err(ProcessError::fatal)?;
        if response.decision == Decision::Resume {
            self.dropped += 1;
            return Ok(());
        }
        Err(ProcessError::fatal(StreamsError::Processing {
            node: self.node_name(node).to_owned(),
            task: self.task_id.to_string(),
            topic: self.record.topic.as_deref().unwrap_or_default().to_owned(),
            partition: self.record.partition,
            offset: self.record.offset,
            source,
        }))
    }

    /// A sink cannot serialize the current record.
    pub(crate) fn serialization_failed(
        &mut self,
        node: usize,
        topic: &str,
        part: &'static str,
        source: SerdeError,
    ) -> ProcessResult {
        let origin = if part == "key" {
            SerializationExceptionOrigin::Key
        } else {
            SerializationExceptionOrigin::Value
        };
        let handler = Arc::clone(&self.handlers.production);
        let response = self
            .with_error_context(node, |context| handler.handle_serialization_error(context, origin, &source));
        self.send_dead_letters(node, response.dead_letter_records).map_err(ProcessError::fatal)?;
        if response.decision == ProductionDecision::Resume {
            self.dropped += 1;
            return Ok(());
        }
        let (node, topic) = (self.node_name(node).to_owned(), topic.to_owned());
        Err(ProcessError::fatal(StreamsError::Serialization { node, part, topic, source }))
    }

    fn with_error_context<T>(&self, node: usize, f: impl FnOnce(&ErrorHandlerContext<'_>) -> T) -> T {
        let record = &self.record;
        f(&ErrorHandlerContext {
            topic: record.topic.as_deref(),
            partition: record.partition,
            offset: record.offset,
            headers: &record.headers,
            processor_node_id: self.node_name(node),
            task_id: &self.task_id.to_string(),
            timestamp: record.timestamp,
            source_raw_key: self.raw.as_ref().and_then(RawRecord::key),
            source_raw_value: self.raw.as_ref().and_then(RawRecord::value),
            dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
        })
    }

    fn send_dead_letters(&mut self, node: usize, letters: Vec<DeadLetterRecord>) -> Result<(), StreamsError> {
        for DeadLetterRecord { topic, key, value, timestamp, headers } in letters {
            let topic: Arc<str> = topic.into();
            let (topic, headers) = (&topic, &headers);
            let (key, value) = (key.as_deref(), value.as_deref());
            self.send(node, OutputRecord { topic, partition: None, key, value, timestamp, headers })?;
        }
        Ok(())
    }
}
