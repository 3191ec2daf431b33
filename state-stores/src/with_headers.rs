//! Values that keep the headers they came with (KIP-1271): their types, and their bytes in a store.
//!
//! ```text
//! headers    length varint | [ count varint | (length varint, name | length varint or -1, value)* ]    length 0: none
//! table      headers | timestamp i64 | value                                   (`ValueTimestampHeadersSerializer`)
//! session    headers | value                                                   (`AggregationWithHeadersSerializer`)
//! ```
//!
//! The changelog has the value alone; timestamp and headers are those of its record. A deletion is logged with the
//! headers of the record that made it.

use std::fmt;

use crate::{DynSerde, Header, Headers, Serde, SerdeError, varint};

/// A value with the time and the headers of the update that made it: what key-value and window stores with headers hold
/// (`ValueTimestampHeaders` of the JVM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueTimestampHeaders<V> {
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<V> ValueTimestampHeaders<V> {
    /// A value with its time (ms since the epoch) and headers.
    pub fn new(value: V, timestamp: i64, headers: Headers) -> Self {
        ValueTimestampHeaders { value, timestamp, headers }
    }
}

/// An aggregate with the headers of the update that made it: what session stores with headers hold
/// (`AggregationWithHeaders` of the JVM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregationWithHeaders<V> {
    /// The aggregate.
    pub aggregation: V,
    /// The headers.
    pub headers: Headers,
}

impl<V> AggregationWithHeaders<V> {
    /// An aggregate with its headers.
    pub fn new(aggregation: V, headers: Headers) -> Self {
        AggregationWithHeaders { aggregation, headers }
    }
}

/// A length or count; Kafka's records are below 2 GiB.
fn int(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn len_of(header: &Header) -> usize {
    let value = header.value.as_ref().map_or(1, |value| varint::len(int(value.len())) + value.len());
    varint::len(int(header.key.len())) + header.key.len() + value
}

/// Appends headers as they stand before a value.
pub(crate) fn write_headers(headers: &Headers, out: &mut Vec<u8>) {
    if headers.is_empty() {
        return varint::write(0, out);
    }
    let count = int(headers.len());
    varint::write(int(varint::len(count) + headers.iter().map(len_of).sum::<usize>()), out);
    varint::write(count, out);
    for header in headers {
        varint::write(int(header.key.len()), out);
        out.extend_from_slice(header.key.as_bytes());
        match &header.value {
            None => varint::write(-1, out),
            Some(value) => {
                varint::write(int(value.len()), out);
                out.extend_from_slice(value);
            }
        }
    }
}

/// Reads a length, and as many bytes; `Some(None)` where the length is -1.
fn take_nullable(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = varint::read(bytes)?;
    if length == -1 {
        return Some((None, rest));
    }
    let (taken, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(taken), rest))
}

/// The headers at the beginning of a stored value, and what is after them; `None`: it does not begin with any.
pub(crate) fn read_headers(bytes: &[u8]) -> Option<(Headers, &[u8])> {
    let (Some(block), rest) = take_nullable(bytes)? else { return None };
    if block.is_empty() {
        return Some((Headers::new(), rest));
    }
    let (count, mut block) = varint::read(block)?;
    // Each header takes bytes from what is there: a false count ends the loop, it allocates nothing.
    let headers = (0..count).map(|_| {
        let (key, after) = take_nullable(block)?;
        let (value, after) = take_nullable(after)?;
        block = after;
        Some(Header { key: std::str::from_utf8(key?).ok()?.into(), value: value.map(Into::into) })
    });
    Some((headers.collect::<Option<Headers>>()?, rest))
}

fn malformed() -> SerdeError {
    SerdeError::other("these are not the bytes of a value with headers")
}

/// Serde of [`ValueTimestampHeaders`] as stores keep them (`ValueTimestampHeadersSerde`). A null value makes the whole
/// null.
pub struct ValueTimestampHeadersSerde<V> {
    value: DynSerde<V>,
}

/// Serde of [`AggregationWithHeaders`] as session stores keep them (`AggregationWithHeadersSerde`). A null aggregate makes
/// the whole null.
pub struct AggregationWithHeadersSerde<V> {
    value: DynSerde<V>,
}

macro_rules! around_a_value {
    ($($serde:ident),+) => {
        $(
            impl<V> Clone for $serde<V> {
                fn clone(&self) -> Self {
                    $serde { value: self.value.clone() }
                }
            }

            impl<V> fmt::Debug for $serde<V> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($serde), "({:?})"), self.value)
                }
            }

            impl<V: 'static> $serde<V> {
                /// Around the serde of the values.
                pub fn new(value: DynSerde<V>) -> Self {
                    $serde { value }
                }
            }
        )+
    };
}
around_a_value!(ValueTimestampHeadersSerde, AggregationWithHeadersSerde);

