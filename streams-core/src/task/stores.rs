//! A task's stores, as those see them that manage them: restore, queries, metrics.

use std::sync::Arc;

use kstreams_state_stores::{BulkRestored, CacheStats, ChangelogId, RestoreRecord, StateStore, StoreError};
use qcell::QCellOwner;

use super::Task;
use crate::error::StreamsError;
use crate::processor::{ErasedStoreCell, StoreHandle};

/// A store of a task, with what the task needs to manage it.
pub(crate) struct TaskStore {
    pub(super) name: Arc<str>,
    pub(super) cell: Arc<dyn ErasedStoreCell>,
    pub(super) handle: Box<dyn Fn() -> Box<dyn std::any::Any + Send + Sync> + Send + Sync>,
    /// The nodes that are connected to it.
    pub(super) users: Vec<usize>,
}

impl TaskStore {
    /// Runs `f` on the store as one of type `S`.
    pub(crate) fn with<S: StateStore + 'static, T>(
        &self,
        owner: &mut QCellOwner,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<T, StreamsError> {
        let handle = (self.handle)();
        let Some(StoreHandle(cell)) = handle.downcast_ref::<StoreHandle<S>>() else {
            let asked = std::any::type_name::<S>();
            return Err(StreamsError::StoreType { store: self.name.to_string(), asked });
        };
        Ok(f(cell.rw(owner).get_mut()))
    }
}

impl Task {
    /// Visits the task's stores, in the topology's order.
    pub(crate) fn visit_stores(&mut self, mut f: impl FnMut(&mut dyn StateStore)) {
        for store in &self.stores {
            f(store.cell.get(&mut self.cx.owner));
        }
    }

    /// How well the caches of the stores do that have one.
    pub(crate) fn cache_stats(&mut self, mut f: impl FnMut(&str, CacheStats)) {
        for store in &self.stores {
            let cell = store.cell.get(&mut self.cx.owner);
            if cell.spec().caching {
                f(&store.name, cell.cache_stats());
            }
        }
    }

    /// Puts records of a changelog into their store.
    ///
    /// # Errors
    /// When the store cannot take them.
    pub fn restore(
        &mut self,
        changelog: ChangelogId,
        records: &mut dyn Iterator<Item = RestoreRecord<'_>>,
    ) -> Result<(), StreamsError> {
        let Some(name) = self.changelog_store(changelog) else { return Ok(()) };
        self.with_store(&name, |store| store.restore(records)).unwrap_or(Ok(()))
    }

    /// The store of a changelog was rebuilt in bulk, beside the task: it takes over the stream time that its records had.
    pub fn bulk_restored(&mut self, changelog: ChangelogId, restored: &BulkRestored) {
        if let Some(name) = self.changelog_store(changelog) {
            // There is nothing in it that could fail.
            let _told = self.with_store(&name, |store| {
                store.bulk_restored(restored);
                Ok(())
            });
        }
    }

    fn changelog_store(&self, changelog: ChangelogId) -> Option<Arc<str>> {
        let index = usize::try_from(changelog.0).unwrap_or(usize::MAX);
        self.changelogs.get(index).map(|changelog| Arc::clone(&changelog.store))
    }

    /// Runs `f` on a store of the given type: a query from outside, between records.
    ///
    /// # Errors
    /// When the store has another type than asked for. `Ok(None)`: the task has no store of that name.
    pub fn query<S: StateStore + 'static, T>(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<Option<T>, StreamsError> {
        let store = self.stores.iter().chain(&self.readers).find(|store| &*store.name == name);
        store.map(|store| store.with(&mut self.cx.owner, f)).transpose()
    }

    pub(super) fn each_store(
        &mut self,
        mut f: impl FnMut(&mut dyn StateStore) -> Result<(), StoreError>,
    ) -> Result<(), StreamsError> {
        for store in &self.stores {
            let result = f(store.cell.get(&mut self.cx.owner));
            result.map_err(|source| self.store_failed(source))?;
        }
        Ok(())
    }

    fn with_store(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut dyn StateStore) -> Result<(), StoreError>,
    ) -> Option<Result<(), StreamsError>> {
        let store = self.stores.iter().find(|store| &*store.name == name)?;
        let result = f(store.cell.get(&mut self.cx.owner));
        Some(result.map_err(|source| self.store_failed(source)))
    }

    /// A store's error as one of this task.
    pub fn store_failed(&self, source: StoreError) -> StreamsError {
        StreamsError::Store { task: self.cx.task_id.to_string(), source }
    }
}
