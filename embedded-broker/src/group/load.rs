//! Start: the last value of every key of the offsets log becomes the groups in memory.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::classic::{Group, Now};
use super::offsets::Offsets;
use super::records::{CommittedOffset, Key, StoredGroup};
use crate::internal_log::schema::RecordError;
use crate::internal_log::{InternalLog, ReplayError, Replayed};

#[derive(Default)]
struct Loaded {
    metadata: Option<StoredGroup>,
    offsets: Offsets,
}

#[derive(Default)]
struct Groups {
    by_id: HashMap<StrBytes, Loaded>,
    /// Producer id to the groups its open transaction has written to.
    open: HashMap<i64, BTreeSet<StrBytes>>,
}

/// The groups that the log tells of. Records that can't be understood are passed over with a warning: one bad record
/// must not take all groups away.
pub(crate) fn load(log: &dyn InternalLog, now: Now) -> Result<Vec<Group>, ReplayError> {
    let mut groups = Groups::default();
    log.replay(&mut |replayed| match replayed {
        Replayed::Record { offset, key, value, transaction } => {
            if let Err(error) = apply(&mut groups, offset, &key, value.as_ref(), transaction) {
                tracing::warn!(%error, "passing over a record of the offsets log");
            }
        }
        Replayed::End { producer_id, commit } => {
            for id in groups.open.remove(&producer_id).unwrap_or_default() {
                groups.get(id).offsets.end_transaction(producer_id, commit);
            }
        }
    })?;
    // A group whose last trace is a tombstone isn't there.
    groups.by_id.retain(|_, loaded| loaded.metadata.is_some() || !loaded.offsets.is_empty());
    let restore = |(id, loaded): (StrBytes, Loaded)| {
        let mut group = Group::new(id, now);
        if let Some(metadata) = loaded.metadata {
            group.restore(metadata, now);
        }
        group.offsets = loaded.offsets;
        group
    };
    Ok(groups.by_id.into_iter().map(restore).collect())
}

impl Groups {
    fn get(&mut self, id: StrBytes) -> &mut Loaded {
        self.by_id.entry(id).or_default()
    }
}

fn apply(
    groups: &mut Groups,
    at: i64,
    key: &Bytes,
    value: Option<&Bytes>,
    transaction: Option<i64>,
) -> Result<(), RecordError> {
    match (Key::decode(key)?, value) {
        (Some(Key::Offset { group, topic, partition }), Some(value)) => {
            let offset = CommittedOffset::decode(value)?;
            if let Some(producer_id) = transaction {
                groups.open.entry(producer_id).or_default().insert(group.clone());
            }
            groups.get(group).offsets.insert(topic, partition, at, offset, transaction);
        }
        (Some(Key::Offset { group, topic, partition }), None) => {
            if let Some(loaded) = groups.by_id.get_mut(&group) {
                loaded.offsets.remove(&topic, partition);
            }
        }
        (Some(Key::Group(group)), Some(value)) => {
            groups.get(group).metadata = Some(StoredGroup::decode(value)?);
        }
        (Some(Key::Group(group)), None) => {
            if let Some(loaded) = groups.by_id.get_mut(&group) {
                loaded.metadata = None;
            }
        }
        (None, _) => {}
    }
    Ok(())
}