/// Appends a value after `begin`, or nothing where the value is null.
fn write_after<V: 'static>(
    serde: &DynSerde<V>,
    value: &V,
    out: &mut Vec<u8>,
    begin: impl FnOnce(&mut Vec<u8>),
) -> Result<bool, SerdeError> {
    let start = out.len();
    begin(out);
    let present = serde.serialize_nullable(value, out)?;
    if !present {
        out.truncate(start);
    }
    Ok(present)
}

impl<V: 'static> Serde for ValueTimestampHeadersSerde<V> {
    type Target = ValueTimestampHeaders<V>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(value, out).map(|_present| ())
    }
    fn serialize_nullable(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        write_after(&self.value, &value.value, out, |out| {
            write_headers(&value.headers, out);
            out.extend_from_slice(&value.timestamp.to_be_bytes());
        })
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        let (headers, rest) = read_headers(bytes).ok_or_else(malformed)?;
        let (timestamp, value) = rest.split_first_chunk().ok_or_else(malformed)?;
        let timestamp = i64::from_be_bytes(*timestamp);
        Ok(ValueTimestampHeaders { value: self.value.deserialize(value)?, timestamp, headers })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        ValueTimestampHeadersSerde { value: self.value.for_topic(topic, is_key) }
    }
}

impl<V: 'static> Serde for AggregationWithHeadersSerde<V> {
    type Target = AggregationWithHeaders<V>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(value, out).map(|_present| ())
    }
    fn serialize_nullable(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        write_after(&self.value, &value.aggregation, out, |out| write_headers(&value.headers, out))
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        let (headers, value) = read_headers(bytes).ok_or_else(malformed)?;
        Ok(AggregationWithHeaders { aggregation: self.value.deserialize(value)?, headers })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        AggregationWithHeadersSerde { value: self.value.for_topic(topic, is_key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Headers {
        let mut headers = Headers::new();
        headers.add("a", Some(b"xy")).add("b", None);
        headers
    }

    fn bytes_of<S: Serde>(serde: &S, value: &S::Target) -> Vec<u8> {
        let mut bytes = Vec::new();
        serde.serialize(value, &mut bytes).unwrap();
        bytes
    }

    /// KIP-1271: length, count, then each header; all of them zig-zag, so that lengths are doubled and -1 is 1.
    #[test]
    fn values_with_headers_have_the_jvms_bytes() {
        let serde = ValueTimestampHeadersSerde::new(DynSerde::new(String::new()));
        let value = ValueTimestampHeaders::new("v".to_owned(), 258, headers());
        let bytes = bytes_of(&serde, &value);
        let block = [2 * 9, 2 * 2, 2, b'a', 2 * 2, b'x', b'y', 2, b'b', 1];
        assert_eq!(bytes, [block.as_slice(), &258_i64.to_be_bytes(), b"v"].concat());
        assert_eq!(serde.deserialize(&bytes).unwrap(), value);
        let bare = ValueTimestampHeaders::new("v".to_owned(), 1, Headers::new());
        assert_eq!(bytes_of(&serde, &bare), [&[0, 0, 0, 0, 0, 0, 0, 0, 1], b"v".as_slice()].concat());
        assert_eq!(serde.deserialize(&bytes_of(&serde, &bare)).unwrap(), bare);

        let serde = AggregationWithHeadersSerde::new(DynSerde::new(0_i64));
        let value = AggregationWithHeaders::new(3, headers());
        assert_eq!(serde.deserialize(&bytes_of(&serde, &value)).unwrap(), value);
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_an_error() {
        let serde = ValueTimestampHeadersSerde::new(DynSerde::new(String::new()));
        let bytes = bytes_of(&serde, &ValueTimestampHeaders::new("v".to_owned(), 1, headers()));
        for end in 0..bytes.len() - 1 {
            assert!(serde.deserialize(&bytes[..end]).is_err(), "{end}");
        }
        let mut many = vec![12];
        varint::write(i32::MAX, &mut many);
        many.extend_from_slice(&[0; 9]);
        assert!(serde.deserialize(&many).is_err(), "a count beyond what is there");
    }

    #[test]
    fn a_null_value_is_null_as_a_whole() {
        let serde = ValueTimestampHeadersSerde::new(DynSerde::new(Option::<String>::None));
        let mut bytes = vec![7];
        let value = ValueTimestampHeaders::new(None, 1, headers());
        assert!(!serde.serialize_nullable(&value, &mut bytes).unwrap());
        assert_eq!(bytes, [7]);
    }
}
