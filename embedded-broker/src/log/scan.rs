//! Walks the batches of a segment file, headers only or with their CRC checked.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::LogError;
use super::batch::{BadBatch, BatchHeader, CRC_STARTS, HEADER_LEN};

/// What stands at a position of a segment file.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// A batch, whole.
    Batch(BatchHeader),
    /// The file ends here.
    End,
    /// Neither: a torn or damaged batch.
    Bad(String),
}

/// Reads a file forwards in chunks.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a File,
    path: &'a Path,
    end: u64,
    /// Where the next batch begins.
    pub(crate) position: u64,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_at: u64,
    check_crc: bool,
}

impl<'a> Scanner<'a> {
    /// Walks headers in `position..end`, reading `chunk` bytes at a time.
    pub(crate) fn headers(file: &'a File, path: &'a Path, position: u64, end: u64, chunk: usize) -> Self {
        Scanner { file, path, end, position, chunk, buffer: Vec::new(), buffer_at: 0, check_crc: false }
    }

    /// Walks batches in `position..end` and checks their CRCs.
    pub(crate) fn checked(file: &'a File, path: &'a Path, position: u64, end: u64) -> Self {
        Scanner { check_crc: true, ..Scanner::headers(file, path, position, end, 256 * 1024) }
    }

    /// Up to `want` bytes at `at`, fewer at the end of the file or of the chunk size.
    fn bytes(&mut self, at: u64, want: usize) -> Result<&[u8], LogError> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left).min(self.chunk);
        let have = at.checked_sub(self.buffer_at).and_then(|skip| usize::try_from(skip).ok());
        let start = match have.filter(|skip| skip + want <= self.buffer.len()) {
            Some(skip) => skip,
            None => {
                self.buffer.resize(self.chunk.min(left), 0);
                self.file.read_exact_at(&mut self.buffer, at).map_err(LogError::io("read", self.path))?;
                self.buffer_at = at;
                0
            }
        };
        Ok(&self.buffer[start..start + want])
    }

    /// The batch at the current position; goes on to the next one if it is good.
    pub(crate) fn next(&mut self) -> Result<Scanned, LogError> {
        let at = self.position;
        if at >= self.end {
            return Ok(Scanned::End);
        }
        let header = match BatchHeader::parse(self.bytes(at, HEADER_LEN)?) {
            Ok(header) => header,
            Err(BadBatch::Short) => {
                return Ok(Scanned::Bad("the file ends inside a batch header".to_owned()));
            }
            Err(BadBatch::Magic(magic)) => {
                return Ok(Scanned::Bad(format!("message format {magic} instead of 2")));
            }
            Err(BadBatch::Header(reason)) => return Ok(Scanned::Bad(reason.to_owned())),
        };
        if header.size as u64 > self.end - at {
            return Ok(Scanned::Bad("the file ends inside a batch".to_owned()));
        }
        if self.check_crc && self.crc(at, header.size)? != header.crc {
            return Ok(Scanned::Bad("the CRC does not match".to_owned()));
        }
        self.position = at + header.size as u64;
        Ok(Scanned::Batch(header))
    }

    /// All `size` bytes of the batch at `position`.
    pub(crate) fn whole(&mut self, position: u64, size: usize) -> Result<Bytes, LogError> {
        if size <= self.chunk {
            return self.bytes(position, size).map(Bytes::copy_from_slice);
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, position).map_err(LogError::io("read", self.path))?;
        Ok(Bytes::from(bytes))
    }

    fn crc(&mut self, at: u64, size: usize) -> Result<u32, LogError> {
        let (mut crc, mut from) = (0, CRC_STARTS);
        while from < size {
            let part = self.bytes(at + from as u64, size - from)?;
            crc = crc32c::crc32c_append(crc, part);
            from += part.len();
        }
        Ok(crc)
    }
}
