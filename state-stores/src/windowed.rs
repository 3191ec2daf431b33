//! Windows and windowed keys, and their bytes on topics.

use crate::{DefaultSerde, Serde, SerdeError};

/// A window in time, in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// First ms of it.
    pub start: i64,
    /// End: for time windows the first ms after it, for sessions and sliding windows the last ms of it.
    pub end: i64,
}

impl Window {
    /// The window of `size_ms` that starts at `start`; its end stays at `i64::MAX` where it would be beyond
    /// (`WindowKeySchema.timeWindowForSize`).
    pub fn of_size(start: i64, size_ms: i64) -> Self {
        Window { start, end: start.saturating_add(size_ms) }
    }
}

/// A key and the window that its aggregate is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

impl<K> Windowed<K> {
    /// A key in a window.
    pub fn new(key: K, window: Window) -> Self {
        Windowed { key, window }
    }
}

/// Serdes of windowed keys on topics, to read or write them where none is carried along
/// (`org.apache.kafka.streams.kstream.WindowedSerdes`).
///
/// ```
/// use kstreams_state_stores::{Serde, Window, Windowed, WindowedSerdes};
///
/// let serde = WindowedSerdes::session_windowed(String::new());
/// let mut bytes = Vec::new();
/// serde.serialize(&Windowed::new("a".to_owned(), Window { start: 10, end: 20 }), &mut bytes)?;
/// assert_eq!(serde.deserialize(&bytes)?.window.end, 20);
/// # Ok::<(), kstreams_state_stores::SerdeError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WindowedSerdes;

impl WindowedSerdes {
    /// For keys with windows of time of `window_size_ms`, or sliding windows of that time difference, around the serde of
    /// the keys.
    pub fn time_windowed<S: Serde>(key: S, window_size_ms: i64) -> WindowedSerde<S> {
        WindowedSerde::new(key, window_size_ms)
    }

    /// For keys with sessions, around the serde of the keys.
    pub fn session_windowed<S: Serde>(key: S) -> SessionWindowedSerde<S> {
        SessionWindowedSerde::new(key)
    }
}

/// Serde of windowed keys on topics: the key's bytes, then the window's start as a big-endian i64
/// (`TimeWindowedSerializer`). The window's end is not written: reading needs the size.
#[derive(Debug, Clone)]
pub struct WindowedSerde<S> {
    key: S,
    window_size_ms: i64,
}

impl<S: Serde> WindowedSerde<S> {
    /// Around the serde of the keys; `window_size_ms` gives the windows read their end.
    pub fn new(key: S, window_size_ms: i64) -> Self {
        WindowedSerde { key, window_size_ms }
    }
}

/// Enough to write windows of time; those read with it have no end. Sessions need [`SessionWindowedSerde`].
impl<S: Serde + Default> Default for WindowedSerde<S> {
    fn default() -> Self {
        WindowedSerde::new(S::default(), i64::MAX)
    }
}

impl<K: DefaultSerde> DefaultSerde for Windowed<K> {
    type Serde = WindowedSerde<K::Serde>;
}

/// Serde of keys with sessions on topics: the key's bytes, then the session's end and its start as big-endian i64s
/// (`SessionWindowedSerializer`).
#[derive(Debug, Clone, Default)]
pub struct SessionWindowedSerde<S> {
    key: S,
}

impl<S: Serde> SessionWindowedSerde<S> {
    /// Around the serde of the keys.
    pub fn new(key: S) -> Self {
        SessionWindowedSerde { key }
    }
}

impl<S: Serde> Serde for SessionWindowedSerde<S> {
    type Target = Windowed<S::Target>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.key.serialize(&value.key, out)?;
        out.extend_from_slice(&value.window.end.to_be_bytes());
        out.extend_from_slice(&value.window.start.to_be_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        let parts = bytes.split_last_chunk::<8>().and_then(|(rest, start)| {
            rest.split_last_chunk::<8>().map(|(key, end)| (key, i64::from_be_bytes(*end), start))
        });
        let Some((key, end, start)) = parts else {
            return Err(SerdeError::WrongLength {
                expected: "key with a session",
                expected_bytes: 2 * START_BYTES,
                actual_bytes: bytes.len(),
            });
        };
        let window = Window { start: i64::from_be_bytes(*start), end };
        Ok(Windowed { key: self.key.deserialize(key)?, window })
    }
    fn window_bytes(&self) -> usize {
        2 * START_BYTES
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        SessionWindowedSerde { key: self.key.for_topic(topic, is_key) }
    }
}

const START_BYTES: usize = 8;

impl<S: Serde> Serde for WindowedSerde<S> {
    type Target = Windowed<S::Target>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.key.serialize(&value.key, out)?;
        out.extend_from_slice(&value.window.start.to_be_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        let Some((key, start)) = bytes.split_last_chunk::<START_BYTES>() else {
            return Err(SerdeError::WrongLength {
                expected: "windowed key",
                expected_bytes: START_BYTES,
                actual_bytes: bytes.len(),
            });
        };
        let window = Window::of_size(i64::from_be_bytes(*start), self.window_size_ms);
        Ok(Windowed { key: self.key.deserialize(key)?, window })
    }
    fn window_bytes(&self) -> usize {
        START_BYTES
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        WindowedSerde { key: self.key.for_topic(topic, is_key), window_size_ms: self.window_size_ms }
    }
}
