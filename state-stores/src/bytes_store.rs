//! Stores of the user's own: a [`BytesStore`] takes the place of RocksDB or of the library's store in memory, below
//! everything else (`KeyValueBytesStoreSupplier` and its siblings with a class of the user's).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::StoreError;
use crate::backend::CommitBatch;
use crate::cursor::{Cursor, KeyRange};
use crate::engine::Engine;
use crate::overlay::Overlay;

/// What goes wrong in a [`BytesStore`]; the library adds the store's name and stops the task.
pub type BytesStoreError = Box<dyn Error + Send + Sync>;

/// Entries of a [`BytesStore`] in order.
pub type BytesIterator<'a> =
    Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), BytesStoreError>> + Send + 'a>;

/// An ordered map of bytes to bytes, to be implemented by the user where neither RocksDB nor memory is right.
///
/// Serdes, the record cache, the changelog, windows and expiry are done above it, so one implementation serves every kind
/// of store: key-value, window, session, versioned. It is given whole commits only: what a task has not committed it
/// never sees, and what is read is merged with it elsewhere.
///
/// Each store of each task has one of its own, empty at first: it is restored from the changelog at each start, as stores in
/// memory are, whose rules for late records and for order it shares. What it keeps beyond that is its own affair. The
/// sum of its methods' work is done on the processing thread.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use kstreams_state_stores::{BytesIterator, BytesStore, BytesStoreError, Stores};
///
/// #[derive(Default)]
/// struct Sorted(BTreeMap<Vec<u8>, Vec<u8>>);
///
/// impl BytesStore for Sorted {
///     fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BytesStoreError> {
///         Ok(self.0.get(key).cloned())
///     }
///     fn range(&self, from: &[u8], to: Option<&[u8]>, reverse: bool) -> Result<BytesIterator<'_>, BytesStoreError> {
///         let to = to.map(<[u8]>::to_vec);
///         let entries = self.0.range(from.to_vec()..).take_while(move |(key, _)| to.as_ref().is_none_or(|to| *key < to));
///         let entries: Vec<_> = entries.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
///         Ok(if reverse { Box::new(entries.into_iter().rev()) } else { Box::new(entries.into_iter()) })
///     }
///     fn write<'a>(
///         &mut self,
///         updates: &mut dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
///     ) -> Result<(), BytesStoreError> {
///         for (key, value) in updates {
///             match value {
///                 Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
///                 None => self.0.remove(key),
///             };
///         }
///         Ok(())
///     }
///     fn approximate_num_entries(&self) -> u64 {
///         self.0.len() as u64
///     }
/// }
///
/// let counts = Stores::key_value::<String, i64>("counts").with_bytes_store(|_store| Sorted::default());
/// ```
pub trait BytesStore: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// What keeps it from being read; the task stops.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BytesStoreError>;

    /// The entries whose keys are `from` or above, and below `to` (`None`: to the end), in the order of unsigned bytes, or
    /// with `reverse` the other way round. `from` may be above `to`: then there are none.
    ///
    /// # Errors
    /// What keeps them from being read; the task stops.
    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
    ) -> Result<BytesIterator<'_>, BytesStoreError>;

    /// Takes a commit: sets values, and deletes keys whose value is `None`. Each key comes once, in no order.
    ///
    /// # Errors
    /// What keeps them from being written; the task stops, and is restored.
    fn write<'a>(
        &mut self,
        updates: &mut dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), BytesStoreError>;

    /// Deletes every key below `key`: windows, sessions that have expired. By default they are read and deleted one by one.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn remove_below(&mut self, key: &[u8]) -> Result<(), BytesStoreError> {
        let expired: Result<Vec<_>, _> = self.range(&[], Some(key), false)?.collect();
        let expired = expired?;
        self.write(&mut expired.iter().map(|(key, _)| (key.as_slice(), None)))
    }

    /// Number of entries, roughly.
    fn approximate_num_entries(&self) -> u64;
}

/// Makes a store, given its name.
type MakeBytesStore = dyn Fn(&str) -> Box<dyn BytesStore> + Send + Sync;

