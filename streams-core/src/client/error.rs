//! What the client can answer.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// An error of the Kafka client. `doing` says what was asked for, in words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// librdkafka refused the configuration.
    #[error("the Kafka client refuses its configuration: {message}")]
    Config {
        /// What it said.
        message: String,
        /// As the client reports it.
        source: Box<KafkaError>,
    },

    /// No broker answered in time.
    #[error(
        "no Kafka broker answered at {bootstrap} within {waited_ms} ms ({found}): is it running, are host and port right (bootstrap.servers), does it expect TLS or SASL?"
    )]
    Unreachable {
        /// The configured `bootstrap.servers`.
        bootstrap: String,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
        /// What is at each address.
        found: String,
        /// As the client reports it.
        source: Box<KafkaError>,
    },

    /// A request failed.
    #[error("{doing} failed")]
    Request {
        /// What was asked for.
        doing: String,
        /// As the client reports it.
        source: Box<KafkaError>,
    },

    /// A transactional call failed.
    #[error("{doing} failed: {message}")]
    Transaction {
        /// What was asked for.
        doing: String,
        /// The broker's or the client's code.
        code: RDKafkaErrorCode,
        /// What the client says.
        message: String,
    },
}

impl ClientError {
    pub(crate) fn request(doing: impl Into<String>, source: KafkaError) -> Self {
        ClientError::Request { doing: doing.into(), source: Box::new(source) }
    }

    pub(crate) fn config(source: KafkaError) -> Self {
        ClientError::Config { message: source.to_string(), source: Box::new(source) }
    }

    /// The consumer is in no generation of its group: nothing can be committed in its name.
    pub(crate) fn not_a_member() -> Self {
        ClientError::Transaction {
            doing: "adding offsets to the transaction".to_owned(),
            code: RDKafkaErrorCode::UnknownMemberId,
            message: "this instance is no member of the group now".to_owned(),
        }
    }

    /// The broker's or the client's code, where there is one.
    pub fn code(&self) -> Option<RDKafkaErrorCode> {
        match self {
            ClientError::Config { source, .. }
            | ClientError::Unreachable { source, .. }
            | ClientError::Request { source, .. } => source.rdkafka_error_code(),
            ClientError::Transaction { code, .. } => Some(*code),
        }
    }

    /// Whether this member was expelled from its group or its generation is over: what it processed since its last
    /// commit belongs to somebody else now.
    pub fn is_fenced(&self) -> bool {
        use RDKafkaErrorCode as C;
        matches!(self.code(), Some(C::UnknownMemberId | C::IllegalGeneration | C::FencedInstanceId))
    }

    /// Whether asking again, a little later, may succeed.
    pub fn is_retriable(&self) -> bool {
        use RDKafkaErrorCode as C;
        matches!(
            self.code(),
            Some(
                C::RebalanceInProgress
                    | C::IllegalGeneration
                    | C::CoordinatorNotAvailable
                    | C::CoordinatorLoadInProgress
                    | C::NotCoordinator
                    | C::RequestTimedOut
                    | C::OperationTimedOut
                    | C::BrokerTransportFailure
                    | C::AllBrokersDown
                    | C::LeaderNotAvailable
                    | C::NotLeaderForPartition
                    | C::UnknownTopicOrPartition
                    | C::OffsetNotAvailable
                    | C::UnstableOffsetCommit
                    | C::WaitingForCoordinator
                    | C::NetworkException
                    | C::InProgress
                    | C::PreviousInProgress
                    // A broker left the cluster, or came back, while the request was on its way.
                    | C::DestroyBroker
                    | C::BrokerDestroy
                    | C::BrokerNotAvailable
                    | C::ListenerNotFound
                    | C::ReplicaNotAvailable
                    | C::NotController
                    | C::FencedLeaderEpoch
                    | C::UnknownLeaderEpoch
                    | C::NotEnoughReplicas
                    | C::NotEnoughReplicasAfterAppend
                    | C::KafkaStorageError
                    | C::ThrottlingQuotaExceeded
                    | C::TimedOutQueue
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Killing one of three brokers answered `DestroyBroker` to a request that was waiting for it, and the instance stopped.
    #[test]
    fn a_broker_that_goes_away_is_no_reason_to_stop() {
        use RDKafkaErrorCode as C;
        for code in [C::BrokerTransportFailure, C::DestroyBroker, C::NotController, C::NotEnoughReplicas] {
            let error = ClientError::request("reading offsets", KafkaError::MetadataFetch(code));
            assert!(error.is_retriable(), "{error:?}");
        }
        let refused = ClientError::request("reading", KafkaError::MetadataFetch(C::TopicAuthorizationFailed));
        assert!(!refused.is_retriable());
    }
}
