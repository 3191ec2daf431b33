//! Transactions against a plain model while the broker is killed: random histories of transactional and idempotent
//! producers of both client generations, with compaction, timeouts and offsets in transactions.
//!
//! After each kill: every transaction is whole or aborted, its offsets with it; nothing acknowledged is missing, nothing is
//! there twice, nothing aborted shows; no partition waits for a transaction that is over. The seed is printed;
//! `TXN_SEED` repeats a history (but for the moment of the kill), `TXN_ROUNDS` makes it longer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::crash::Process;
use crate::support::{Client, PATIENCE, fetch_request, frame, produce_request, topic_name};

/// One is compacted, one is not.
const TOPICS: [&str; 2] = ["log", "table"];
const PARTITIONS: i32 = 2;
/// INVALID_PRODUCER_EPOCH, PRODUCER_FENCED: a transaction that timed out.
const FENCED: [i16; 2] = [47, 90];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
    /// A commit was asked for and the broker killed: all or nothing.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    topic: &'static str,
    partition: i32,
    key: String,
    value: String,
    /// -1 while it is not acknowledged.
    offset: i64,
}

#[derive(Debug)]
struct Txn {
    producer: usize,
    fate: Fate,
    records: Vec<Written>,
    /// The offset committed in it.
    offset: Option<i64>,
}