/// Makes the [`BytesStore`] of each task; cheap to clone.
#[derive(Clone)]
pub struct BytesStoreFactory(Arc<MakeBytesStore>);

impl BytesStoreFactory {
    /// `make` is given the store's name and called once for each task that has the store, which it must begin empty.
    pub fn new<S: BytesStore + 'static>(make: impl Fn(&str) -> S + Send + Sync + 'static) -> Self {
        BytesStoreFactory(Arc::new(move |store| Box::new(make(store))))
    }

    pub(crate) fn make_engine(&self, store: &str) -> OwnEngine {
        OwnEngine { name: store.to_owned(), bytes: (self.0)(store) }
    }
}

impl fmt::Debug for BytesStoreFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BytesStoreFactory")
    }
}

/// A user's store as an engine.
pub(crate) struct OwnEngine {
    name: String,
    bytes: Box<dyn BytesStore>,
}

fn failed(store: &str, action: &'static str) -> impl FnOnce(BytesStoreError) -> StoreError {
    let store = store.to_owned();
    move |source| StoreError::OwnStore { store, action, source }
}

impl Engine for OwnEngine {
    fn get<'a>(&'a self, key: &[u8], buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, StoreError> {
        let Some(value) = self.bytes.get(key).map_err(failed(&self.name, "read"))? else { return Ok(None) };
        *buffer = value;
        Ok(Some(buffer))
    }

    fn cursor<'a>(
        &'a self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'a>, StoreError> {
        let bounds = range.clone();
        let mut cursor = OwnCursor { engine: self, bounds, reverse, rest: None, current: None };
        cursor.restart(&range.lower, range.upper.as_deref())?;
        Ok(Box::new(cursor))
    }

    /// Written at once: should the batch of the task's other stores fail, the task is closed, and a new one restores the
    /// store.
    fn write_commit(
        &mut self,
        overlay: &Overlay,
        expired: &[KeyRange],
        _batch: &mut CommitBatch,
    ) -> Result<(), StoreError> {
        let mut updates = overlay.iter().map(|(key, value)| (&**key, value.map(|value| &**value)));
        self.bytes.write(&mut updates).map_err(failed(&self.name, "write of a commit"))?;
        // Its keys are by time, as those in memory, so nothing lies before what has expired.
        match expired.iter().find_map(|range| range.upper.as_deref()) {
            Some(bound) => {
                self.bytes.remove_below(bound).map_err(failed(&self.name, "removal of what expired"))
            }
            None => Ok(()),
        }
    }

    fn committed(&mut self, overlay: &mut Overlay, _expired: &[KeyRange]) {
        overlay.clear();
    }

    fn approximate_entries(&self) -> u64 {
        self.bytes.approximate_num_entries()
    }
}

/// An ordered read of a user's store.
struct OwnCursor<'a> {
    engine: &'a OwnEngine,
    bounds: KeyRange,
    reverse: bool,
    rest: Option<BytesIterator<'a>>,
    current: Option<(Vec<u8>, Vec<u8>)>,
}

impl OwnCursor<'_> {
    fn restart(&mut self, from: &[u8], to: Option<&[u8]>) -> Result<(), StoreError> {
        let failed = failed(&self.engine.name, "read of a range");
        self.rest = Some(self.engine.bytes.range(from, to, self.reverse).map_err(failed)?);
        self.advance()
    }
}

impl Cursor for OwnCursor<'_> {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.current.as_ref().map(|(key, value)| (&**key, Some(&**value)))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        let next = self.rest.as_mut().and_then(Iterator::next).transpose();
        self.current = next.map_err(failed(&self.engine.name, "read of a range"))?;
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        let KeyRange { lower, upper } = self.bounds.clone();
        if !self.reverse {
            return self.restart(target.max(&lower), upper.as_deref());
        }
        // At or before the target: below the least key above it.
        let above = crate::cursor::successor(target.to_vec());
        let to = upper.filter(|upper| *upper <= above).unwrap_or(above);
        self.restart(&lower, Some(&to))
    }
}
