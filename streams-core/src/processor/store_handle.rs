//! How nodes and the task share a store: a cell that only the task's owner token opens, so that no lock is taken and no
//! borrow outlives a call.

use std::fmt;
use std::sync::Arc;

use kstreams_state_stores::StateStore;
use qcell::{QCell, QCellOwner};
use sync_wrapper::SyncWrapper;

/// A store within its task.
pub(crate) type StoreCell<S> = QCell<SyncWrapper<S>>;

/// A processor's handle on one of its state stores; get it in `init` by
/// [`InitContext::state_store`](super::InitContext::state_store), use it through
/// [`ProcessorContext::store`](super::ProcessorContext::store).
pub struct StoreHandle<S>(pub(crate) Arc<StoreCell<S>>);

impl<S> Clone for StoreHandle<S> {
    fn clone(&self) -> Self {
        StoreHandle(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for StoreHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreHandle<{}>", std::any::type_name::<S>())
    }
}

/// The task's view of a store cell, whatever its type.
pub(crate) trait ErasedStoreCell: Send + Sync {
    fn get<'a>(&'a self, owner: &'a mut QCellOwner) -> &'a mut dyn StateStore;
}

impl<S: StateStore + 'static> ErasedStoreCell for StoreCell<S> {
    fn get<'a>(&'a self, owner: &'a mut QCellOwner) -> &'a mut dyn StateStore {
        self.rw(owner).get_mut()
    }
}
