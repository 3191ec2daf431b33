//! Transactions as compaction goes through the log in offset order: which batches were aborted, which markers can go.
//!
//! Records of aborted transactions are dropped whatever their key. A marker stays as long as records of its transaction
//! do, and `delete.retention.ms` longer, so that a consumer in the middle of the transaction still finds it (Apache Kafka:
//! `CleanedTransactionMetadata`, KIP-534).

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::aborted::AbortedTxn;
use super::super::batch::BatchHeader;

/// An aborted transaction the walk is inside of.
struct Aborted {
    txn: AbortedTxn,
    /// A batch of it was there.
    seen: bool,
}

/// The state of a walk.
#[derive(Default)]
pub(super) struct CleanedTransactions {
    /// By first offset; those the walk has reached are taken out.
    ahead: VecDeque<AbortedTxn>,
    aborted: HashMap<i64, Aborted>,
    committed: HashSet<i64>,
    /// Aborted transactions whose markers stay, by their markers' offset.
    kept: Vec<AbortedTxn>,
}

impl CleanedTransactions {
    /// For a walk through a part of the log which these transactions overlap.
    pub(super) fn new(mut aborted: Vec<AbortedTxn>) -> Self {
        aborted.sort_unstable_by_key(|txn| txn.first_offset);
        CleanedTransactions { ahead: aborted.into(), ..CleanedTransactions::default() }
    }

    fn reach(&mut self, offset: i64) {
        while let Some(txn) = self.ahead.front().copied().filter(|txn| txn.first_offset <= offset) {
            self.ahead.pop_front();
            self.aborted.entry(txn.producer_id).or_insert(Aborted { txn, seen: false });
        }
    }

    /// The next batch of data: true if it was aborted.
    pub(super) fn is_aborted(&mut self, batch: &BatchHeader) -> bool {
        self.reach(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&batch.producer_id) {
            Some(aborted) => {
                aborted.seen = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id);
                false
            }
        }
    }

    /// The next control batch: true if nothing of its transaction was there any more.
    pub(super) fn is_marker_of_nothing(&mut self, batch: &BatchHeader, commits: Option<bool>) -> bool {
        self.reach(batch.last_offset());
        match commits {
            Some(true) => !self.committed.remove(&batch.producer_id),
            Some(false) => match self.aborted.remove(&batch.producer_id) {
                Some(aborted) if aborted.seen => {
                    self.kept.push(aborted.txn);
                    false
                }
                _ => true,
            },
            // Emptied by an earlier round, or of a type nobody knows here.
            None => batch.count == 0,
        }
    }

    /// The aborted transactions whose markers were passed since the last call, and stay.
    pub(super) fn take_kept(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.kept)
    }
}
