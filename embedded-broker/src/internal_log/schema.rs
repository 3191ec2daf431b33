//! Fields of the internal logs' records, as Apache Kafka's message schemas lay them out: plain versions have 16-bit and
//! 32-bit lengths, flexible ones (KIP-482) compact lengths and tagged fields.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

/// Why a record of an internal log can't be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// The bytes end early or a length is wrong.
    #[error("truncated or malformed {0}")]
    Malformed(&'static str),
    /// Written by a release that knows more than this one.
    #[error("unknown version {version} of {what}")]
    Version {
        /// Which schema.
        what: &'static str,
        /// The version found.
        version: i16,
    },
}

/// A string behind its 16-bit length.
pub(crate) fn put_string(out: &mut BytesMut, text: &str) {
    // Names came in through the protocol, whose strings have 16-bit lengths; flexible versions allow more,
    // which the API layer refuses (`names_fit`).
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

/// A string that may be null.
pub(crate) fn put_nullable(out: &mut BytesMut, text: Option<&StrBytes>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

/// Bytes behind their 32-bit length.
pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

/// Reads fields in order; flexible versions (KIP-482) have compact lengths and tagged fields.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which are `what` in error messages.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { rest: bytes, what, flexible: false }
    }

    fn malformed<E>(&self) -> impl FnOnce(E) -> RecordError + use<E> {
        let what = self.what;
        move |_| RecordError::Malformed(what)
    }

    /// The version in front, at most `newest`; from `flexible_since` on lengths are compact.
    pub(crate) fn version(&mut self, newest: i16, flexible_since: i16) -> Result<i16, RecordError> {
        let version = self.i16()?;
        self.flexible = version >= flexible_since;
        if (0..=newest).contains(&version) {
            Ok(version)
        } else {
            Err(RecordError::Version { what: self.what, version })
        }
    }

    pub(crate) fn i8(&mut self) -> Result<i8, RecordError> {
        self.rest.try_get_i8().map_err(self.malformed())
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        self.rest.try_get_i16().map_err(self.malformed())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        self.rest.try_get_i32().map_err(self.malformed())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        self.rest.try_get_i64().map_err(self.malformed())
    }

    pub(crate) fn varint(&mut self) -> Result<usize, RecordError> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(self.malformed())?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed(self.what))
    }

    /// A length or count; `None` for null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, RecordError> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        let length = if wide { self.i32()? } else { i32::from(self.i16()?) };
        Ok(usize::try_from(length).ok())
    }

    pub(crate) fn length32(&mut self) -> Result<usize, RecordError> {
        Ok(self.length(true)?.unwrap_or(0))
    }

    fn take(&mut self, length: usize) -> Result<&[u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Malformed(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn nullable(&mut self) -> Result<Option<StrBytes>, RecordError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        let what = self.what;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::Malformed(what))?;
        Ok(Some(StrBytes::from_string(text.to_owned())))
    }

    pub(crate) fn string(&mut self) -> Result<StrBytes, RecordError> {
        Ok(self.nullable()?.unwrap_or_default())
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, RecordError> {
        let length = self.length32()?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    pub(crate) fn skip_tagged_fields(&mut self) -> Result<(), RecordError> {
        self.tagged_fields(|_, _| Ok(()))
    }

    /// Hands every tagged field on: its tag, and a reader of its bytes.
    pub(crate) fn tagged_fields(
        &mut self,
        mut visit: impl FnMut(usize, &mut Reader<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let length = self.varint()?;
                let what = self.what;
                let rest = self.take(length)?;
                visit(tag, &mut Reader { rest, what, flexible: true })?;
            }
        }
        Ok(())
    }
}
