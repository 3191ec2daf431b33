//! Key encodings: what the changelog has, and what the engine sorts by.
//!
//! ```text
//! changelog, window store    key | start i64 | seq i32                      (WindowKeySchema)
//! changelog, session store   key | end i64 | start i64                      (SessionKeySchema)
//! in RocksDB                 segment i64 | as in the changelog              segment = time / segment interval
//! in memory                  time i64 | key | seq i32 or start i64
//! ```
//!
//! The *time* of a window is its start, that of a session its end. All numbers are big-endian. The order of bytes is
//! the order in which the JVM's stores iterate: segment by segment, then by key and time in RocksDB; by time, then key
//! in memory. The first number also is what expires: a lower bound of the keys that still live.

use std::borrow::Cow;

/// Bytes of a window start or session end.
const TIME_BYTES: usize = 8;
/// Bytes of the number that keys of windowed stores begin with.
const PREFIX_BYTES: usize = 8;
/// Largest sequence number: the JVM masks the counter with it.
pub(crate) const MAX_SEQ: u32 = 0x7fff_ffff;

/// What keys of a windowed store tell of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The time is the window's start, the rest a sequence number.
    Window,
    /// The time is the session's end, the rest its start.
    Session,
}

impl Schema {
    fn rest_bytes(self) -> usize {
        match self {
            Schema::Window => 4,
            Schema::Session => 8,
        }
    }

    /// Greatest rest of a key.
    fn greatest_rest(self) -> u64 {
        match self {
            Schema::Window => u64::from(MAX_SEQ),
            Schema::Session => i64::MAX.unsigned_abs(),
        }
    }

    pub(crate) fn write_rest(self, rest: u64, out: &mut Vec<u8>) {
        let bytes = rest.to_be_bytes();
        out.extend_from_slice(&bytes[bytes.len() - self.rest_bytes()..]);
    }

    pub(crate) fn split_rest(self, bytes: &[u8]) -> Option<(&[u8], u64)> {
        let (key, rest) = bytes.split_at_checked(bytes.len().checked_sub(self.rest_bytes())?)?;
        Some((key, rest.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }
}

/// How keys of a store stand in its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLayout {
    /// As in the changelog.
    Plain,
    /// Windows or sessions in RocksDB; the segment interval in ms.
    Segments { interval_ms: i64, schema: Schema },
    /// Windows or sessions in memory.
    Times { schema: Schema },
    /// Versions of keys; how their rows look is said in `versions`.
    Versions,
}

/// A key of a windowed store, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedKey<'a> {
    pub(crate) key: &'a [u8],
    /// A window's start, a session's end.
    pub(crate) time: i64,
    /// A sequence number, or a session's start.
    pub(crate) rest: u64,
}

impl<'a> TimedKey<'a> {
    /// Reads a key of a changelog; `None`: too short to be one.
    pub(crate) fn of_changelog(schema: Schema, bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = schema.split_rest(bytes)?;
        let (key, time) = head.split_last_chunk::<TIME_BYTES>()?;
        Some(TimedKey { key, time: i64::from_be_bytes(*time), rest })
    }

    /// Appends the key as changelogs have it (`WindowKeySchema.toStoreKeyBinary`, `SessionKeySchema.toBinary`).
    pub(crate) fn write_changelog(&self, schema: Schema, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key);
        out.extend_from_slice(&self.time.to_be_bytes());
        schema.write_rest(self.rest, out);
    }
}

impl KeyLayout {
    pub(crate) fn schema(self) -> Schema {
        match self {
            KeyLayout::Segments { schema, .. } | KeyLayout::Times { schema } => schema,
            KeyLayout::Plain | KeyLayout::Versions => Schema::Window,
        }
    }

    /// Whether the store keeps time by segments, as RocksDB's.
    pub(crate) fn is_segmented(self) -> bool {
        matches!(self, KeyLayout::Segments { .. })
    }

    /// Whether keys are as in memory: time first.
    pub(crate) fn is_by_time(self) -> bool {
        matches!(self, KeyLayout::Times { .. })
    }

    /// The number that a windowed key begins with.
    pub(crate) fn prefix_of(self, time: i64) -> i64 {
        match self {
            KeyLayout::Segments { interval_ms, .. } => time / interval_ms,
            KeyLayout::Plain | KeyLayout::Times { .. } | KeyLayout::Versions => time,
        }
    }

