//! Where an error happened, and the record that tells of it in a dead letter topic (KIP-1034).

use std::error::Error;
use std::fmt::Write as _;

use kstreams_state_stores::Headers;

/// Header of a dead letter: the kind of error (a Java class name there, the error type's name here).
pub const HEADER_ERRORS_EXCEPTION_NAME: &str = "__streams.errors.exception";
/// Header of a dead letter: the error's message.
pub const HEADER_ERRORS_EXCEPTION_MESSAGE_NAME: &str = "__streams.errors.message";
/// Header of a dead letter: a stack trace in Java, the chain of causes here.
pub const HEADER_ERRORS_STACKTRACE_NAME: &str = "__streams.errors.stacktrace";
/// Header of a dead letter: topic of the source record.
pub const HEADER_ERRORS_TOPIC_NAME: &str = "__streams.errors.topic";
/// Header of a dead letter: partition of the source record, as decimal text.
pub const HEADER_ERRORS_PARTITION_NAME: &str = "__streams.errors.partition";
/// Header of a dead letter: offset of the source record, as decimal text.
pub const HEADER_ERRORS_OFFSET_NAME: &str = "__streams.errors.offset";

/// Where an error happened (KIP-1033's `ErrorHandlerContext`): the source record and the node at work.
#[derive(Debug, Clone, Copy)]
pub struct ErrorHandlerContext<'a> {
    /// Topic of the source record; `None` in a punctuation.
    pub topic: Option<&'a str>,
    /// Its partition; -1 in a punctuation.
    pub partition: i32,
    /// Its offset; -1 in a punctuation.
    pub offset: i64,
    /// Headers of the record at work.
    pub headers: &'a Headers,
    /// The node at work: source, processor or sink.
    pub processor_node_id: &'a str,
    /// The task, as `0_1`.
    pub task_id: &'a str,
    /// Timestamp of the record at work, milliseconds since the epoch; -1 where there is none.
    pub timestamp: i64,
    /// Key of the source record as it came from the topic.
    pub source_raw_key: Option<&'a [u8]>,
    /// Value of the source record as it came from the topic.
    pub source_raw_value: Option<&'a [u8]>,
    /// `errors.dead.letter.queue.topic.name`, if set.
    pub dead_letter_topic: Option<&'a str>,
}

impl ErrorHandlerContext<'_> {
    /// The dead letter for `error`: none when no dead letter topic is set, else the source record as it came.
    pub fn dead_letters(&self, error: &(dyn Error + 'static)) -> Vec<DeadLetterRecord> {
        self.dead_letter_topic.map(|topic| self.dead_letter_for(topic, error)).into_iter().collect()
    }

    /// A dead letter in `topic`, for handlers that choose the topic themselves: key and value of the source record, the record's
    /// headers and timestamp, and the six headers that Kafka's `ExceptionHandlerUtils` adds, in its order.
    pub fn dead_letter_for(&self, topic: &str, error: &(dyn Error + 'static)) -> DeadLetterRecord {
        let mut headers = self.headers.clone();
        headers
            .add(HEADER_ERRORS_EXCEPTION_NAME, Some(error_name(error).as_bytes()))
            .add(HEADER_ERRORS_EXCEPTION_MESSAGE_NAME, Some(error.to_string().as_bytes()))
            .add(HEADER_ERRORS_STACKTRACE_NAME, Some(error_chain(error).as_bytes()))
            .add(HEADER_ERRORS_TOPIC_NAME, self.topic.map(str::as_bytes))
            .add(HEADER_ERRORS_PARTITION_NAME, Some(self.partition.to_string().as_bytes()))
            .add(HEADER_ERRORS_OFFSET_NAME, Some(self.offset.to_string().as_bytes()));
        DeadLetterRecord {
            topic: topic.to_owned(),
            key: self.source_raw_key.map(<[u8]>::to_vec),
            value: self.source_raw_value.map(<[u8]>::to_vec),
            timestamp: (self.timestamp >= 0).then_some(self.timestamp),
            headers,
        }
    }
}

/// The name of an error's type or variant: what its Debug form starts with. Error values of the std are named by what they say there.
fn error_name(error: &(dyn Error + 'static)) -> String {
    let debug = format!("{error:?}");
    let name: String = debug.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
    if name.is_empty() { "Error".to_owned() } else { name }
}

/// The error's message, then one line per cause.
pub(super) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, "\ncaused by: {error}");
        cause = error.source();
    }
    text
}

/// A record for the dead letter topic; its partition is the producer's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// The dead letter topic.
    pub topic: String,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch; `None` lets the producer set it.
    pub timestamp: Option<i64>,
    /// The failed record's headers and those that say what happened.
    pub headers: Headers,
}
