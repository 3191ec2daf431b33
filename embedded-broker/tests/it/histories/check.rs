//! What must hold after each death of the broker, as a consumer sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::*;
use kafka_protocol::records::RecordBatchDecoder;

use super::member::GROUP;
use super::world::World;
use super::{Fate, PARTITIONS, TOPICS, Txn, Written, text};
use crate::support::{fetch_request, topic_name};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const OFFSET_OUT_OF_RANGE: i16 = 1;

impl World {
    /// Offset and value of what a read_committed consumer sees of a partition, by the rules of Kafka's clients.
    fn committed(&mut self, topic: &str, partition: i32) -> Vec<(i64, String)> {
        let (mut at, mut seen) = (self.offset_at(topic, partition, EARLIEST, 0), Vec::new());
        loop {
            let request = fetch_request(topic, partition, at, 0).with_isolation_level(1);
            let response = self.client.ask(12, &request);
            let data = &response.responses[0].partitions[0];
            if data.error_code == OFFSET_OUT_OF_RANGE {
                // Retention was faster.
                at = self.offset_at(topic, partition, EARLIEST, 0);
                continue;
            }
            assert_eq!(data.error_code, 0, "reading {topic}-{partition} from {at}");
            let Some(mut bytes) = data.records.clone().filter(|bytes| !bytes.is_empty()) else {
                assert_eq!(at, data.last_stable_offset.max(at));
                return seen;
            };
            let aborted = data.aborted_transactions.clone().unwrap_or_default();
            let mut ahead: Vec<(i64, i64)> =
                aborted.iter().map(|txn| (txn.first_offset, txn.producer_id.0)).collect();
            ahead.sort_unstable();
            let mut dropping = BTreeSet::new();
            let next = next_offset(&bytes);
            for set in RecordBatchDecoder::decode_all(&mut bytes).unwrap() {
                for record in set.records {
                    let reached = ahead.partition_point(|(first, _)| *first <= record.offset);
                    dropping.extend(ahead.drain(..reached).map(|(_, id)| id));
                    if record.control {
                        dropping.remove(&record.producer_id);
                    } else if record.offset >= at
                        && !(record.transactional && dropping.contains(&record.producer_id))
                    {
                        let value = record.value.unwrap();
                        seen.push((record.offset, String::from_utf8(value.to_vec()).unwrap()));
                    }
                }
            }
            at = next;
        }
    }

