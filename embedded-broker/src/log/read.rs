//! Raw batches for Fetch: found by index, read with one `pread`, never decoded.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{BatchHeader, HEADER_LEN};
use super::segment::Segment;
use super::{Log, LogError, ReadError};

/// The segments of a log as a reader copied them.
pub(super) type Segments = Arc<Vec<Arc<Segment>>>;

/// How far one read goes.
struct Limits {
    max_bytes: usize,
    /// Give the first batch even if it is larger than `max_bytes`.
    min_one: bool,
    /// Stop before this offset.
    upper: i64,
}

impl Log {
    /// Raw batches from the one that contains `offset` on, whole ones, together at most `max_bytes` bytes, all
    /// before offset `upper` (high watermark or last stable offset). With `min_one` the first batch is given even if
    /// it is larger than `max_bytes`, so that a consumer always gets on. The first batch may begin before `offset`.
    ///
    /// Empty when `offset` is the end of the log or `upper`.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when `offset` is not between log start and log end; `Storage` when the file can't be read.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        upper: i64,
    ) -> Result<Bytes, ReadError> {
        self.read_range(offset, max_bytes, min_one, upper).map(|(read, _)| Bytes::from(read.bytes))
    }

    /// The same, with the offset behind what was read and the segments it was read from.
    pub(super) fn read_range(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        upper: i64,
    ) -> Result<(Batches, Segments), ReadError> {
        // The end first: every offset below it lies in one of the segments listed afterwards.
        let end = self.end_offset();
        let (segments, start) = self.segments_and_start();
        if offset < start || offset > end {
            return Err(ReadError::OffsetOutOfRange {
                partition: self.name.clone(),
                requested: offset,
                start,
                end,
            });
        }
        let upper = upper.min(end);
        if offset >= upper {
            return Ok((Batches::default(), segments));
        }
        read_segments(&segments, offset, &Limits { max_bytes, min_one, upper })
            .map(|read| (read, segments))
            .map_err(|source| ReadError::Storage { partition: self.name.clone(), source })
    }
}

/// Whole batches, one after the other, and the offset after the last.
#[derive(Debug, Default)]
pub(super) struct Batches {
    pub(super) bytes: Vec<u8>,
    pub(super) next_offset: i64,
}

fn read_segments(segments: &[Arc<Segment>], offset: i64, limits: &Limits) -> Result<Batches, LogError> {
    let first = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
    let mut out = Batches::default();
    for segment in segments.get(first..).unwrap_or(&[]) {
        if segment.base_offset >= limits.upper || !read_segment(segment, offset, limits, &mut out)? {
            break;
        }
    }
    Ok(out)
}

/// Appends batches of one segment to `out`. True when the segment was read to its end and there is room for more.
fn read_segment(
    segment: &Segment,
    offset: i64,
    limits: &Limits,
    out: &mut Batches,
) -> Result<bool, LogError> {
    let Some((position, first)) = segment.locate(offset)? else { return Ok(true) };
    if first.base_offset >= limits.upper {
        return Ok(false);
    }
    let Batches { bytes: out, next_offset: read_to } = out;
    let room = limits.max_bytes.saturating_sub(out.len());
    let must = if out.is_empty() && limits.min_one { first.size } else { 0 };
    let available = usize::try_from(segment.len() - position).unwrap_or(usize::MAX);
    let wanted = room.max(must).min(available);
    if wanted < first.size {
        return Ok(false);
    }
    let from = out.len();
    if from == 0 {
        // Zeroed by the allocator, which for large buffers costs nothing.
        *out = vec![0; wanted];
    } else {
        out.resize(from + wanted, 0);
    }
    segment.file.read_exact_at(&mut out[from..], position).map_err(LogError::io("read", &segment.path))?;
    let (whole, next_offset) = whole_batches(&out[from..], limits.upper);
    out.truncate(from + whole);
    if whole > 0 {
        *read_to = next_offset;
        segment.hint(next_offset, position + whole as u64);
    }
    Ok(whole == available)
}

/// How many bytes at the front are whole batches before `upper`, and the offset after them.
fn whole_batches(bytes: &[u8], upper: i64) -> (usize, i64) {
    let (mut whole, mut next_offset) = (0, 0);
    while let Some(rest) = bytes.get(whole..).filter(|rest| rest.len() >= HEADER_LEN) {
        match BatchHeader::parse(rest) {
            Ok(header) if header.size <= rest.len() && header.base_offset < upper => {
                whole += header.size;
                next_offset = header.next_offset();
            }
            _ => break,
        }
    }
    (whole, next_offset)
}
