//! Typed iterators over ordered reads: borrowed ones for processors, owned ones for other threads.

use crate::StoreError;
use crate::cursor::Cursor;
use crate::timings::Timer;

/// Entries of a store in order, borrowed from it.
pub type StoreIterator<'a, T> = Box<dyn Iterator<Item = Result<T, StoreError>> + 'a>;

/// Turns key and value bytes into an entry.
pub(crate) type Decode<T> = Box<dyn Fn(&[u8], &[u8]) -> Result<T, StoreError> + Send>;

/// Entries of a store as they were when the view was made, everything processed until then included. It can be read by
/// another thread while the store goes on; it holds a snapshot of the database meanwhile.
pub struct ReadView<T> {
    entries: Entries<'static, T>,
}

impl<T> ReadView<T> {
    pub(crate) fn new(cursor: Box<dyn Cursor + Send + 'static>, decode: Decode<T>) -> Self {
        ReadView { entries: Entries::new(cursor, decode) }
    }
}

impl<T> Iterator for ReadView<T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}

/// The entries of a cursor, decoded, without tombstones. An error ends it.
pub(crate) struct Entries<'a, T> {
    cursor: Option<Box<dyn Cursor + Send + 'a>>,
    decode: Decode<T>,
    /// Runs as long as the iterator is there.
    _timer: Option<Timer>,
}

impl<'a, T> Entries<'a, T> {
    /// Counts the read, from the timer's start until the iterator is dropped.
    pub(crate) fn timed(self, timer: Option<Timer>) -> Self {
        Entries { _timer: timer, ..self }
    }

    pub(crate) fn new(cursor: Box<dyn Cursor + Send + 'a>, decode: Decode<T>) -> Self {
        Entries { cursor: Some(cursor), decode, _timer: None }
    }
}

impl<T> Iterator for Entries<'_, T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.as_mut()?;
        while let Some((key, value)) = cursor.entry() {
            let decoded = value.map(|value| (self.decode)(key, value));
            let advanced = cursor.advance();
            if decoded.as_ref().is_some_and(Result::is_err) {
                self.cursor = None;
                return decoded;
            }
            if let Err(error) = advanced {
                self.cursor = None;
                return Some(Err(error));
            }
            if decoded.is_some() {
                return decoded;
            }
        }
        self.cursor = None;
        None
    }
}