#[derive(Debug)]
struct Producer {
    name: String,
    /// Takes a new epoch with each transaction (KIP-890).
    bumps: bool,
    timeout_ms: i32,
    id: ProducerId,
    epoch: i16,
    sequences: HashMap<(&'static str, i32), i32>,
    open: Option<usize>,
    enlisted: BTreeSet<(&'static str, i32)>,
}

struct World {
    process: Process,
    client: Client,
    rng: Rng,
    producers: Vec<Producer>,
    txns: Vec<Txn>,
    /// The idempotent producer's id, its next sequence numbers, and what it wrote.
    plain: (i64, HashMap<(&'static str, i32), i32>),
    plain_records: Vec<Written>,
    serial: usize,
}

fn batch(records: &[Written], producer: (i64, i16, i32), transactional: bool) -> Bytes {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = now.as_millis() as i64;
    let record = |(at, written): (usize, &Written)| Record {
        transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.0,
        producer_epoch: producer.1,
        timestamp_type: TimestampType::Creation,
        offset: at as i64,
        sequence: producer.2 + at as i32,
        timestamp: now_ms,
        key: Some(Bytes::copy_from_slice(written.key.as_bytes())),
        value: Some(Bytes::copy_from_slice(written.value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = records.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

fn start(dir: &Path) -> Process {
    let settings = [
        "log.cleaner.backoff.ms=20",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=20",
        "offsets.topic.segment.bytes=4000",
        "transaction.state.log.segment.bytes=4000",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--config", setting]).collect();
    Process::start(dir, &arguments)
}

impl World {
    fn new(dir: &Path, seed: u64) -> Self {
        let process = start(dir);
        let mut client = Client::connect(&process.address);
        assert_eq!(client.create_topic("log", PARTITIONS, &[("segment.bytes", "3000")]), 0);
        let table = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "2000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "50"),
            ("file.delete.delay.ms", "0"),
        ];
        assert_eq!(client.create_topic("table", PARTITIONS, &table), 0);
        let plain =
            client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).producer_id.0;
        let producers = (0..5).map(|at| Producer {
            name: format!("p{at}"),
            bumps: at % 2 == 0,
            // The last one is too slow, now and then.
            timeout_ms: if at == 4 { 150 } else { 60_000 },
            id: ProducerId(-1),
            epoch: -1,
            sequences: HashMap::new(),
            open: None,
            enlisted: BTreeSet::new(),
        });
        let mut world = World {
            process,
            client,
            rng: Rng(seed),
            producers: producers.collect(),
            txns: Vec::new(),
            plain: (plain, HashMap::new()),
            plain_records: Vec::new(),
            serial: 0,
        };
        (0..world.producers.len()).for_each(|at| world.init(at));
        world
    }

    /// A new instance: what the old one left open is aborted.
    fn init(&mut self, at: usize) {
        let producer = &mut self.producers[at];
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(&producer.name))))
            .with_transaction_timeout_ms(producer.timeout_ms);
        let response = self.client.ask(4, &request);
        assert_eq!(response.error_code, 0);
        (producer.id, producer.epoch) = (response.producer_id, response.producer_epoch);
        producer.sequences.clear();
        self.ended(at, Fate::Aborted);
    }

    fn ended(&mut self, at: usize, fate: Fate) {
        let producer = &mut self.producers[at];
        producer.enlisted.clear();
        if let Some(txn) = producer.open.take().filter(|txn| self.txns[*txn].fate == Fate::Open) {
            self.txns[txn].fate = fate;
        }
    }

    fn open(&mut self, at: usize) -> usize {
        let next = self.txns.len();
        let open = *self.producers[at].open.get_or_insert(next);
        if open == next {
            self.txns.push(Txn { producer: at, fate: Fate::Open, records: Vec::new(), offset: None });
        }
        open
    }

    fn some_records(&mut self, prefix: &str) -> Vec<Written> {
        let topic = TOPICS[self.rng.below(2)];
        let partition = self.rng.below(PARTITIONS as usize) as i32;
        let count = 1 + self.rng.below(3);
        (0..count)
            .map(|_| {
                self.serial += 1;
                let key = format!("k{}", self.rng.below(6));
                Written { topic, partition, key, value: format!("{prefix}-{}", self.serial), offset: -1 }
            })
            .collect()
    }

    /// A request that writes within the producer's transaction, its version, and what it writes.
    fn write_request(&mut self, at: usize) -> Option<(i16, ProduceRequest, Vec<Written>)> {
        let txn = self.open(at);
        let records = self.some_records(&format!("{}-t{txn}", self.producers[at].name));
        let (topic, partition) = (records[0].topic, records[0].partition);
        if !self.producers[at].bumps && !self.producers[at].enlisted.contains(&(topic, partition)) {
            let producer = &self.producers[at];
            let added = AddPartitionsToTxnTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]);
            let request = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(text(&producer.name)))
                .with_v3_and_below_producer_id(producer.id)
                .with_v3_and_below_producer_epoch(producer.epoch)
                .with_v3_and_below_topics(vec![added]);
            let response = self.client.ask(3, &request);
            let code = response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            if self.is_fenced(at, code) {
                return None;
            }
            self.producers[at].enlisted.insert((topic, partition));
        }
        let producer = &self.producers[at];
        let sequence = producer.sequences.get(&(topic, partition)).copied().unwrap_or(0);
        let bytes = batch(&records, (producer.id.0, producer.epoch, sequence), true);
        let request = produce_request(topic, partition, bytes, -1)
            .with_transactional_id(Some(TransactionalId(text(&producer.name))));
        Some((if producer.bumps { 12 } else { 9 }, request, records))
    }

    fn write(&mut self, at: usize) {
        let Some((version, request, mut records)) = self.write_request(at) else { return };
        let response = self.client.ask(version, &request);
        let partition = &response.responses[0].partition_responses[0];
        if self.is_fenced(at, partition.error_code) {
            return;
        }
        for (record, offset) in records.iter_mut().zip(partition.base_offset..) {
            record.offset = offset;
        }
        let place = (records[0].topic, records[0].partition);
        *self.producers[at].sequences.entry(place).or_default() += records.len() as i32;
        let txn = self.open(at);
        self.txns[txn].records.append(&mut records);
    }

    fn commit_offset(&mut self, at: usize) {
        let txn = self.open(at);
        let producer = &self.producers[at];
        let (id, group) =
            (TransactionalId(text(&producer.name)), GroupId(text(&format!("g-{}", producer.name))));
        if !producer.bumps {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(id.clone())
                .with_producer_id(producer.id)
                .with_producer_epoch(producer.epoch)
                .with_group_id(group.clone());
            let code = self.client.ask(3, &request).error_code;
            if self.is_fenced(at, code) {
                return;
            }
        }
        let producer = &self.producers[at];
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(txn as i64)
            .with_committed_metadata(Some(text("")));
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name("log"))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id)
            .with_group_id(group)
            .with_producer_id(producer.id)
            .with_producer_epoch(producer.epoch)
            .with_topics(vec![topic]);
        let response = self.client.ask(if producer.bumps { 5 } else { 3 }, &request);
        if !self.is_fenced(at, response.topics[0].partitions[0].error_code) {
            self.txns[txn].offset = Some(txn as i64);
        }
    }

    fn end_request(&self, at: usize, commit: bool) -> (i16, EndTxnRequest) {
        let producer = &self.producers[at];
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&producer.name)))
            .with_producer_id(producer.id)
            .with_producer_epoch(producer.epoch)
            .with_committed(commit);
        (if producer.bumps { 5 } else { 3 }, request)
    }

    fn end(&mut self, at: usize, commit: bool) {
        let (version, request) = self.end_request(at, commit);
        let response = self.client.ask(version, &request);
        if self.is_fenced(at, response.error_code) {
            return;
        }
        let producer = &mut self.producers[at];
        if producer.bumps {
            (producer.id, producer.epoch) = (response.producer_id, response.producer_epoch);
            producer.sequences.clear();
        }
        // The slow one may learn that what it wants aborted is.
        self.ended(at, if commit { Fate::Committed } else { Fate::Aborted });
    }

    /// A transaction that took too long was aborted; its producer begins anew.
    fn is_fenced(&mut self, at: usize, code: i16) -> bool {
        if code == 0 {
            return false;
        }
        let slow = self.producers[at].timeout_ms < 1_000;
        assert!(slow && FENCED.contains(&code), "{} got error {code}", self.producers[at].name);
        self.init(at);
        true
    }

    fn write_plain(&mut self) {
        let records = self.some_records("plain");
        let place = (records[0].topic, records[0].partition);
        let request = self.plain_request(&records);
        let response = self.client.ask(9, &request);
        self.plain_written(place, records, &response);
    }

    fn plain_request(&self, records: &[Written]) -> ProduceRequest {
        let (topic, partition) = (records[0].topic, records[0].partition);
        let sequence = self.plain.1.get(&(topic, partition)).copied().unwrap_or(0);
        produce_request(topic, partition, batch(records, (self.plain.0, 0, sequence), false), -1)
    }

    fn plain_written(
        &mut self,
        place: (&'static str, i32),
        mut records: Vec<Written>,
        response: &ProduceResponse,
    ) {
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0);
        for (record, offset) in records.iter_mut().zip(partition.base_offset..) {
            record.offset = offset;
        }
        *self.plain.1.entry(place).or_default() += records.len() as i32;
        self.plain_records.append(&mut records);
    }

    fn step(&mut self) {
        let at = self.rng.below(self.producers.len());
        match self.rng.below(20) {
            0..=7 => self.write(at),
            8..=10 => self.commit_offset(at),
            11..=14 if self.producers[at].open.is_some() => self.end(at, true),
            15..=16 if self.producers[at].open.is_some() => self.end(at, false),
            17 => self.init(at),
            _ => self.write_plain(),
        }
    }

    /// Kills the broker, most times while it works on a request, and starts it again.
    fn kill(&mut self, dir: &Path) {
        let at = self.rng.below(self.producers.len());
        let pause = Duration::from_micros(self.rng.below(1_500) as u64);
        let mut again = None;
        match self.rng.below(4) {
            0 if self.producers[at].open.is_some() => {
                let (version, request) = self.end_request(at, true);
                self.send(&frame(version, &request));
                let txn = self.open(at);
                self.txns[txn].fate = Fate::Unknown;
            }
            1 => {
                if let Some((version, request, _)) = self.write_request(at) {
                    self.send(&frame(version, &request));
                }
            }
            2 => {
                let records = self.some_records("plain");
                let request = self.plain_request(&records);
                self.send(&frame(9, &request));
                again = Some((records, request));
            }
            _ => {}
        }
        std::thread::sleep(pause);
        self.process.signal("-KILL");
        self.process = start(dir);
        self.client = Client::connect(&self.process.address);
        if let Some((records, request)) = again {
            let response = self.client.ask(9, &request);
            self.plain_written((records[0].topic, records[0].partition), records, &response);
        }
        (0..self.producers.len()).for_each(|at| self.init(at));
    }

    fn send(&mut self, frame: &[u8]) {
        use std::io::Write;
        self.client.socket.write_all(frame).unwrap();
    }

    /// Offset and value of what a read_committed consumer sees of a partition, by the rules of Kafka's clients.
    fn committed(&mut self, topic: &str, partition: i32) -> Vec<(i64, String)> {
        let (mut at, mut seen) = (0, Vec::new());
        loop {
            let request = fetch_request(topic, partition, at, 0).with_isolation_level(1);
            let response = self.client.ask(12, &request);
            let data = &response.responses[0].partitions[0];
            assert_eq!(data.error_code, 0);
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
    fn check(&mut self) {
        let mut visible: BTreeMap<(&str, i32), Vec<(i64, String)>> = BTreeMap::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let [stable, end] = [1, 0].map(|isolation| self.latest(topic, partition, isolation));
                assert_eq!(stable, end, "{topic}-{partition} waits for a transaction that is over");
                let seen = self.committed(topic, partition);
                assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets of {topic}-{partition}");
                visible.insert((topic, partition), seen);
            }
        }
        let is_visible = |written: &Written| {
            visible[&(written.topic, written.partition)].iter().any(|(_, value)| *value == written.value)
        };
        let offsets: Vec<i64> = (0..self.producers.len()).map(|at| self.committed_offset(at)).collect();
        for txn in self.txns.iter_mut().filter(|txn| txn.fate == Fate::Unknown) {
            // Anything of it that shows says that it was committed; then all of it must.
            let shows = txn.records.iter().any(is_visible) || txn.offset == Some(offsets[txn.producer]);
            txn.fate = if shows { Fate::Committed } else { Fate::Aborted };
        }
        self.check_records(&visible);
        self.check_offsets(&offsets);
    }

    fn check_records(&self, visible: &BTreeMap<(&str, i32), Vec<(i64, String)>>) {
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
                let written =
                    written.unwrap_or_else(|| panic!("{value} at {offset} of {place:?} was not committed"));
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
                assert!(place.0 == "table" || values.contains(&*written.value), "{written:?} is missing");
            }
            for written in last.values() {
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

    fn committed_offset(&mut self, at: usize) -> i64 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name("log")).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(&format!("g-p{at}"))))
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
        let response = self.client.ask(8, &request);
        let found = &response.groups[0].topics[0].partitions[0];
        assert_eq!(found.error_code, 0, "offset of p{at}");
        found.committed_offset
    }

    fn latest(&mut self, topic: &str, partition: i32, isolation: i8) -> i64 {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(-1);
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

#[test]
fn every_transaction_is_whole_or_aborted_whenever_the_broker_is_killed() {
    let from_env = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = from_env("TXN_SEED").unwrap_or(now.as_nanos() as u64);
    println!("TXN_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), seed);
    let deadline = std::time::Instant::now() + PATIENCE * 5;
    for round in 0..from_env("TXN_ROUNDS").unwrap_or(8) {
        let steps = 20 + world.rng.below(120);
        (0..steps).for_each(|_| world.step());
        world.kill(dir.path());
        world.check();
        let committed = world.txns.iter().filter(|txn| txn.fate == Fate::Committed).count();
        println!("round {round}: {} transactions, {committed} committed", world.txns.len());
        assert!(std::time::Instant::now() < deadline || from_env("TXN_ROUNDS").is_some(), "too slow");
    }
}