    /// Everything that must hold when no transaction is open.
    pub(super) fn check(&mut self) {
        let mut visible: BTreeMap<(&str, i32), Vec<(i64, String)>> = BTreeMap::new();
        let mut starts: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let [stable, end] =
                    [1, 0].map(|isolation| self.offset_at(topic, partition, LATEST, isolation));
                assert_eq!(stable, end, "{topic}-{partition} waits for a transaction that is over");
                let seen = self.committed(topic, partition);
                // What is read before it is known where the log begins may be gone by now, never the other way round.
                let start = self.offset_at(topic, partition, EARLIEST, 0);
                starts.insert((topic, partition), start);
                assert!(topic != "log" || start == 0, "the start of {topic}-{partition}");
                assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets of {topic}-{partition}");
                visible.insert((topic, partition), seen);
            }
        }
        let is_visible = |written: &Written| {
            visible[&(written.topic, written.partition)].iter().any(|(_, value)| *value == written.value)
        };
        let groups = (0..self.producers.len()).map(|at| format!("g-p{at}"));
        let offsets: Vec<i64> = groups.map(|group| self.committed_offset(&group)).collect();
        for txn in self.txns.iter_mut().filter(|txn| txn.fate == Fate::Unknown) {
            // Anything of it that shows says that it was committed; then all of it must.
            let shows = txn.records.iter().any(is_visible) || txn.offset == Some(offsets[txn.producer]);
            txn.fate = if shows { Fate::Committed } else { Fate::Aborted };
        }
        self.check_records(&visible, &starts);
        self.check_offsets(&offsets);
        self.check_member();
    }

    /// The member's last commit counts; one that was never answered may.
    fn check_member(&mut self) {
        let found = self.committed_offset(GROUP);
        let unanswered = self.member.unanswered.take();
        assert!(
            found == self.member.committed || Some(found) == unanswered,
            "the member's offset is {found}: {:?}, {unanswered:?}",
            self.member
        );
        self.member.committed = found;
    }

    fn check_records(
        &self,
        visible: &BTreeMap<(&str, i32), Vec<(i64, String)>>,
        starts: &BTreeMap<(&str, i32), i64>,
    ) {
        let of_fate = |fate| self.txns.iter().filter(move |txn| txn.fate == fate);
        let committed = of_fate(Fate::Committed).flat_map(|txn| &txn.records).chain(&self.plain_records);
        let mut expected: BTreeMap<(&str, i32), BTreeMap<&str, &Written>> = BTreeMap::new();
        for written in committed {
            let place = expected.entry((written.topic, written.partition)).or_default();
            assert!(place.insert(&written.value, written).is_none());
        }
        for (place, seen) in visible {
            let none = BTreeMap::new();
            let expected = expected.get(place).unwrap_or(&none);
            for (offset, value) in seen {
                let written = expected.get(&**value);
                let written = written.unwrap_or_else(|| {
                    let is_its = |txn: &&Txn| txn.records.iter().any(|written| written.value == *value);
                    let txn = self.txns.iter().find(is_its);
                    panic!(
                        "{value} at {offset} of {place:?} was not committed: {txn:?}, start {}",
                        starts[place]
                    )
                });
                assert!(written.offset < 0 || written.offset == *offset, "{written:?} is at {offset}");
            }
            let values: BTreeSet<&str> = seen.iter().map(|(_, value)| &**value).collect();
            assert_eq!(values.len(), seen.len(), "something is twice in {place:?}");
            let mut last: HashMap<&str, &Written> = HashMap::new();
            for written in expected.values() {
                let newest = last.entry(&written.key).or_insert(written);
                if newest.offset < written.offset {
                    *newest = written;
                }
                let is_kept = place.0 != "table" && written.offset >= starts[place];
                assert!(!is_kept || values.contains(&*written.value), "{written:?} is missing");
            }
            for written in last.values().filter(|written| written.offset >= starts[place]) {
                assert!(values.contains(&*written.value), "the last of its key is missing: {written:?}");
            }
        }
    }

    fn check_offsets(&self, found: &[i64]) {
        for (at, found) in found.iter().enumerate() {
            let of_producer =
                self.txns.iter().filter(|txn| txn.producer == at && txn.fate == Fate::Committed);
            let expected = of_producer.filter_map(|txn| txn.offset).max().unwrap_or(-1);
            assert_eq!(*found, expected, "offset of p{at}");
        }
    }

    fn committed_offset(&mut self, group: &str) -> i64 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name("log")).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
        let response = self.client.ask(8, &request);
        let found = &response.groups[0].topics[0].partitions[0];
        assert_eq!(found.error_code, 0, "offset of {group}");
        found.committed_offset
    }

    fn offset_at(&mut self, topic: &str, partition: i32, time: i64, isolation: i8) -> i64 {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(time);
        let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        self.client.ask(5, &request).topics[0].partitions[0].offset
    }
}

/// The offset after the last of some whole batches.
fn next_offset(bytes: &Bytes) -> i64 {
    let (mut at, mut next) = (0, 0);
    while let Some(header) = bytes.get(at..at + 27) {
        let field = |from: usize| i32::from_be_bytes(header[from..from + 4].try_into().unwrap());
        next = i64::from_be_bytes(header[..8].try_into().unwrap()) + i64::from(field(23)) + 1;
        at += field(8) as usize + 12;
    }
    next
}
