//! Start: the last value of every key of the log becomes the transactional ids in memory.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::metadata::Metadata;
use super::records::decode_key;
use crate::internal_log::schema::RecordError;
use crate::internal_log::{InternalLog, ReplayError, Replayed};

/// The ids that the log tells of. Records that can't be understood are passed over with a warning.
pub(super) fn load(log: &dyn InternalLog) -> Result<HashMap<StrBytes, Metadata>, ReplayError> {
    let mut loaded = HashMap::new();
    log.replay(&mut |replayed| {
        let Replayed::Record { key, value, .. } = replayed else { return };
        if let Err(error) = apply(&mut loaded, &key, value.as_ref()) {
            tracing::warn!(%error, "passing over a record of the log of transactions");
        }
    })?;
    tracing::debug!(transactional_ids = loaded.len(), "transactional ids loaded");
    Ok(loaded)
}

fn apply(
    loaded: &mut HashMap<StrBytes, Metadata>,
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<(), RecordError> {
    let Some(id) = decode_key(key)? else { return Ok(()) };
    match value {
        Some(value) => {
            loaded.insert(id, Metadata::decode(value)?);
        }
        None => {
            loaded.remove(&id);
        }
    }
    Ok(())
}
