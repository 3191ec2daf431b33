//! Key encodings: what the changelog has, and what the engine sorts by.
//!
//! ```text
//! changelog, window store   key | start i64 | seq i32                       (WindowKeySchema)
//! in RocksDB                segment i64 | key | start i64 | seq i32         segment = start / segment interval
//! in memory                 start i64 | key | seq i32
//! ```
//!
//! All numbers are big-endian. The order of bytes is the order in which the JVM's stores iterate: segment by segment,
//! then by key and start in RocksDB; by start, then key in memory. The first number also is what expires: a lower bound
//! of the keys that still live.

use std::borrow::Cow;

/// Bytes of a window start.
const START_BYTES: usize = 8;
/// Bytes of a sequence number.
const SEQ_BYTES: usize = 4;
/// Bytes of the number that keys of windowed stores begin with.
const PREFIX_BYTES: usize = 8;
/// Largest sequence number: the JVM masks the counter with it.
pub(crate) const MAX_SEQ: u32 = 0x7fff_ffff;

/// How keys of a store stand in its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLayout {
    /// As in the changelog.
    Plain,
    /// Windows in RocksDB; the segment interval in ms.
    Segments { interval_ms: i64 },
    /// Windows in memory.
    Times,
}

/// A key of a window store, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowKey<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) start: i64,
    pub(crate) seq: u32,
}

impl<'a> WindowKey<'a> {
    /// Reads a key of a changelog; `None`: too short to be one.
    pub(crate) fn of_changelog(bytes: &'a [u8]) -> Option<Self> {
        let (rest, seq) = bytes.split_last_chunk::<SEQ_BYTES>()?;
        let (key, start) = rest.split_last_chunk::<START_BYTES>()?;
        Some(WindowKey { key, start: i64::from_be_bytes(*start), seq: u32::from_be_bytes(*seq) })
    }

    /// Appends the key as changelogs have it (`WindowKeySchema.toStoreKeyBinary`).
    pub(crate) fn write_changelog(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key);
        out.extend_from_slice(&self.start.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
    }
}

impl KeyLayout {
    /// The number that a window's key begins with.
    pub(crate) fn prefix_of(self, start: i64) -> i64 {
        match self {
            KeyLayout::Segments { interval_ms } => start / interval_ms,
            KeyLayout::Plain | KeyLayout::Times => start,
        }
    }

    /// Writes an engine key in two steps around the key's own bytes: what is before them,
    pub(crate) fn begin_window_key(self, start: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix_of(start).to_be_bytes());
    }

    /// and what is after them.
    pub(crate) fn end_window_key(self, start: i64, seq: u32, out: &mut Vec<u8>) {
        if matches!(self, KeyLayout::Segments { .. }) {
            out.extend_from_slice(&start.to_be_bytes());
        }
        out.extend_from_slice(&seq.to_be_bytes());
    }

    /// Bytes of an engine key beyond prefix and key.
    fn suffix_bytes(self) -> usize {
        match self {
            KeyLayout::Segments { .. } => START_BYTES + SEQ_BYTES,
            KeyLayout::Plain | KeyLayout::Times => SEQ_BYTES,
        }
    }

    /// Takes an engine key of a window store apart; `None` for what cannot be one.
    pub(crate) fn window_key(self, physical: &[u8]) -> Option<WindowKey<'_>> {
        let (prefix, rest) = physical.split_first_chunk::<PREFIX_BYTES>()?;
        match self {
            KeyLayout::Segments { .. } => WindowKey::of_changelog(rest),
            KeyLayout::Plain | KeyLayout::Times => {
                let (key, seq) = rest.split_last_chunk::<SEQ_BYTES>()?;
                Some(WindowKey { key, start: i64::from_be_bytes(*prefix), seq: u32::from_be_bytes(*seq) })
            }
        }
    }

    /// The changelog's key for an engine key; `None` for what cannot be one.
    pub(crate) fn changelog_key(self, physical: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            KeyLayout::Plain => Some(Cow::Borrowed(physical)),
            KeyLayout::Segments { .. } => physical.get(PREFIX_BYTES..).map(Cow::Borrowed),
            KeyLayout::Times => {
                let mut key = Vec::with_capacity(physical.len());
                self.window_key(physical)?.write_changelog(&mut key);
                Some(Cow::Owned(key))
            }
        }
    }

    /// Appends the engine key for a key of the changelog; `false` for what cannot be one.
    #[must_use]
    pub(crate) fn physical_key(self, changelog: &[u8], out: &mut Vec<u8>) -> bool {
        if self == KeyLayout::Plain {
            out.extend_from_slice(changelog);
            return true;
        }
        let Some(WindowKey { key, start, seq }) = WindowKey::of_changelog(changelog) else { return false };
        self.begin_window_key(start, out);
        out.extend_from_slice(key);
        self.end_window_key(start, seq, out);
        true
    }

    /// Least of what follows the prefix for keys not below `from` and starts not before `time_from`; the latter helps
    /// only where one key is asked for.
    pub(crate) fn lowest_tail(self, from: &[u8], single_key: bool, time_from: i64) -> Vec<u8> {
        let mut tail = from.to_vec();
        if single_key {
            self.end_window_key(time_from, 0, &mut tail);
        }
        tail
    }

    /// Greatest of what follows the prefix for keys not above `to` and starts not after `time_to`. A key that is a
    /// beginning of `to` is below it, but its tail may be greater: the greatest of all of them is taken.
    pub(crate) fn highest_tail(self, to: &[u8], single_key: bool, time_to: i64) -> Vec<u8> {
        let shortest = if single_key { to.len() } else { 0 };
        let tail = |length: usize| {
            let mut tail = Vec::with_capacity(length + self.suffix_bytes());
            tail.extend_from_slice(&to[..length]);
            self.end_window_key(time_to, MAX_SEQ, &mut tail);
            tail
        };
        (shortest..=to.len()).map(tail).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_keys_give_back_what_they_were_made_of() {
        let changelog = WindowKey { key: b"key", start: 123_456, seq: 7 };
        let mut logged = Vec::new();
        changelog.write_changelog(&mut logged);
        for layout in [KeyLayout::Segments { interval_ms: 60_000 }, KeyLayout::Times] {
            let mut physical = Vec::new();
            assert!(layout.physical_key(&logged, &mut physical));
            assert_eq!(layout.window_key(&physical), Some(changelog));
            assert_eq!(layout.changelog_key(&physical).as_deref(), Some(&*logged));
            assert!(!layout.physical_key(b"too short", &mut Vec::new()));
        }
    }

    #[test]
    fn the_highest_tail_covers_keys_that_are_a_beginning_of_the_bound() {
        let layout = KeyLayout::Segments { interval_ms: 60_000 };
        let mut tail = b"b".to_vec();
        layout.end_window_key(i64::MAX, 0, &mut tail);
        assert!(layout.highest_tail(b"b\0", false, i64::MAX) > tail, "b is below b0, whatever its start");
    }
}
