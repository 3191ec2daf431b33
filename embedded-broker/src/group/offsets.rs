//! Committed offsets of a group: commit, fetch, delete, expiry.
//!
//! References: Apache Kafka `OffsetMetadataManager`, `ClassicGroup.validateOffsetCommit` and
//! `offsetExpirationCondition`, KIP-211 (expiry), KIP-496 (OffsetDelete).
//!
//! Every change is stored before it shows: what a fetch returns would be there after a crash too. Offsets that a
//! transaction has pending stand beside the committed ones, hidden until it commits (`pending.rs`).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::OffsetCommitRequest;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::protocol::StrBytes;

use super::classic::{Env, Group};
use super::member::own;
use super::records::{CommittedOffset, Key};
use super::state::GroupState;
use crate::internal_log::{Entry, ProducerEpoch, StoreError};

/// Tombstones in one batch: far below what any log takes.
const TOMBSTONES_PER_BATCH: usize = 1_000;

/// An offset and where in the offsets log it was written: of two for a partition the later one counts, whenever the
/// transaction of one of them committed.
#[derive(Debug, Clone)]
struct Placed {
    at: i64,
    offset: CommittedOffset,
}

/// The committed offsets of one group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<StrBytes, BTreeMap<i32, Placed>>,
    /// By producer id: what its open transaction has committed.
    pending: BTreeMap<i64, BTreeMap<(StrBytes, i32), Placed>>,
}

impl Offsets {
    /// The committed offset of a partition.
    pub(crate) fn get(&self, topic: &StrBytes, partition: i32) -> Option<&CommittedOffset> {
        Some(&self.committed.get(topic)?.get(&partition)?.offset)
    }

    /// The committed offset as a client gets it.
    pub(crate) fn fetch(
        &self,
        topic: &StrBytes,
        partition: i32,
        stable: bool,
    ) -> Result<Option<CommittedOffset>, ResponseError> {
        match stable && self.is_pending(topic, partition) {
            true => Err(ResponseError::UnstableOffsetCommit),
            false => Ok(self.get(topic, partition).cloned()),
        }
    }

    /// Which partitions have a committed offset.
    pub(crate) fn partitions(&self) -> Vec<(&StrBytes, Vec<i32>)> {
        self.committed.iter().map(|(topic, offsets)| (topic, offsets.keys().copied().collect())).collect()
    }

    /// Whether nothing is committed or pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// The producers whose transactions have offsets pending.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = i64> {
        self.pending.keys().copied()
    }

    fn is_pending(&self, topic: &StrBytes, partition: i32) -> bool {
        // Nearly always there is no transaction, or one.
        self.pending
            .values()
            .any(|offsets| offsets.keys().any(|(pending, index)| *index == partition && pending == topic))
    }

    /// Takes over an offset stored at `at` in the log, in a producer's transaction or by itself.
    pub(crate) fn insert(
        &mut self,
        topic: StrBytes,
        partition: i32,
        at: i64,
        offset: CommittedOffset,
        transaction: Option<i64>,
    ) {
        let placed = Placed { at, offset };
        match transaction {
            Some(producer_id) => {
                self.pending.entry(producer_id).or_default().insert((topic, partition), placed);
            }
            None => {
                self.committed.entry(topic).or_default().insert(partition, placed);
            }
        }
    }

    /// Makes a transaction's offsets visible, unless a later one was committed meanwhile, or drops them.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        for ((topic, partition), placed) in pending.into_iter().filter(|_| commit) {
            let partitions = self.committed.entry(topic).or_default();
            if partitions.get(&partition).is_none_or(|committed| committed.at < placed.at) {
                partitions.insert(partition, placed);
            }
        }
    }

    /// Forgets an offset, the pending ones too: what deletes it is behind them in the log.
    pub(crate) fn remove(&mut self, topic: &StrBytes, partition: i32) {
        if let Some(partitions) = self.committed.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.committed.remove(topic);
            }
        }
        if !self.pending.is_empty() {
            let key = (topic.clone(), partition);
            self.pending.retain(|_, offsets| {
                offsets.remove(&key);
                !offsets.is_empty()
            });
        }
    }

    /// The partitions whose committed offset is `wanted`. One that a transaction has pending is in use.
    fn select(&self, wanted: impl Fn(&StrBytes, &CommittedOffset) -> bool) -> Vec<(StrBytes, i32)> {
        let mut selected = Vec::new();
        for (topic, partitions) in &self.committed {
            let hits = partitions.iter().filter(|(partition, placed)| {
                wanted(topic, &placed.offset) && !self.is_pending(topic, **partition)
            });
            selected.extend(hits.map(|(partition, _)| (topic.clone(), *partition)));
        }
        selected
    }

    /// All partitions of the topics that are `wanted`, committed or pending.
    fn of_topics(&self, wanted: impl Fn(&StrBytes) -> bool) -> Vec<(StrBytes, i32)> {
        let committed = self.partitions();
        let committed = committed.into_iter().flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        let pending = self.pending.values().flat_map(|offsets| offsets.keys().cloned());
        let all: BTreeSet<_> = committed.chain(pending).filter(|(topic, _)| wanted(topic)).collect();
        all.into_iter().collect()
    }
}

