//! The four codecs of record batches. Batches pass through the log compressed; only a lookup by time, compaction and
//! the key check of compacted topics look inside.
//!
//! Compressing is the protocol crate's work. Decompressing is done here, because a batch comes from anybody: a few
//! kilobytes can hold gigabytes of zeros, so the size is bounded while it grows.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};
use kafka_protocol::records::Compression;

use super::record::BadRecords;

/// The most bytes that one batch may hold decompressed. Far above any honest `max.message.bytes`.
#[cfg(not(test))]
const LIMIT: usize = 256 * 1024 * 1024;
#[cfg(test)]
const LIMIT: usize = 1024 * 1024;

/// What snappy-java writes before its blocks: magic, version, lowest compatible version.
const SNAPPY_JAVA: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_JAVA_HEADER: usize = 16;

/// The records of a batch, out of the bytes behind its header.
pub(crate) fn decompress(codec: Compression, bytes: Bytes) -> Result<Bytes, BadRecords> {
    match codec {
        Compression::None => return Ok(bytes),
        Compression::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(&bytes[..])),
        Compression::Lz4 => lz4::Decoder::new(&bytes[..]).and_then(read_bounded),
        Compression::Zstd => zstd::stream::read::Decoder::new(&bytes[..]).and_then(read_bounded),
        Compression::Snappy => unsnap(&bytes),
    }
    .map(Bytes::from)
    .map_err(|error| format!("{codec:?} data cannot be decompressed: {error}"))
}

fn too_large() -> io::Error {
    io::Error::other(format!("more than {LIMIT} bytes"))
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    source.take(LIMIT as u64 + 1).read_to_end(&mut out)?;
    if out.len() > LIMIT { Err(too_large()) } else { Ok(out) }
}

/// Blocks as snappy-java frames them, or, from some clients, one block without a frame.
fn unsnap(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let Some(mut rest) = bytes.get(SNAPPY_JAVA_HEADER..).filter(|_| bytes.starts_with(SNAPPY_JAVA)) else {
        unsnap_block(bytes, &mut out)?;
        return Ok(out);
    };
    while let Some((len, after)) = rest.split_first_chunk() {
        let block =
            usize::try_from(u32::from_be_bytes(*len)).ok().and_then(|len| after.split_at_checked(len));
        let Some((block, after)) = block else { break };
        unsnap_block(block, &mut out)?;
        rest = after;
    }
    if rest.is_empty() { Ok(out) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn unsnap_block(block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // The length is what the block claims; room is made only for what is allowed.
    let (from, len) = (out.len(), snap::raw::decompress_len(block)?);
    if from + len > LIMIT {
        return Err(too_large());
    }
    out.resize(from + len, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[from..])?;
    Ok(())
}

/// Appends `records` (encoded records without header) to `out` under the codec.
pub(crate) fn compress(codec: Compression, records: &[u8], out: &mut BytesMut) -> Result<(), BadRecords> {
    let put = |plain: &mut BytesMut| {
        plain.extend_from_slice(records);
        Ok(())
    };
    match codec {
        Compression::None => {
            out.extend_from_slice(records);
            return Ok(());
        }
        Compression::Gzip => Gzip::compress(out, put),
        Compression::Snappy => Snappy::compress(out, put),
        Compression::Lz4 => Lz4::compress(out, put),
        Compression::Zstd => Zstd::compress(out, put),
    }
    .map_err(|error| format!("cannot compress with {codec:?}: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(codec: Compression, plain: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        compress(codec, plain, &mut out).unwrap();
        out.freeze()
    }

    /// What was compressed comes back, of any size up to the limit.
    #[test]
    fn round_trip() {
        for codec in CODECS {
            for len in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 500_000, LIMIT] {
                let plain: Vec<_> = (0..len).map(|at| (at * at / 7) as u8).collect();
                assert_eq!(decompress(codec, packed(codec, &plain)).unwrap(), plain, "{codec:?} {len}");
            }
        }
    }

    /// A batch that grows beyond the limit is refused while it grows.
    #[test]
    fn bombs_are_refused() {
        for codec in &CODECS[1..] {
            let bomb = packed(*codec, &vec![0; LIMIT + 1]);
            assert!(decompress(*codec, bomb).unwrap_err().contains("more than"), "{codec:?}");
        }
        // Claims 4 GB.
        let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(decompress(Compression::Snappy, claim).is_err());
    }

    /// Cut and damaged data gives an error or other data, never a panic.
    #[test]
    fn damaged_data() {
        for codec in &CODECS[1..] {
            let good = packed(*codec, b"some records, some more records, and some records again");
            for at in 0..good.len() {
                // The last bytes may be a checksum's or an end mark that the decoder does not ask for.
                let _ = decompress(*codec, good.slice(..at));
                let mut bad = good.to_vec();
                bad[at] ^= 0x41;
                let _ = decompress(*codec, bad.into());
            }
        }
    }

    /// Snappy without snappy-java's frame, as some clients write it.
    #[test]
    fn bare_snappy() {
        let block = snap::raw::Encoder::new().compress_vec(b"bare bare bare").unwrap();
        assert_eq!(decompress(Compression::Snappy, block.into()).unwrap(), "bare bare bare");
    }
}
