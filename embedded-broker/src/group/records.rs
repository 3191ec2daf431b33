//! Bytes of `__consumer_offsets`: the keys and values of committed offsets and group metadata.
//!
//! References: Apache Kafka `OffsetCommitKey/Value`, `GroupMetadataKey/Value` (group-coordinator message schemas).
//! Written: offset key v1 with value v3 (v1 when the commit names its own expiry), group key v2 with value v3.
//! Read: every version those schemas have, so that a log written by a newer release still loads.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use crate::internal_log::Entry;
use crate::internal_log::schema::{Reader, RecordError, put_bytes, put_nullable, put_string};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

/// Which thing a record of the offsets log is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The committed offset of one partition.
    Offset {
        /// The group that committed.
        group: StrBytes,
        /// The topic.
        topic: StrBytes,
        /// The partition.
        partition: i32,
    },
    /// Members and generation of a group.
    Group(StrBytes),
}

/// A committed offset as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// Leader epoch of the last record read, -1 if the client didn't say.
    pub(crate) leader_epoch: i32,
    /// Free text of the client.
    pub(crate) metadata: StrBytes,
    /// When it was committed, milliseconds since the epoch.
    pub(crate) commit_ms: i64,
    /// When it expires, if the client chose that itself (`OffsetCommit` v2 to v4), milliseconds since the epoch.
    pub(crate) expire_ms: Option<i64>,
}

/// A group's metadata as stored: what its members need to carry on after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoredGroup {
    /// `consumer`, `connect`, ...; empty if the group never had members.
    pub(crate) protocol_type: StrBytes,
    /// The current generation.
    pub(crate) generation: i32,
    /// The selected assignment protocol; none for an empty group.
    pub(crate) protocol: Option<StrBytes>,
    /// The leader's member id.
    pub(crate) leader: Option<StrBytes>,
    /// When the group entered its state, milliseconds since the epoch; -1 if unknown.
    pub(crate) state_since_ms: i64,
    /// The members; an empty list means an empty group, otherwise the group is stable.
    pub(crate) members: Vec<StoredMember>,
}

/// A member as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoredMember {
    /// Member id.
    pub(crate) id: StrBytes,
    /// `group.instance.id` of a static member.
    pub(crate) instance_id: Option<StrBytes>,
    /// Client id of the last join.
    pub(crate) client_id: StrBytes,
    /// Host of the last join.
    pub(crate) client_host: StrBytes,
    /// Rebalance timeout in milliseconds; -1 (very old records) means the session timeout.
    pub(crate) rebalance_timeout_ms: i32,
    /// Session timeout in milliseconds.
    pub(crate) session_timeout_ms: i32,
    /// Metadata for the selected protocol.
    pub(crate) subscription: Bytes,
    /// The leader's assignment to this member.
    pub(crate) assignment: Bytes,
}

impl Key {
    /// The key's bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Key::Offset { group, topic, partition } => {
                out.put_i16(OFFSET_KEY);
                put_string(&mut out, group);
                put_string(&mut out, topic);
                out.put_i32(*partition);
            }
            Key::Group(group) => {
                out.put_i16(GROUP_KEY);
                put_string(&mut out, group);
            }
        }
        out.freeze()
    }

    /// Reads a key; `None` for key types of features this broker doesn't have.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Key>, RecordError> {
        let mut read = Reader::new(bytes, "key");
        Ok(match read.i16()? {
            0 | OFFSET_KEY => {
                Some(Key::Offset { group: read.string()?, topic: read.string()?, partition: read.i32()? })
            }
            GROUP_KEY => Some(Key::Group(read.string()?)),
            _ => None,
        })
    }

    /// The record that deletes this key.
    pub(crate) fn tombstone(&self) -> Entry {
        Entry { key: self.encode(), value: None }
    }
}

impl CommittedOffset {
    /// The value's bytes: v3, or v1, the last version that has an expiry of its own.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32 + self.metadata.len());
        match self.expire_ms {
            None => {
                out.put_i16(3);
                out.put_i64(self.offset);
                out.put_i32(self.leader_epoch);
                put_string(&mut out, &self.metadata);
                out.put_i64(self.commit_ms);
            }
            Some(expire_ms) => {
                out.put_i16(1);
                out.put_i64(self.offset);
                put_string(&mut out, &self.metadata);
                out.put_i64(self.commit_ms);
                out.put_i64(expire_ms);
            }
        }
        out.freeze()
    }

    /// Reads a value of any version (0 to 4).
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut read = Reader::new(bytes, "offset commit value");
        let version = read.version(4, 4)?;
        let offset = read.i64()?;
        let leader_epoch = if version >= 3 { read.i32()? } else { -1 };
        let metadata = read.string()?;
        let commit_ms = read.i64()?;
        let expire_ms = if version == 1 { Some(read.i64()?).filter(|ms| *ms >= 0) } else { None };
        Ok(CommittedOffset { offset, leader_epoch, metadata, commit_ms, expire_ms })
    }
}