    /// Writes an engine key in two steps around the key's own bytes: what is before them,
    pub(crate) fn begin_timed_key(self, time: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix_of(time).to_be_bytes());
    }

    /// and what is after them.
    pub(crate) fn end_timed_key(self, time: i64, rest: u64, out: &mut Vec<u8>) {
        if self.is_segmented() {
            out.extend_from_slice(&time.to_be_bytes());
        }
        self.schema().write_rest(rest, out);
    }

    /// Bytes of an engine key beyond prefix and key.
    fn suffix_bytes(self) -> usize {
        let time = if self.is_segmented() { TIME_BYTES } else { 0 };
        time + self.schema().rest_bytes()
    }

    /// Takes an engine key of a windowed store apart; `None` for what cannot be one.
    pub(crate) fn timed_key(self, physical: &[u8]) -> Option<TimedKey<'_>> {
        let (prefix, tail) = physical.split_first_chunk::<PREFIX_BYTES>()?;
        if self.is_segmented() {
            return TimedKey::of_changelog(self.schema(), tail);
        }
        let (key, rest) = self.schema().split_rest(tail)?;
        Some(TimedKey { key, time: i64::from_be_bytes(*prefix), rest })
    }

    /// The changelog's key for an engine key; `None` for what cannot be one.
    pub(crate) fn changelog_key(self, physical: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            KeyLayout::Plain | KeyLayout::Versions => Some(Cow::Borrowed(physical)),
            KeyLayout::Segments { .. } => physical.get(PREFIX_BYTES..).map(Cow::Borrowed),
            KeyLayout::Times { schema } => {
                let mut key = Vec::with_capacity(physical.len());
                self.timed_key(physical)?.write_changelog(schema, &mut key);
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
        let Some(key) = TimedKey::of_changelog(self.schema(), changelog) else { return false };
        self.write_timed_key(&key, out);
        true
    }

    /// Appends the engine key of a window or session.
    pub(crate) fn write_timed_key(self, &TimedKey { key, time, rest }: &TimedKey<'_>, out: &mut Vec<u8>) {
        self.begin_timed_key(time, out);
        out.extend_from_slice(key);
        self.end_timed_key(time, rest, out);
    }

    /// Least of what follows the prefix for keys not below `from` and times not before `time_from`; the latter helps
    /// only where one key is asked for.
    pub(crate) fn lowest_tail(self, from: &[u8], single_key: bool, time_from: i64) -> Vec<u8> {
        let mut tail = from.to_vec();
        if single_key {
            self.end_timed_key(time_from, 0, &mut tail);
        }
        tail
    }

    /// Greatest of what follows the prefix for keys not above `to` and times not after `time_to`. A key that is a
    /// beginning of `to` is below it, but its tail may be greater: the greatest of all of them is taken.
    pub(crate) fn highest_tail(self, to: &[u8], single_key: bool, time_to: i64) -> Vec<u8> {
        let shortest = if single_key { to.len() } else { 0 };
        let tail = |length: usize| {
            let mut tail = Vec::with_capacity(length + self.suffix_bytes());
            tail.extend_from_slice(&to[..length]);
            self.end_timed_key(time_to, self.schema().greatest_rest(), &mut tail);
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
        let changelog = TimedKey { key: b"key", time: 123_456, rest: 7 };
        for schema in [Schema::Window, Schema::Session] {
            let mut logged = Vec::new();
            changelog.write_changelog(schema, &mut logged);
            for layout in [KeyLayout::Segments { interval_ms: 60_000, schema }, KeyLayout::Times { schema }] {
                let mut physical = Vec::new();
                assert!(layout.physical_key(&logged, &mut physical));
                assert_eq!(layout.timed_key(&physical), Some(changelog));
                assert_eq!(layout.changelog_key(&physical).as_deref(), Some(&*logged));
                assert!(!layout.physical_key(b"too short", &mut Vec::new()));
            }
        }
    }

    #[test]
    fn the_highest_tail_covers_keys_that_are_a_beginning_of_the_bound() {
        let layout = KeyLayout::Segments { interval_ms: 60_000, schema: Schema::Window };
        let mut tail = b"b".to_vec();
        layout.end_timed_key(i64::MAX, 0, &mut tail);
        assert!(layout.highest_tail(b"b\0", false, i64::MAX) > tail, "b is below b0, whatever its start");
    }
}
