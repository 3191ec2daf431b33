//! The clients of a history: what they ask of the broker, and what they know of its answers.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use super::host::Host;
use super::member::Member;
use super::{Fate, PARTITIONS, Producer, Rng, TOPICS, Txn, Written, text};
use crate::support::{Client, frame, produce_request, topic_name};

/// INVALID_PRODUCER_EPOCH, PRODUCER_FENCED: a transaction that timed out.
const FENCED: [i16; 2] = [47, 90];

pub(super) struct World {
    host: Host,
    pub(super) client: Client,
    pub(super) member: Member,
    pub(super) rng: Rng,
    pub(super) producers: Vec<Producer>,
    pub(super) txns: Vec<Txn>,
    /// The idempotent producer's id, its next sequence numbers, and what it wrote.
    plain: (i64, HashMap<(&'static str, i32), i32>),
    pub(super) plain_records: Vec<Written>,
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

impl World {
    pub(super) fn new(host: Host, seed: u64) -> Self {
        let mut client = Client::connect(host.address());
        assert_eq!(client.create_topic("log", PARTITIONS, &[("segment.bytes", "3000")]), 0);
        let table = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "2000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "50"),
            ("file.delete.delay.ms", "0"),
        ];
        assert_eq!(client.create_topic("table", PARTITIONS, &table), 0);
        let recent = [("segment.bytes", "2000"), ("retention.bytes", "5000"), ("file.delete.delay.ms", "0")];
        assert_eq!(client.create_topic("recent", PARTITIONS, &recent), 0);
        let member = Member::join(&mut client);
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
            host,
            client,
            member,
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
        let topic = TOPICS[self.rng.below(TOPICS.len())];
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

    pub(super) fn step(&mut self) {
        let at = self.rng.below(self.producers.len());
        match self.rng.below(23) {
            0..=7 => self.write(at),
            8..=10 => self.commit_offset(at),
            11..=14 if self.producers[at].open.is_some() => self.end(at, true),
            15..=16 if self.producers[at].open.is_some() => self.end(at, false),
            17 => self.init(at),
            18 | 19 => self.member.commit(&mut self.client),
            20 => self.member.join_again(&mut self.client),
            _ => self.write_plain(),
        }
    }

    /// The broker dies, most times while it works on a request, and comes back.
    pub(super) fn die(&mut self) {
        let at = self.rng.below(self.producers.len());
        let pause = Duration::from_micros(self.rng.below(1_500) as u64);
        let again = self.last_request(at);
        std::thread::sleep(pause);
        self.host.die_and_come_back(&mut self.rng);
        self.client = Client::connect(self.host.address());
        if let Some((records, request)) = again {
            let response = self.client.ask(9, &request);
            self.plain_written((records[0].topic, records[0].partition), records, &response);
        }
        (0..self.producers.len()).for_each(|at| self.init(at));
        self.member.come_back(&mut self.client);
    }

    /// Sends a request whose answer nobody will see; answers what is to be sent again.
    fn last_request(&mut self, at: usize) -> Option<(Vec<Written>, ProduceRequest)> {
        match self.rng.below(5) {
            0 if self.producers[at].open.is_some() => {
                let (version, request) = self.end_request(at, true);
                let txn = self.open(at);
                self.txns[txn].fate = Fate::Unknown;
                self.send_last(&frame(version, &request));
            }
            1 => {
                if let Some((version, request, _)) = self.write_request(at) {
                    self.send_last(&frame(version, &request));
                }
            }
            2 => {
                let records = self.some_records("plain");
                let request = self.plain_request(&records);
                self.send_last(&frame(9, &request));
                return Some((records, request));
            }
            3 => {
                let request = self.member.next_commit();
                self.member.never_answered();
                self.send_last(&frame(7, &request));
            }
            _ => {}
        }
        None
    }

    fn send_last(&mut self, frame: &[u8]) {
        self.host.before_the_end(&mut self.rng);
        self.client.socket.write_all(frame).unwrap();
    }
}
