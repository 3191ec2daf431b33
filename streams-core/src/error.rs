//! What can go wrong, by what has to be done about it.

use std::sync::Arc;

use kstreams_state_stores::{SerdeError, StoreError};

/// Errors of topologies, tasks and the runtime. Each message names the thing (topic, partition, offset, task, node,
/// store, directory) and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamsError {
    /// The configuration is wrong; nothing was started. Lists every fault.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),

    /// The folder of local state cannot be used.
    #[error(transparent)]
    StateDir(#[from] crate::state_dir::StateDirError),

    /// Source or internal topics are missing or not as they have to be.
    #[error(transparent)]
    Topics(Box<crate::internal_topics::TopicsError>),

    /// The topology is wrong; nothing was started.
    #[error(transparent)]
    Topology(#[from] TopologyError),

    /// The application can't go on, or the cluster doesn't let it.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::RuntimeError),

    /// A processor asked for a store that is not connected to it.
    #[error(
        "processor {node} has no access to store {store}: connect it with add_state_store(.., [\"{node}\"]) or connect_processor_and_state_stores"
    )]
    StoreNotConnected {
        /// The processor.
        node: String,
        /// The store that it asked for.
        store: String,
    },

    /// A store was asked for as another type than it has.
    #[error("store {store} is not a {asked}: ask for the type that its builder makes")]
    StoreType {
        /// The store.
        store: String,
        /// The type asked for.
        asked: &'static str,
    },

    /// `forward_to` named a child that the node does not have.
    #[error("{node} has no child named {child}")]
    NoSuchChild {
        /// The node that forwards.
        node: String,
        /// The name it gave.
        child: String,
    },

    /// User code answered an error outside the processing of a record (in `init`, say).
    #[error("processor {node} failed")]
    User {
        /// The node.
        node: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// User code answered an error or panicked while it processed a record, and the handler said fail.
    #[error(
        "processor {node} of task {task} failed on {topic}-{partition} at offset {offset}: set a processing exception handler to skip such records"
    )]
    Processing {
        /// The node.
        node: String,
        /// The task.
        task: String,
        /// Topic of the record that was being processed; empty in a punctuation.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// What the code said; a panic's message.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An attempt of an asynchronous step took longer than it may.
    #[error(
        "no answer within {timeout:?} at attempt {attempt}: look at what the step calls, or give it more time with AsyncOptions::with_timeout"
    )]
    AsyncTimeout {
        /// How long an attempt may take.
        timeout: std::time::Duration,
        /// Which attempt it was, from 1.
        attempt: u32,
    },

    /// A commit could not wait any longer for an asynchronous step.
    #[error(
        "a commit has waited {waited:?} for this call: it blocks its thread, or AsyncOptions::with_drain_timeout is too short"
    )]
    AsyncUnfinished {
        /// How long the commit waited.
        waited: std::time::Duration,
    },

    /// The runtime of an asynchronous step went away before its call was done.
    #[error(
        "a call of step {node} was dropped: the tokio runtime was shut down or has no timers; close the instance before its runtime, and build that with enable_all"
    )]
    AsyncCancelled {
        /// The step.
        node: String,
    },

    /// The runtime for asynchronous steps cannot be started.
    #[error("cannot start the threads of asynchronous steps: check the limits of the process")]
    AsyncRuntime {
        /// What the system said.
        source: Arc<std::io::Error>,
    },

    /// A record's bytes are not what the serde expects, and the handler said fail.
    #[error(
        "the {part} of {topic}-{partition} at offset {offset} cannot be read: check the serde of the source, or set a deserialization exception handler to skip such records"
    )]
    Deserialization {
        /// `key` or `value`.
        part: &'static str,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What the serde said.
        source: SerdeError,
    },

    /// A value cannot be written to a topic, and the handler said fail.
    #[error("sink {node} cannot write the {part} to topic {topic}: check the serde of the sink")]
    Serialization {
        /// The sink.
        node: String,
        /// `key` or `value`.
        part: &'static str,
        /// The topic.
        topic: String,
        /// What the serde said.
        source: SerdeError,
    },

    /// A record's timestamp is negative and the extractor does not skip it.
    #[error(
        "record of {topic}-{partition} at offset {offset} has the negative timestamp {timestamp}: use another timestamp extractor, log_and_skip_on_invalid_timestamp for instance"
    )]
    InvalidTimestamp {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What the extractor answered.
        timestamp: i64,
    },

    /// A state store failed.
    #[error("a state store of task {task} failed")]
    Store {
        /// The task.
        task: String,
        /// What the store said.
        source: StoreError,
    },
}

impl From<crate::internal_topics::TopicsError> for StreamsError {
    fn from(error: crate::internal_topics::TopicsError) -> Self {
        StreamsError::Topics(Box::new(error))
    }
}

/// A topology that cannot be built; the JVM's `TopologyException`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two nodes or stores of one name.
    #[error("{what} {name} is already there: give it another name")]
    Duplicate {
        /// `processor` or `state store`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A parent, processor or store that nobody added.
    #[error("{what} {name}, which {by} refers to, was not added: add it first")]
    Unknown {
        /// `parent`, `processor` or `state store`.
        what: &'static str,
        /// The name.
        name: String,
        /// Who refers to it.
        by: String,
    },
    /// A topic that two sources read, or that is both a name and matched by a pattern.
    #[error("topic {topic} is already read by source {source_node}: read it once and use its stream twice")]
    TopicTwice {
        /// The topic.
        topic: String,
        /// The source that has it.
        source_node: Arc<str>,
    },
    /// A sink whose topic the same node reads.
    #[error("sink {sink} writes to topic {topic} that its parent source reads: that would be a loop")]
    SinkToOwnSource {
        /// The sink.
        sink: String,
        /// The topic.
        topic: String,
    },
    /// Parent and child do not agree on the types of a record.
    #[error("{child} takes records of {takes}, but its parent {parent} forwards {gives}")]
    TypeMismatch {
        /// The parent.
        parent: String,
        /// What it forwards.
        gives: &'static str,
        /// The child.
        child: String,
        /// What it takes.
        takes: &'static str,
    },
    /// Anything else that a builder found.
    #[error("{0}")]
    Invalid(String),
}
