//! What stands before a value in a store, and where it goes in the changelog: a timestamp becomes the record's
//! timestamp, headers become the record's headers, the value stands alone.

use crate::with_headers::{read_headers, write_headers};
use crate::{Headers, StoreKind};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueFormat {
    headers: bool,
    timestamp: bool,
}

/// A stored value, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) value: &'a [u8],
    /// `None`: the format has none.
    pub(crate) timestamp: Option<i64>,
    /// `None`: the format has none.
    pub(crate) headers: Option<Headers>,
}

impl ValueFormat {
    /// Of stores of this kind.
    pub(crate) fn of(kind: StoreKind) -> Self {
        ValueFormat { headers: kind.has_headers(), timestamp: kind.is_timestamped() }
    }

    /// Whether nothing stands before a value.
    pub(crate) fn is_plain(self) -> bool {
        !self.headers && !self.timestamp
    }

    /// Takes a stored value apart; `None`: it is too short to be one.
    pub(crate) fn split(self, stored: &[u8]) -> Option<Parts<'_>> {
        let mut parts = Parts { value: stored, timestamp: None, headers: None };
        if self.headers {
            let (headers, rest) = read_headers(stored)?;
            (parts.headers, parts.value) = (Some(headers), rest);
        }
        if self.timestamp {
            let (timestamp, rest) = parts.value.split_first_chunk()?;
            (parts.timestamp, parts.value) = (Some(i64::from_be_bytes(*timestamp)), rest);
        }
        Some(parts)
    }

    /// Appends what stands before a value that came with `timestamp` (ms) and `headers`.
    pub(crate) fn begin(self, timestamp: i64, headers: &Headers, out: &mut Vec<u8>) {
        if self.headers {
            write_headers(headers, out);
        }
        if self.timestamp {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_before_a_value_is_found_again() {
        let mut headers = Headers::new();
        headers.add("h", Some(b"1"));
        for kind in [
            StoreKind::KeyValue,
            StoreKind::TimestampedWindow,
            StoreKind::TimestampedKeyValueWithHeaders,
            StoreKind::SessionWithHeaders,
        ] {
            let format = ValueFormat::of(kind);
            let mut stored = Vec::new();
            format.begin(7, &headers, &mut stored);
            stored.extend_from_slice(b"value");
            let timestamp = kind.is_timestamped().then_some(7);
            let headers = kind.has_headers().then(|| headers.clone());
            assert_eq!(
                format.split(&stored),
                Some(Parts { value: b"value", timestamp, headers }),
                "{kind:?}"
            );
        }
        assert_eq!(ValueFormat::of(StoreKind::TimestampedKeyValue).split(b"short"), None);
    }
}