impl Group {
    /// Handles an OffsetCommit; the answer's topics are in the request's order. Partitions for which `exists` is
    /// false are refused one by one.
    pub(crate) fn commit(
        &mut self,
        env: &Env<'_>,
        request: &OffsetCommitRequest,
        exists: &dyn Fn(&str, i32) -> bool,
    ) -> Vec<OffsetCommitResponseTopic> {
        self.commit_in(env, request, None, exists)
    }

    /// The same, possibly within a producer's transaction.
    pub(super) fn commit_in(
        &mut self,
        env: &Env<'_>,
        request: &OffsetCommitRequest,
        transaction: Option<ProducerEpoch>,
        exists: &dyn Fn(&str, i32) -> bool,
    ) -> Vec<OffsetCommitResponseTopic> {
        if let Err(error) = self.validate_commit(request, transaction.is_some()) {
            return refuse_commit(request, error);
        }
        // A member that commits is alive. (Within a transaction its producer does it: that says less.)
        if transaction.is_none()
            && matches!(self.state(), GroupState::Stable | GroupState::PreparingRebalance)
        {
            self.reschedule_heartbeat(&request.member_id, env.now);
        }
        let check = |topic: &str, partition: &OffsetCommitRequestPartition| {
            let metadata = partition.committed_metadata.as_ref().map_or(0, |text| text.len());
            if !exists(topic, partition.partition_index) {
                Some(ResponseError::UnknownTopicOrPartition)
            } else if metadata > env.config.max_offset_metadata_bytes {
                Some(ResponseError::OffsetMetadataTooLarge)
            } else {
                None
            }
        };
        let mut accepted = Vec::new();
        for topic in &request.topics {
            let good = topic.partitions.iter().filter(|partition| check(&topic.name, partition).is_none());
            accepted.extend(good.map(|partition| {
                let offset = committed(partition, request.retention_time_ms, env.now.wall_ms);
                (own(&topic.name), partition.partition_index, offset)
            }));
        }
        let stored = self.store_offsets(env, accepted, transaction).map_err(|error| {
            tracing::warn!(group = %self.id, %error, "cannot store committed offsets");
            error.for_offset_commit()
        });
        commit_response(request, |topic, partition| check(topic, partition).or(stored.err()))
    }

