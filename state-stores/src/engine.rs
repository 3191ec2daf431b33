//! What lies below the layers: committed entries, in RocksDB or in memory.

use crate::StoreError;
use crate::backend::CommitBatch;
use crate::cursor::{CopiedCursor, Cursor, KeyRange};
use crate::overlay::Overlay;

/// The committed entries of one store. Nothing reaches them but whole commits.
pub(crate) trait Engine: Send {
    /// Reads one key, if need be into `buffer`.
    fn get<'a>(&'a self, key: &[u8], buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, StoreError>;

    /// Reads a range in order.
    fn cursor<'a>(
        &'a self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'a>, StoreError>;

    /// Reads a range in order, as it is now, for another thread: a copy, unless the engine has snapshots.
    fn owned_cursor(
        &self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'static>, StoreError> {
        let mut cursor = self.cursor(range, reverse)?;
        Ok(Box::new(CopiedCursor::of(&mut *cursor, reverse)?))
    }

    /// Adds a commit to the batch: the overlay's updates, then the removal of all keys in the `expired` ranges.
    fn write_commit(
        &mut self,
        overlay: &Overlay,
        expired: &[KeyRange],
        batch: &mut CommitBatch,
    ) -> Result<(), StoreError>;

    /// The batch was written; the engine takes the updates if it has not yet, the overlay is empty afterwards.
    fn committed(&mut self, overlay: &mut Overlay, expired: &[KeyRange]);

    /// Number of entries, roughly.
    fn approximate_entries(&self) -> u64;
}
