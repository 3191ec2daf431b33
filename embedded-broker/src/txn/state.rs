//! The states of a transactional id (Apache Kafka's `TransactionState`).

/// Where a transactional id is between two transactions or in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TransactionState {
    /// No transaction since the producer was initialised.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided that the transaction commits; markers are being written.
    PrepareCommit,
    /// It is decided that the transaction aborts; markers are being written.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
}

/// States only Apache Kafka's coordinator has, within one step of ours; filters may name them.
const TRANSIENT: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl TransactionState {
    const ALL: [TransactionState; 6] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];

    /// The state's number in the log.
    pub(crate) fn id(self) -> i8 {
        match self {
            TransactionState::Empty => 0,
            TransactionState::Ongoing => 1,
            TransactionState::PrepareCommit => 2,
            TransactionState::PrepareAbort => 3,
            TransactionState::CompleteCommit => 4,
            TransactionState::CompleteAbort => 5,
        }
    }

    /// The state of that number.
    pub(crate) fn from_id(id: i8) -> Option<Self> {
        TransactionState::ALL.into_iter().find(|state| state.id() == id)
    }

    /// The state's name on the wire and in tools.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether any version of Kafka has a state of this name.
    pub(crate) fn is_name(name: &str) -> bool {
        TRANSIENT.contains(&name) || TransactionState::ALL.iter().any(|state| state.name() == name)
    }

    /// It is decided how the transaction ends, and markers may be missing.
    pub(crate) fn is_prepared(self) -> bool {
        matches!(self, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
    }

    /// No transaction is open or being ended.
    pub(crate) fn is_idle(self) -> bool {
        matches!(
            self,
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort
        )
    }
}
