//! What can go wrong while an application runs.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use crate::client::ClientError;

/// An error of the runtime. Messages name the topic, partition, task or store and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The Kafka client failed.
    #[error(transparent)]
    Client(#[from] ClientError),

    /// A source topic doesn't exist.
    #[error(
        "source topic {topic} does not exist: create it before the application starts (Kafka Streams does not create the user's topics)"
    )]
    UnknownSourceTopic {
        /// The topic.
        topic: String,
    },

    /// A source topic was deleted under the running application.
    #[error(
        "source topic {topic} has vanished: create it again and restart the application, or take it out of the topology"
    )]
    TopicVanished {
        /// The topic.
        topic: String,
    },

    /// A source topic was given other partitions under the running application.
    #[error(
        "source topic {topic} had {was} partitions and now has {now}: tasks and stores are made by partition, so stop every instance, reset the application (its internal topics have the old count) and start it again"
    )]
    PartitionsChanged {
        /// The topic.
        topic: String,
        /// Partitions at start.
        was: i32,
        /// Partitions now.
        now: i32,
    },

    /// A new topic of a pattern has more partitions than there are tasks.
    #[error(
        "new topic {topic} of a source pattern has {partitions} partitions, more than the {tasks} of {representative}, by which the instances share out the tasks: restart every instance to take it up"
    )]
    PatternTopicTooLarge {
        /// The new topic.
        topic: String,
        /// Its partitions.
        partitions: i32,
        /// The topic that the group shares out.
        representative: String,
        /// Its partitions.
        tasks: i32,
    },

    /// An internal topic was deleted under the running application.
    #[error(
        "internal topic {topic} has vanished, and what it held is lost: restore it, or stop every instance and reset the application, so that it is rebuilt from the input (kafka-streams-application-reset, then clean_up() of each instance)"
    )]
    InternalTopicVanished {
        /// The topic.
        topic: String,
    },

    /// Records of a changelog were written at offsets that it had used already.
    #[error(
        "changelog {topic}-{partition} has begun anew: it was deleted, or cut, and made again while the application ran, and what it held is lost; stop every instance and reset the application, so that its state is rebuilt from the input (kafka-streams-application-reset, then clean_up() of each instance)"
    )]
    ChangelogBegunAnew {
        /// The changelog.
        topic: String,
        /// The partition.
        partition: i32,
    },

    /// A changelog ends before what is known to have been in it.
    #[error(
        "changelog {topic}-{partition} ends at offset {end}, but the local state holds it up to offset {held}: it was deleted or cut, and a store rebuilt from it would lack what is gone; reset the application to rebuild its state from the input (kafka-streams-application-reset, then clean_up() of each instance), or call clean_up() alone to go on with what the changelog still has"
    )]
    ChangelogLost {
        /// The changelog.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset behind the last record that is known.
        held: i64,
        /// Where the partition ends now.
        end: i64,
    },

    /// Nothing was committed for a partition, or the committed record is gone, and the policy is `none`.
    #[error(
        "no valid committed offset for {topic}-{partition} and auto.offset.reset of its source is none: choose earliest or latest, or commit an offset with the group tools"
    )]
    NoOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },

    /// A partition can't be read.
    #[error(
        "{topic}-{partition} cannot be read ({code}): check that the topic exists and that this user may read it"
    )]
    Fetch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The client's code.
        code: RDKafkaErrorCode,
    },

    /// A record could not be written, after all retries, and the production exception handler said fail.
    #[error(
        "a record of task {task} for {topic}-{partition} could not be written ({code}): check that the topic exists, its max.message.bytes and this user's rights"
    )]
    Produce {
        /// The task; empty when several share the producer.
        task: String,
        /// The topic.
        topic: String,
        /// The partition, -1 when none was chosen.
        partition: i32,
        /// The client's code.
        code: RDKafkaErrorCode,
    },

    /// A record was not delivered within `delivery.timeout.ms`: the work since the last commit is done again.
    #[error(
        "a record for {topic}-{partition} was not delivered within delivery.timeout.ms: is the partition's leader there, with enough replicas in sync (min.insync.replicas)?"
    )]
    NotDelivered {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },

    /// Records could not be delivered, again and again, for `task.timeout.ms`.
    #[error("nothing could be written for {tried:?} (task.timeout.ms): the cause below was the last one")]
    DeliveriesFail {
        /// For how long.
        tried: Duration,
        /// The last failure.
        source: Box<crate::StreamsError>,
    },

    /// Records are not acknowledged in time.
    #[error(
        "{in_flight} records were not acknowledged within {waited:?}: are the brokers reachable and in sync (acks=all)?"
    )]
    NotAcknowledged {
        /// How many.
        in_flight: usize,
        /// How long was waited.
        waited: Duration,
    },

    /// The brokers refuse transactions, or don't answer.
    #[error("transactions (processing.guarantee exactly_once_v2) cannot be prepared: {remedy}")]
    TransactionsRefused {
        /// What to do.
        remedy: String,
        /// What the broker said.
        source: Box<ClientError>,
    },

    /// The brokers could not tell an instance that is left behind from one that is not.
    #[error(
        "the brokers are too old for exactly_once_v2, which needs Apache Kafka 2.5 or newer (offsets in transactions: TxnOffsetCommit version {needed}, they have up to {found}): upgrade every broker, or use at_least_once"
    )]
    BrokersTooOld {
        /// The highest version that they have.
        found: i16,
        /// The version that is needed.
        needed: i16,
    },

    /// A record, or the offsets, could not be added to a transaction: it is aborted.
    #[error("the transaction failed ({code})")]
    TransactionFailed {
        /// The client's code.
        code: RDKafkaErrorCode,
    },

    /// Another producer has taken this one's transactional id, nobody knows what became of a commit, or records were thrown away: a new
    /// one takes its place.
    #[error("the producer can't go on; another one takes its place in {pause:?}")]
    ProducerLost {
        /// How long to wait before.
        pause: Duration,
        /// What happened.
        source: Box<crate::StreamsError>,
    },

    /// Tasks went without a commit, and what they had produced could not wait.
    #[error(
        "{records} records of tasks that were given up without a commit were thrown away before they were sent; what led to them is processed again where the tasks are now, unless the guarantee is at_most_once"
    )]
    RecordsDiscarded {
        /// How many.
        records: usize,
    },

    /// One transaction after the other failed, for `task.timeout.ms`.
    #[error(
        "no transaction could be committed for {tried:?} (task.timeout.ms): the cause below was the last one; if it is a time-out, raise producer.transaction.timeout.ms (up to the brokers' transaction.max.timeout.ms) or lower commit.interval.ms"
    )]
    TransactionsFail {
        /// For how long.
        tried: Duration,
        /// The last failure.
        source: Box<crate::StreamsError>,
    },

    /// A topic that a sink writes to doesn't exist.
    #[error("topic {topic} does not exist or has no leader: create it, or check this user's rights")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },

    /// An instance of the application asked all others to stop.
    #[error(
        "another instance of the application failed and asked every instance to stop (ShutdownApplication): its log says why; start the instances again when that is mended"
    )]
    ShutdownRequested,

    /// The tasks belong to another instance by now.
    #[error(
        "tasks {tasks} were given to another member of the group before their work was committed; it will be done again there"
    )]
    TasksLost {
        /// The tasks.
        tasks: String,
    },

    /// A processing thread panicked outside of user code that is caught per node.
    #[error("thread {thread} panicked: {message}")]
    Panic {
        /// The thread.
        thread: String,
        /// The panic's message.
        message: String,
    },

    /// User code has not come back for longer than `task.timeout.ms`.
    #[error(
        "thread {thread} has been busy for {busy:?}, longer than task.timeout.ms, {place}: give what the code waits for a time-out, or raise task.timeout.ms"
    )]
    Stuck {
        /// The thread.
        thread: String,
        /// For how long.
        busy: Duration,
        /// In which node, with which record.
        place: String,
    },

    /// A call that the state doesn't allow.
    #[error("{call} is not possible in state {state}: {remedy}")]
    State {
        /// What was called.
        call: &'static str,
        /// The state.
        state: super::State,
        /// What to do.
        remedy: &'static str,
    },

    /// A store that no task of this instance has, now.
    #[error(
        "store {store} is not on this instance now ({why}): ask again later, or ask the instance that has it"
    )]
    StoreNotAvailable {
        /// The store.
        store: String,
        /// Why.
        why: String,
    },

    /// A store that the topology doesn't have.
    #[error("there is no store {store} in the topology; it has: {known}")]
    UnknownStore {
        /// The store asked for.
        store: String,
        /// Those there are.
        known: String,
    },

    /// A thread of the operating system could not be started.
    #[error("cannot start thread {thread}")]
    Spawn {
        /// The thread.
        thread: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An error with its causes, in one line: for the log.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
