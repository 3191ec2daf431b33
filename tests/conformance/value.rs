//! Keys and values of the kit's language: a key is a text or a windowed text, a value a text or a long; null is `None`.

use kstreams::state::{Serde, SerdeError};

/// A key that is not null.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Text(String),
    /// Text, start and end of a window in ms.
    Windowed(String, i64, i64),
}

/// A value that is not null.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Val {
    Text(String),
    Long(i64),
}

/// What functions see of a key or value.
pub(crate) trait Text {
    fn text(&self) -> String;
}

impl Text for Key {
    fn text(&self) -> String {
        match self {
            Key::Text(text) => text.clone(),
            Key::Windowed(text, start, end) => format!("{text}@{start}/{end}"),
        }
    }
}

impl Text for Val {
    fn text(&self) -> String {
        match self {
            Val::Text(text) => text.clone(),
            Val::Long(number) => number.to_string(),
        }
    }
}

/// `text(x)`: null stays null.
pub(crate) fn text<T: Text>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(Text::text)
}

/// `show(x)`: the four letters for null.
pub(crate) fn show<T: Text>(value: &Option<T>) -> String {
    text(value).unwrap_or_else(|| "null".to_owned())
}

/// `show` of a text that is already one.
pub(crate) fn show_text(text: Option<&str>) -> String {
    text.unwrap_or("null").to_owned()
}

/// How a key is written to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum KeyKind {
    #[default]
    Text,
    /// Windows of this size in ms; the end is start + size.
    TimeWindow(i64),
    /// Sessions.
    Session,
}

impl KeyKind {
    /// Windows of the size that a field tells, in ms.
    pub(crate) fn of_size(window: &serde_json::Value, field: &str) -> Self {
        KeyKind::TimeWindow(window[field].as_i64().unwrap_or(i64::MAX))
    }
}

/// The serde of keys of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeySerde(pub(crate) KeyKind);

fn utf8(bytes: &[u8]) -> String {
    // Java's decoder replaces what is no UTF-8.
    String::from_utf8_lossy(bytes).into_owned()
}

fn long_at(bytes: &[u8], from_end: usize) -> Option<i64> {
    let start = bytes.len().checked_sub(from_end)?;
    Some(i64::from_be_bytes(bytes.get(start..start + 8)?.try_into().ok()?))
}

impl Serde for KeySerde {
    type Target = Key;

    fn serialize(&self, key: &Key, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (self.0, key) {
            (KeyKind::Text, Key::Text(text)) => out.extend_from_slice(text.as_bytes()),
            (KeyKind::TimeWindow(_), Key::Windowed(text, start, _)) => {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(&start.to_be_bytes());
            }
            (KeyKind::Session, Key::Windowed(text, start, end)) => {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(&end.to_be_bytes());
                out.extend_from_slice(&start.to_be_bytes());
            }
            (kind, key) => return Err(SerdeError::other(format!("{key:?} is no key of kind {kind:?}"))),
        }
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Key, SerdeError> {
        let short = || SerdeError::other("the bytes are too short for a windowed key");
        Ok(match self.0 {
            KeyKind::Text => Key::Text(utf8(bytes)),
            KeyKind::TimeWindow(size) => {
                let start = long_at(bytes, 8).ok_or_else(short)?;
                let end = start.checked_add(size).filter(|end| *end >= 0).unwrap_or(i64::MAX);
                Key::Windowed(utf8(&bytes[..bytes.len() - 8]), start, end)
            }
            KeyKind::Session => {
                let end = long_at(bytes, 16).ok_or_else(short)?;
                let start = long_at(bytes, 8).ok_or_else(short)?;
                Key::Windowed(utf8(&bytes[..bytes.len() - 16]), start, end)
            }
        })
    }
}

/// The serde of values: texts, or longs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ValSerde {
    pub(crate) long: bool,
}

impl Serde for ValSerde {
    type Target = Val;

    fn serialize(&self, value: &Val, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (self.long, value) {
            (false, Val::Text(text)) => out.extend_from_slice(text.as_bytes()),
            (true, Val::Long(number)) => out.extend_from_slice(&number.to_be_bytes()),
            (long, value) => return Err(SerdeError::other(format!("{value:?} where long={long}"))),
        }
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Val, SerdeError> {
        if self.long { i64::default().deserialize(bytes).map(Val::Long) } else { Ok(Val::Text(utf8(bytes))) }
    }
}