impl StoredGroup {
    /// The value's bytes, version 3.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(3);
        put_string(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_nullable(&mut out, self.protocol.as_ref());
        put_nullable(&mut out, self.leader.as_ref());
        out.put_i64(self.state_since_ms);
        out.put_i32(i32::try_from(self.members.len()).unwrap_or(i32::MAX));
        for member in &self.members {
            put_string(&mut out, &member.id);
            put_nullable(&mut out, member.instance_id.as_ref());
            put_string(&mut out, &member.client_id);
            put_string(&mut out, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }

    /// Reads a value of any version (0 to 4).
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut read = Reader::new(bytes, "group metadata value");
        let version = read.version(4, 4)?;
        let mut group = StoredGroup {
            protocol_type: read.string()?,
            generation: read.i32()?,
            protocol: read.nullable()?,
            leader: read.nullable()?,
            state_since_ms: if version >= 2 { read.i64()? } else { -1 },
            members: Vec::new(),
        };
        // The count isn't trusted for an allocation: each member read must be there.
        for _ in 0..read.length32()? {
            group.members.push(StoredMember {
                id: read.string()?,
                instance_id: if version >= 3 { read.nullable()? } else { None },
                client_id: read.string()?,
                client_host: read.string()?,
                rebalance_timeout_ms: if version >= 1 { read.i32()? } else { -1 },
                session_timeout_ms: read.i32()?,
                subscription: read.bytes()?,
                assignment: read.bytes()?,
            });
            read.skip_tagged_fields()?;
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    #[test]
    fn keys_have_kafkas_bytes() {
        let key = Key::Offset { group: text("g"), topic: text("to"), partition: 258 };
        assert_eq!(&key.encode()[..], b"\x00\x01\x00\x01g\x00\x02to\x00\x00\x01\x02");
        assert_eq!(Key::decode(&key.encode()), Ok(Some(key)));
        let key = Key::Group(text("g"));
        assert_eq!(&key.encode()[..], b"\x00\x02\x00\x01g");
        assert_eq!(Key::decode(&key.encode()), Ok(Some(key)));
    }

    #[test]
    fn keys_of_other_features_are_passed_over() {
        assert_eq!(Key::decode(b"\x00\x03\x00\x01g"), Ok(None));
        assert_eq!(Key::decode(b"\x00\x02\x00\x05g"), Err(RecordError::Malformed("key")));
    }

    #[test]
    fn offsets_are_written_as_version_3_and_with_own_expiry_as_version_1() {
        let mut offset = CommittedOffset {
            offset: 5,
            leader_epoch: 2,
            metadata: text("m"),
            commit_ms: 7,
            expire_ms: None,
        };
        assert_eq!(
            &offset.encode()[..],
            b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x07"
        );
        assert_eq!(CommittedOffset::decode(&offset.encode()), Ok(offset.clone()));
        (offset.leader_epoch, offset.expire_ms) = (-1, Some(9));
        assert_eq!(offset.encode()[..2], [0, 1]);
        assert_eq!(CommittedOffset::decode(&offset.encode()), Ok(offset));
    }

    #[test]
    fn a_flexible_offset_value_of_a_newer_release_loads() {
        let mut bytes = BytesMut::from(&b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02\x02m"[..]);
        bytes.put_i64(7);
        bytes.put_slice(b"\x01\x00\x10");
        bytes.put_slice(&[9; 16]);
        let offset = CommittedOffset::decode(&bytes).unwrap();
        assert_eq!((offset.offset, offset.leader_epoch, offset.commit_ms), (5, 2, 7));
        assert_eq!(offset.metadata, text("m"));
        bytes[1] = 5;
        assert_eq!(
            CommittedOffset::decode(&bytes),
            Err(RecordError::Version { what: "offset commit value", version: 5 })
        );
    }

    #[test]
    fn group_metadata_round_trips_and_no_prefix_of_it_panics() {
        let member = StoredMember {
            id: text("m-1"),
            instance_id: Some(text("i")),
            client_id: text("c"),
            client_host: text("/127.0.0.1"),
            rebalance_timeout_ms: 2,
            session_timeout_ms: 3,
            subscription: Bytes::from_static(b"sub"),
            assignment: Bytes::from_static(b"ass"),
        };
        let group = StoredGroup {
            protocol_type: text("consumer"),
            generation: 4,
            protocol: Some(text("range")),
            leader: Some(text("m-1")),
            state_since_ms: 11,
            members: vec![member.clone(), StoredMember { id: text("m-2"), instance_id: None, ..member }],
        };
        let bytes = group.encode();
        assert_eq!(StoredGroup::decode(&bytes), Ok(group));
        for end in 0..bytes.len() {
            assert!(StoredGroup::decode(&bytes[..end]).is_err(), "prefix of {end} bytes");
        }
        let empty = StoredGroup { generation: 1, state_since_ms: -1, ..StoredGroup::default() };
        assert_eq!(StoredGroup::decode(&empty.encode()), Ok(empty));
    }
}
