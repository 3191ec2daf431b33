//! Offsets committed within a producer's transaction (KIP-98, KIP-447): stored at once, hidden until the transaction
//! commits, dropped if it aborts.
//!
//! References: Apache Kafka `OffsetMetadataManager.commitTransactionalOffset`, `replayEndTransactionMarker`.

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use kafka_protocol::protocol::StrBytes;

use super::classic::Group;
use super::coordinator::{GroupCoordinator, fits};
use super::member::own;
use super::offsets::refuse_commit;
use crate::internal_log::{ProducerEpoch, StoreError};
use crate::log::Marker;

impl Group {
    /// The transaction is over: what it committed shows, or is forgotten.
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        self.offsets.end_transaction(producer_id, commit);
    }
}

impl GroupCoordinator {
    /// TxnOffsetCommit, whose fields are those of an OffsetCommit. The caller has made sure that the producer's
    /// transaction is open and that the offsets log takes part in it, and keeps it so until this returns.
    pub(crate) fn commit_in_transaction(
        &self,
        request: &OffsetCommitRequest,
        producer: ProducerEpoch,
        exists: &dyn Fn(&str, i32) -> bool,
    ) -> OffsetCommitResponse {
        let id = &request.group_id.0;
        let respond = |topics| OffsetCommitResponse::default().with_topics(topics);
        if !fits(id) {
            return respond(refuse_commit(request, ResponseError::InvalidGroupId));
        }
        // Noted first: an end of the transaction that finds nothing in the group does no harm.
        self.open_transactions.lock().entry(producer.id).or_default().insert(own(id));
        let commit = |group: &mut Group, env: &super::classic::Env<'_>| {
            group.commit_in(env, request, Some(producer), exists)
        };
        if request.generation_id_or_member_epoch < 0 {
            return respond(self.with_group_or_new(id, commit));
        }
        let committed = self.with_group(id, commit);
        respond(committed.unwrap_or_else(|| refuse_commit(request, ResponseError::IllegalGeneration)))
    }

    /// Ends a producer's transaction in the offsets log and in every group it has pending offsets in.
    ///
    /// # Errors
    /// [`StoreError`] if the marker can't be written; nothing has changed then.
    pub(crate) fn end_transaction(&self, marker: &Marker) -> Result<(), StoreError> {
        let groups = {
            let mut open = self.open_transactions.lock();
            self.log.end_transaction(marker)?;
            open.remove(&marker.producer_id).unwrap_or_default()
        };
        for id in groups {
            self.with_group(&id, |group, _| group.end_transaction(marker.producer_id, marker.commit));
        }
        Ok(())
    }
}

/// Producer id to the groups in which its open transaction may have committed offsets.
pub(super) type OpenTransactions = HashMap<i64, BTreeSet<StrBytes>>;

/// Notes which transactions have offsets pending in a group that was loaded.
pub(super) fn note_open_transactions(open: &mut OpenTransactions, group: &Group) {
    for producer_id in group.offsets.open_transactions() {
        open.entry(producer_id).or_default().insert(group.id().clone());
    }
}
