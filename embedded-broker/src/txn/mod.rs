//! The transaction coordinator (KIP-98, KIP-360, KIP-890): which producer a transactional id belongs to, which partitions
//! its transaction has reached, how it ended.
//!
//! ```text
//!  InitProducerId --> Empty -- first partition --> Ongoing -- EndTxn --> PrepareCommit -- markers --> CompleteCommit
//!                       ^                             |                                                    |
//!                       |                             +-- EndTxn, timeout, a newer instance                |
//!                       |                             v                                                    |
//!                       +---------- InitProducerId -- CompleteAbort <-- markers -- PrepareAbort            |
//!                       +---------- InitProducerId ------------------------------------- next partition <--+
//! ```
//!
//! [`metadata`] is a transactional id's state and the rules by which it changes, without locks or disk; [`coordinator`]
//! puts a lock around each id and stores every change in a compacted log (formats in [`records`]) before it counts.
//! A decision to commit or abort is logged before the first marker is written, so a broker that dies in between writes
//! the rest at its next start. [`produce`] admits batches to a transaction, [`expire`] ends what took too long.
//!
//! Apache Kafka's coordinator sends markers to other brokers and answers before they are written. Here they are written
//! within EndTxn, under the id's lock: the next request of the producer finds the transaction complete. Only when a
//! partition's disk fails a transaction stays prepared; it is tried again, and its producer told to wait
//! (`CONCURRENT_TRANSACTIONS`).

mod config;
mod coordinator;
mod describe;
mod expire;
mod load;
mod metadata;
mod produce;
mod records;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use config::TransactionConfig;
pub(crate) use coordinator::{Partitions, TransactionCoordinator};
pub(crate) use describe::Filter;
pub(crate) use metadata::EndRequest;
pub(crate) use produce::{OpenTransaction, refusal};
pub(crate) use state::TransactionState;

/// The feature by which clients learn that EndTxn bumps the epoch and Produce adds partitions (KIP-890, part 2).
pub(crate) const FEATURE: &str = "transaction.version";
/// The feature's level in force.
pub(crate) const VERSION: i16 = 2;
