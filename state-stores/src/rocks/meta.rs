//! What a task remembers beside its stores, in a column family of its own and written in the same batch: up to where
//! the state holds its changelogs, where its inputs stand, its stream time, and the format of all this.
//!
//! ```text
//! format-version                           i64
//! store-format/<store>                     text, see `formats`
//! stream-time                              i64, ms
//! changelog-offset/<partition>/<topic>     i64, next offset to restore
//! position/<partition>/<topic>             i64, next offset to process
//! ```

/// The column family; no store may have its name.
pub(super) const META_FAMILY: &str = "kstreams-meta";

/// The newest format this version reads, and the one it writes.
pub(super) const FORMAT_VERSION: i64 = 1;

pub(super) const FORMAT_KEY: &[u8] = b"format-version";
pub(crate) const STREAM_TIME_KEY: &[u8] = b"stream-time";
pub(crate) const CHANGELOG_OFFSET: &str = "changelog-offset/";
pub(super) const STORE_FORMAT: &str = "store-format/";
pub(crate) const POSITION: &str = "position/";

/// A topic's partition.
pub(super) type TopicPartition = (String, i32);

/// The key of an entry that is kept per topic and partition.
pub(crate) fn partition_key(family: &str, topic: &str, partition: i32) -> Vec<u8> {
    format!("{family}{partition}/{topic}").into_bytes()
}

/// Topic and partition of such a key; `None` for another key.
pub(super) fn read_partition_key(family: &str, key: &[u8]) -> Option<TopicPartition> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(family)?;
    let (partition, topic) = rest.split_once('/')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

pub(super) fn read_number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_keep_their_partition() {
        let key = partition_key(POSITION, "a/b-1", 12);
        assert_eq!(read_partition_key(POSITION, &key), Some(("a/b-1".to_owned(), 12)));
        assert_eq!(read_partition_key(CHANGELOG_OFFSET, &key), None);
    }
}
