//! A log in memory that can be told to fail, for the coordinators' tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Entry, InternalLog, ProducerEpoch, ReplayError, Replayed, StoreError};
use crate::log::Marker;

/// Offsets are places in `entries`; markers have none of their own.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    pub(crate) entries: Mutex<Vec<Entry>>,
    /// Place in `entries` to the producer in whose transaction it was written.
    transactions: Mutex<HashMap<usize, i64>>,
    /// Before which place a transaction ended.
    ends: Mutex<Vec<(usize, Marker)>>,
    fails: AtomicBool,
}

impl MemoryLog {
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Storage("disk full".into())),
            false => Ok(()),
        }
    }
}

impl InternalLog for MemoryLog {
    fn append(
        &self,
        entries: &[Entry],
        _: i64,
        transaction: Option<ProducerEpoch>,
    ) -> Result<i64, StoreError> {
        self.check()?;
        let mut all = self.entries.lock();
        let base = all.len();
        all.extend_from_slice(entries);
        if let Some(producer) = transaction {
            self.transactions.lock().extend((base..all.len()).map(|at| (at, producer.id)));
        }
        Ok(base as i64)
    }

    fn end_transaction(&self, marker: &Marker) -> Result<(), StoreError> {
        self.check()?;
        self.ends.lock().push((self.entries.lock().len(), *marker));
        Ok(())
    }

    fn replay(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), ReplayError> {
        let (entries, transactions, ends) = (self.entries.lock(), self.transactions.lock(), self.ends.lock());
        for at in 0..=entries.len() {
            for (_, marker) in ends.iter().filter(|(before, _)| *before == at) {
                visit(Replayed::End { producer_id: marker.producer_id, commit: marker.commit });
            }
            if let Some(entry) = entries.get(at) {
                let transaction = transactions.get(&at).copied();
                let (key, value) = (entry.key.clone(), entry.value.clone());
                visit(Replayed::Record { offset: at as i64, key, value, transaction });
            }
        }
        Ok(())
    }
}