    /// Who may commit: any member in its generation, except while it waits for an assignment; and anybody who
    /// claims no generation, as long as the group has no members. A transaction needs neither: a producer that names no
    /// member is fenced by its own epoch, and what it read may be committed while the group rebalances.
    fn validate_commit(
        &self,
        request: &OffsetCommitRequest,
        transactional: bool,
    ) -> Result<(), ResponseError> {
        let generation = request.generation_id_or_member_epoch;
        if self.is_in(GroupState::Dead) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if generation < 0 && self.is_in(GroupState::Empty) {
            return Ok(());
        }
        if generation < 0 && request.member_id.is_empty() && request.group_instance_id.is_none() {
            return if transactional { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref(), "offset-commit")?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if !transactional && self.is_in(GroupState::CompletingRebalance) {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    fn store_offsets(
        &mut self,
        env: &Env<'_>,
        accepted: Vec<(StrBytes, i32, CommittedOffset)>,
        transaction: Option<ProducerEpoch>,
    ) -> Result<(), StoreError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let entry = |(topic, partition, offset): &(StrBytes, i32, CommittedOffset)| {
            let key = Key::Offset { group: self.id.clone(), topic: topic.clone(), partition: *partition };
            Entry { key: key.encode(), value: Some(offset.encode()) }
        };
        let entries: Vec<Entry> = accepted.iter().map(entry).collect();
        let base = env.log.append(&entries, env.now.wall_ms, transaction)?;
        for (at, (topic, partition, offset)) in (base..).zip(accepted) {
            self.offsets.insert(topic, partition, at, offset, transaction.map(|producer| producer.id));
        }
        Ok(())
    }

    /// Deletes offsets, first in the log, then here. Stops at the first batch the log refuses.
    fn remove_offsets(&mut self, env: &Env<'_>, doomed: &[(StrBytes, i32)]) -> Result<(), StoreError> {
        for chunk in doomed.chunks(TOMBSTONES_PER_BATCH) {
            let tombstone = |(topic, partition): &(StrBytes, i32)| {
                Key::Offset { group: self.id.clone(), topic: topic.clone(), partition: *partition }
                    .tombstone()
            };
            let entries: Vec<Entry> = chunk.iter().map(tombstone).collect();
            env.log.append(&entries, env.now.wall_ms, None)?;
            for (topic, partition) in chunk {
                self.offsets.remove(topic, *partition);
            }
        }
        Ok(())
    }

    /// Handles an OffsetDelete. `Err` concerns the whole group; inside, one result a partition: offsets of topics
    /// that members subscribe to stay.
    pub(crate) fn delete_offsets(
        &mut self,
        env: &Env<'_>,
        asked: &[(StrBytes, i32)],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        match self.state() {
            GroupState::Dead => return Err(ResponseError::GroupIdNotFound),
            GroupState::Empty => {}
            // What members of another protocol type consume can't be known.
            _ if !self.uses_consumer_protocol() => return Err(ResponseError::NonEmptyGroup),
            _ => {}
        }
        let subscribed = |topic: &StrBytes| self.is_subscribed_to(topic);
        let results = asked.iter().map(|(topic, _)| match subscribed(topic) {
            true => Err(ResponseError::GroupSubscribedToTopic),
            false => Ok(()),
        });
        let results: Vec<Result<(), ResponseError>> = results.collect();
        let doomed = asked.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let doomed = doomed.filter(|((topic, partition), _)| self.offsets.get(topic, *partition).is_some());
        let doomed: Vec<(StrBytes, i32)> = doomed.map(|(key, _)| key.clone()).collect();
        self.remove_offsets(env, &doomed).map_err(|error| {
            tracing::warn!(group = %self.id, %error, "cannot delete offsets");
            error.for_offset_commit()
        })?;
        Ok(results)
    }

    /// Drops the offsets of deleted topics.
    pub(crate) fn drop_topics(&mut self, env: &Env<'_>, deleted: &dyn Fn(&str) -> bool) {
        let doomed = self.offsets.of_topics(|topic| deleted(topic));
        if let Err(error) = self.remove_offsets(env, &doomed) {
            tracing::warn!(group = %self.id, %error, "cannot drop the offsets of a deleted topic");
        }
    }

    /// Drops what has expired, and the group itself if it is empty and has no offsets left.
    pub(crate) fn clean_up(&mut self, env: &Env<'_>) {
        let expired = self.offsets.select(|topic, offset| self.is_expired(env, topic, offset));
        if !expired.is_empty() {
            tracing::info!(group = %self.id, offsets = expired.len(), "dropping expired offsets");
        }
        let dropped = self.remove_offsets(env, &expired);
        let unused = self.is_in(GroupState::Empty) && self.pending_join.is_empty() && self.offsets.is_empty();
        let result = dropped.and_then(|()| if unused { self.delete_metadata(env) } else { Ok(()) });
        if let Err(error) = result {
            tracing::warn!(group = %self.id, %error, "cannot drop expired offsets: trying again at the next check");
        }
    }

    /// KIP-211's conditions: which moment the retention counts from, if it counts at all.
    fn is_expired(&self, env: &Env<'_>, topic: &StrBytes, offset: &CommittedOffset) -> bool {
        let since = match (&self.protocol_type, self.state()) {
            // Never had members (assigned partitions by hand): each offset has its own age.
            (None, _) => offset.commit_ms,
            // Nobody is there since then.
            (Some(_), GroupState::Empty) => self.state_since_ms.unwrap_or(offset.commit_ms),
            // Members are there, of a kind whose topics are known: other topics' offsets age.
            (Some(_), GroupState::Stable)
                if self.uses_consumer_protocol() && self.subscribed_topics.is_some() =>
            {
                offset.commit_ms
            }
            _ => return false,
        };
        if self.is_subscribed_to(topic) {
            return false;
        }
        match offset.expire_ms {
            Some(expire_ms) => env.now.wall_ms >= expire_ms,
            None => env.now.wall_ms.saturating_sub(since) >= env.config.offsets_retention_ms,
        }
    }

    /// Handles a DeleteGroups for this group.
    pub(crate) fn delete(&mut self, env: &Env<'_>) -> Result<(), ResponseError> {
        match self.state() {
            GroupState::Dead => return Err(ResponseError::GroupIdNotFound),
            GroupState::Empty => {}
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
                return Err(ResponseError::NonEmptyGroup);
            }
        }
        let all = self.offsets.of_topics(|_| true);
        self.remove_offsets(env, &all).and_then(|()| self.delete_metadata(env)).map_err(|error| {
            tracing::warn!(group = %self.id, %error, "cannot delete the group");
            error.for_coordinator()
        })
    }

    fn delete_metadata(&mut self, env: &Env<'_>) -> Result<(), StoreError> {
        env.log.append(&[Key::Group(self.id.clone()).tombstone()], env.now.wall_ms, None)?;
        tracing::info!(group = %self.id, "group deleted");
        self.die(env.now);
        Ok(())
    }
}

fn committed(
    partition: &OffsetCommitRequestPartition,
    retention_time_ms: i64,
    now_ms: i64,
) -> CommittedOffset {
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref().map(own).unwrap_or_default(),
        commit_ms: now_ms,
        expire_ms: (retention_time_ms >= 0).then(|| now_ms.saturating_add(retention_time_ms)),
    }
}

/// The answer that refuses every partition.
pub(crate) fn refuse_commit(
    request: &OffsetCommitRequest,
    error: ResponseError,
) -> Vec<OffsetCommitResponseTopic> {
    commit_response(request, |_, _| Some(error))
}

fn commit_response(
    request: &OffsetCommitRequest,
    result: impl Fn(&str, &OffsetCommitRequestPartition) -> Option<ResponseError>,
) -> Vec<OffsetCommitResponseTopic> {
    let topic = |topic: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic| {
        let partition = |partition: &OffsetCommitRequestPartition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(result(&topic.name, partition).map_or(0, |error| error.code()))
        };
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    request.topics.iter().map(topic).collect()
}
