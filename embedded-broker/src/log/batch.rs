//! The v2 record batch as bytes: its 61-byte header read and patched in place, its CRC-32C.
//!
//! Layout (big-endian, <https://kafka.apache.org/documentation/#recordbatch>):
//!
//! ```text
//!  0 base offset i64        21 attributes i16         43 producer id i64
//!  8 length after this i32  23 last offset delta i32  51 producer epoch i16
//! 12 leader epoch i32       27 base timestamp i64     53 base sequence i32
//! 16 magic i8 = 2           35 max timestamp i64      57 record count i32
//! 17 CRC u32 of 21..        records from 61 on
//! ```
//!
//! The CRC starts after base offset and leader epoch, so a broker assigns offsets without touching it.

use kafka_protocol::records::Compression;

/// Bytes before the records.
pub(crate) const HEADER_LEN: usize = 61;
/// Bytes of base offset and length, which the length does not count.
pub(crate) const LENGTH_END: usize = 12;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// A producer id, epoch or sequence that is not set.
pub(crate) const NO_PRODUCER: i64 = -1;

/// A batch's header. Offsets are absolute, timestamps in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(crate) size: usize,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

/// Why bytes are not a v2 batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadBatch {
    /// Fewer bytes than a header.
    Short,
    /// Not format v2.
    Magic(i8),
    /// The header contradicts itself.
    Header(&'static str),
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    // Callers have checked that a whole header is there; a short slice would read as zeros.
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

impl BatchHeader {
    /// Attributes of a transaction marker.
    pub(crate) const MARKER: i16 = TRANSACTIONAL | CONTROL;

    /// Reads the header at the start of `bytes`. Neither the CRC nor the presence of the records is checked.
    pub(crate) fn parse(bytes: &[u8]) -> Result<BatchHeader, BadBatch> {
        if bytes.len() < HEADER_LEN {
            // Old formats have shorter batches: name the format if that much is there.
            return match bytes.get(16) {
                Some(&magic) if magic != 2 => Err(BadBatch::Magic(i8::from_be_bytes([magic]))),
                _ => Err(BadBatch::Short),
            };
        }
        let magic = i8::from_be_bytes(be(bytes, 16));
        if magic != 2 {
            return Err(BadBatch::Magic(magic));
        }
        let size = usize::try_from(i32::from_be_bytes(be(bytes, 8))).unwrap_or(0) + LENGTH_END;
        if size < HEADER_LEN {
            return Err(BadBatch::Header("batch length is smaller than a header"));
        }
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(be(bytes, 0)),
            size,
            crc: u32::from_be_bytes(be(bytes, CRC_AT)),
            attributes: i16::from_be_bytes(be(bytes, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(be(bytes, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(be(bytes, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(be(bytes, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(be(bytes, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(be(bytes, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(be(bytes, BASE_SEQUENCE_AT)),
            count: i32::from_be_bytes(be(bytes, COUNT_AT)),
        };
        if header.last_offset_delta < 0 || header.count < 0 {
            return Err(BadBatch::Header("negative record count or last offset delta"));
        }
        Ok(header)
    }

    /// The header's bytes, with leader epoch 0, for a batch of `self.size` bytes.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let length = i32::try_from(self.size.saturating_sub(LENGTH_END)).unwrap_or(i32::MAX);
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[16] = 2;
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&self.crc.to_be_bytes());
        out[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&self.attributes.to_be_bytes());
        out[LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4]
            .copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[BASE_TIMESTAMP_AT..BASE_TIMESTAMP_AT + 8].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&self.producer_id.to_be_bytes());
        out[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[COUNT_AT..COUNT_AT + 4].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// Offset of the last record the batch was written with (compaction may have removed it since).
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after this batch.
    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence number of the last record; they wrap from `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { add_sequence(self.base_sequence, self.last_offset_delta) }
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// When the batch's tombstones may go: set by its first compaction, in the base timestamp's place (KIP-534).
    pub(crate) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Attributes with the delete horizon's bit.
    pub(crate) fn with_delete_horizon_bit(attributes: i16) -> i16 {
        attributes | DELETE_HORIZON
    }

    /// Attributes of an uncompressed batch.
    pub(crate) fn without_codec(attributes: i16) -> i16 {
        attributes & !CODEC_MASK
    }

    /// The batch's codec.
    pub(crate) fn codec(&self) -> Result<Compression, BadBatch> {
        match self.attributes & CODEC_MASK {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            _ => Err(BadBatch::Header("unknown compression codec")),
        }
    }
}

/// Sequence numbers go from `i32::MAX` back to 0.
pub(crate) fn add_sequence(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    let wrapped = if sum > i64::from(i32::MAX) { sum - (i64::from(i32::MAX) + 1) } else { sum };
    i32::try_from(wrapped).unwrap_or(i32::MAX)
}

/// CRC-32C of a whole batch's bytes, of the part the CRC covers.
pub(crate) fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or(&[]))
}

/// Where the part covered by the CRC begins.
pub(crate) const CRC_STARTS: usize = ATTRIBUTES_AT;

/// Gives the batch its place in the log. Leader epoch is 0: one node, one epoch.
pub(crate) fn patch_offset(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Stamps the batch with the broker's time (`LogAppendTime`) and renews its CRC.
pub(crate) fn patch_append_time(batch: &mut [u8], now_ms: i64) {
    let attributes = i16::from_be_bytes(be(batch, ATTRIBUTES_AT)) | LOG_APPEND_TIME;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now_ms.to_be_bytes());
    renew_crc(batch);
}

/// Writes the CRC that belongs to the batch's bytes.
pub(crate) fn renew_crc(batch: &mut [u8]) {
    let crc = crc_of(batch);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}
