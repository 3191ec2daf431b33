//! Start: the last value of every key of the offsets log becomes the groups in memory.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::classic::{Group, Now};
use super::records::{CommittedOffset, Key, RecordError, StoredGroup};
use super::storage::{OffsetsLog, ReplayError};

#[derive(Default)]
struct Loaded {
    metadata: Option<StoredGroup>,
    offsets: HashMap<(StrBytes, i32), CommittedOffset>,
}

/// The groups that the log tells of. Records that can't be understood are passed over with a warning: one bad record
/// must not take all groups away.
pub(crate) fn load(log: &dyn OffsetsLog, now: Now) -> Result<Vec<Group>, ReplayError> {
    let mut groups: HashMap<StrBytes, Loaded> = HashMap::new();
    log.replay(&mut |key, value| {
        if let Err(error) = apply(&mut groups, &key, value.as_ref()) {
            tracing::warn!(%error, "passing over a record of the offsets log");
        }
    })?;
    // A group whose last trace is a tombstone isn't there.
    groups.retain(|_, loaded| loaded.metadata.is_some() || !loaded.offsets.is_empty());
    let restore = |(id, loaded): (StrBytes, Loaded)| {
        let mut group = Group::new(id, now);
        if let Some(metadata) = loaded.metadata {
            group.restore(metadata, now);
        }
        for ((topic, partition), offset) in loaded.offsets {
            group.offsets.insert(topic, partition, offset);
        }
        group
    };
    Ok(groups.into_iter().map(restore).collect())
}

fn apply(
    groups: &mut HashMap<StrBytes, Loaded>,
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<(), RecordError> {
    match (Key::decode(key)?, value) {
        (Some(Key::Offset { group, topic, partition }), Some(value)) => {
            let offset = CommittedOffset::decode(value)?;
            groups.entry(group).or_default().offsets.insert((topic, partition), offset);
        }
        (Some(Key::Offset { group, topic, partition }), None) => {
            if let Some(loaded) = groups.get_mut(&group) {
                loaded.offsets.remove(&(topic, partition));
            }
        }
        (Some(Key::Group(group)), Some(value)) => {
            groups.entry(group).or_default().metadata = Some(StoredGroup::decode(value)?);
        }
        (Some(Key::Group(group)), None) => {
            if let Some(loaded) = groups.get_mut(&group) {
                loaded.metadata = None;
            }
        }
        (None, _) => {}
    }
    Ok(())
}
