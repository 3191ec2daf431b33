//! Records inside a batch: decompressed and walked without losing a byte.
//!
//! Only lookups by time, compaction and internal logs look this deep; produced and fetched batches pass through as
//! they are. The walk is our own, because a decoder that puts headers into a map loses repeated ones.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::batch::{BatchHeader, HEADER_LEN};
use super::codec::decompress;

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogRecord {
    /// Offset in the log.
    pub(crate) offset: i64,
    /// Milliseconds since the epoch, or -1.
    pub(crate) timestamp: i64,
    /// `None` is Kafka's null.
    pub(crate) key: Option<Bytes>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Bytes>,
    /// In their order; names may repeat.
    pub(crate) headers: Vec<(Bytes, Option<Bytes>)>,
    /// A transaction marker: not for consumers.
    pub(crate) control: bool,
    /// The producer in whose transaction it was written.
    pub(crate) transaction: Option<i64>,
}

/// A record as it lies in its batch.
#[derive(Debug, Clone)]
pub(crate) struct RawRecord {
    pub(crate) attributes: u8,
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    /// The bytes from the offset delta to the end (headers included).
    pub(crate) rest: Bytes,
    /// All bytes with the length in front.
    pub(crate) whole: Bytes,
    headers_at: usize,
}

/// Why a batch's records cannot be read.
pub(crate) type BadRecords = String;

/// The batch's records. `batch` is the whole batch, header included.
pub(crate) fn records_of(header: &BatchHeader, batch: &Bytes) -> Result<Vec<RawRecord>, BadRecords> {
    if header.count == 0 {
        return Ok(Vec::new());
    }
    let codec = header.codec().map_err(|bad| format!("{bad:?}"))?;
    let mut bytes = decompress(codec, batch.slice(HEADER_LEN.min(batch.len())..))?;
    // A record takes at least 7 bytes, so a lying count cannot make us allocate more than the batch's size.
    let count = usize::try_from(header.count).unwrap_or(0);
    let mut records = Vec::with_capacity(count.min(bytes.len() / 7 + 1));
    for _ in 0..count {
        records.push(next_record(&mut bytes)?);
    }
    if bytes.has_remaining() {
        return Err(format!("{} bytes are left after {count} records", bytes.remaining()));
    }
    Ok(records)
}

/// Checks that an uncompressed batch is made of as many records as it says, with offsets that go up one by one: what
/// consumers rely on. Cheaper than decoding. `batch` is the whole batch.
pub(crate) fn check_plain_records(header: &BatchHeader, batch: &[u8]) -> Result<(), BadRecords> {
    let mut bytes = batch.get(HEADER_LEN..).unwrap_or(&[]);
    for expected in 0..header.count {
        let len = varint(&mut bytes)?;
        let record = usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len));
        let Some((mut record, rest)) = record else { return Err(format!("record length {len}")) };
        bytes = rest;
        record = record.get(1..).unwrap_or(&[]);
        varlong(&mut record)?;
        let offset = varint(&mut record)?;
        if offset != expected {
            return Err(format!("offset delta {offset} instead of {expected}"));
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(format!("{} bytes after the records", bytes.len())) }
}

fn next_record(bytes: &mut Bytes) -> Result<RawRecord, BadRecords> {
    let start = bytes.clone();
    let len = usize::try_from(varint(bytes)?).map_err(|_| "negative record length".to_owned())?;
    let mut body = take(bytes, len)?;
    let whole = start.slice(..start.len() - bytes.len());
    let attributes = if body.has_remaining() { body.get_u8() } else { return Err("empty record".to_owned()) };
    let timestamp_delta = varlong(&mut body)?;
    let rest = body.clone();
    let offset_delta = varint(&mut body)?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let headers_at = rest.len() - body.len();
    Ok(RawRecord { attributes, timestamp_delta, offset_delta, key, value, rest, whole, headers_at })
}

impl RawRecord {
    /// The record with absolute offset and timestamp.
    pub(crate) fn decode(&self, header: &BatchHeader) -> Result<LogRecord, BadRecords> {
        let mut bytes = self.rest.slice(self.headers_at..);
        let count = usize::try_from(varint(&mut bytes)?).map_err(|_| "negative header count".to_owned())?;
        let mut headers = Vec::with_capacity(count.min(bytes.len() / 2));
        for _ in 0..count {
            let name = nullable(&mut bytes)?.ok_or_else(|| "header without a name".to_owned())?;
            headers.push((name, nullable(&mut bytes)?));
        }
        Ok(LogRecord {
            offset: self.offset(header),
            timestamp: self.timestamp(header),
            key: self.key.clone(),
            value: self.value.clone(),
            headers,
            control: header.is_control(),
            transaction: header.is_transactional().then_some(header.producer_id),
        })
    }

    pub(crate) fn offset(&self, header: &BatchHeader) -> i64 {
        header.base_offset.saturating_add(i64::from(self.offset_delta))
    }

    /// Under `LogAppendTime` every record has the batch's time.
    pub(crate) fn timestamp(&self, header: &BatchHeader) -> i64 {
        if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(self.timestamp_delta)
        }
    }

    /// Writes the record with another timestamp delta, everything else as it was.
    pub(crate) fn encode_with_delta(&self, timestamp_delta: i64, out: &mut BytesMut) {
        let mut delta = BytesMut::with_capacity(10);
        put_varlong(timestamp_delta, &mut delta);
        put_varlong(i64::try_from(1 + delta.len() + self.rest.len()).unwrap_or(i64::MAX), out);
        out.put_u8(self.attributes);
        out.extend_from_slice(&delta);
        out.extend_from_slice(&self.rest);
    }
}

fn take(bytes: &mut Bytes, len: usize) -> Result<Bytes, BadRecords> {
    if len > bytes.len() {
        return Err(format!("a field of {len} bytes is longer than the {} bytes left", bytes.len()));
    }
    Ok(bytes.split_to(len))
}

fn nullable(bytes: &mut Bytes) -> Result<Option<Bytes>, BadRecords> {
    match varint(bytes)? {
        -1 => Ok(None),
        len => {
            let len = usize::try_from(len).map_err(|_| format!("field length {len}"))?;
            take(bytes, len).map(Some)
        }
    }
}

fn varint(bytes: &mut impl Buf) -> Result<i32, BadRecords> {
    i32::try_from(varlong(bytes)?).map_err(|_| "number does not fit 32 bits".to_owned())
}

/// Zigzag base-128, as Protocol Buffers' sint64.
fn varlong(bytes: &mut impl Buf) -> Result<i64, BadRecords> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        if !bytes.has_remaining() {
            return Err("record ends inside a number".to_owned());
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
    }
    Err("number longer than 10 bytes".to_owned())
}

fn put_varlong(value: i64, out: &mut BytesMut) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.put_u8(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    out.put_u8(u8::try_from(left).unwrap_or(0));
}
