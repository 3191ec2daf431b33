//! librdkafka members in a group: lost members, static members, restarts of the broker, expiry.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{JoinGroupRequest, SyncGroupRequest};
use kstreams_embedded_broker::{BrokerConfig, ManualClock};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::groups::{joining, syncing};
use crate::support::{Broker, Client, PATIENCE, block_on};

/// Counts the assignments a member received, and those that left it with less than all of `t`.
#[derive(Default)]
struct Rebalances {
    assigned: AtomicUsize,
    shared: AtomicUsize,
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.assigned.fetch_add(1, Ordering::SeqCst);
            if member.assignment().unwrap().count() < PARTITIONS {
                self.shared.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Of the topic `t`.
const PARTITIONS: usize = 4;

type Member = BaseConsumer<Rebalances>;

fn member(address: &str, extra: &[(&str, &str)]) -> Member {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "g").set("enable.auto.commit", "false");
    // Quick to notice each other and the broker's return.
    config.set("heartbeat.interval.ms", "100");
    config.set("reconnect.backoff.max.ms", "200").set("auto.offset.reset", "earliest");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    let member: Member = config.create_with_context(Rebalances::default()).unwrap();
    member.subscribe(&["t"]).unwrap();
    member
}

fn rebalances(member: &Member) -> usize {
    member.context().assigned.load(Ordering::SeqCst)
}

fn assigned(member: &Member) -> usize {
    member.assignment().unwrap().count()
}

fn config() -> BrokerConfig {
    BrokerConfig::new().set("group.min.session.timeout.ms", &LOST_SESSION_MS.to_string()).unwrap()
}

fn start(config: BrokerConfig) -> Broker {
    let broker = Broker::start_with(config);
    broker.connect().create_topic("t", PARTITIONS as i32, &[]);
    broker
}

/// Serves the members (heartbeats are librdkafka's own, rebalances need polls) until `done`.
fn poll_until(members: &[&Member], what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        for member in members {
            // Lost connections are told as errors.
            let _ = member.poll(Duration::from_millis(10));
        }
    }
}

/// Long enough for the few requests of a join on a busy machine.
const LOST_SESSION_MS: i32 = 4_000;

#[test]
fn a_lost_members_partitions_go_to_the_others_after_its_session() {
    for strategy in ["range", "cooperative-sticky"] {
        let broker = start(config());
        let stays = member(&broker.address, &[("partition.assignment.strategy", strategy)]);
        poll_until(&[&stays], "the first assignment", || assigned(&stays) == 4);

        // A member that joins properly and then is never heard of again.
        let mut lost = broker.connect();
        let mut request = joining("g", "").with_session_timeout_ms(LOST_SESSION_MS);
        request.protocols[0].name = strategy.to_owned().into();
        let id = lost.ask(9, &request).member_id;
        lost.send(9, &request.with_member_id(id.clone()));
        let generation =
            wait_for(&mut lost, &[&stays], |lost| lost.receive::<JoinGroupRequest>(9)).generation_id;
        let sync = syncing("g", generation, &id, &[]).with_protocol_name(Some(strategy.to_owned().into()));
        lost.send(5, &sync);
        wait_for(&mut lost, &[&stays], |lost| lost.receive::<SyncGroupRequest>(5));
        drop(lost);
        let shared = || stays.context().shared.load(Ordering::SeqCst);
        // By count: it may have all again before this thread looks.
        poll_until(&[&stays], "the member has lost some", || shared() > 0);
        poll_until(&[&stays], "the member has all again", || assigned(&stays) == 4);
    }
}

/// Receives an answer that needs the other members to be served.
fn wait_for<R: Send>(
    client: &mut Client,
    members: &[&Member],
    receive: impl FnOnce(&mut Client) -> R + Send,
) -> R {
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| receive(client));
        poll_until(members, "an answer", || answer.is_finished());
        answer.join().unwrap()
    })
}

#[test]
fn a_restarted_static_member_takes_its_place_without_a_rebalance() {
    let broker = start(config());
    let instance = |id| [("group.instance.id", id)];
    let first = member(&broker.address, &instance("a"));
    poll_until(&[&first], "the first assignment", || assigned(&first) == 4);
    let second = member(&broker.address, &instance("b"));
    poll_until(&[&first, &second], "two each", || assigned(&first) == 2 && assigned(&second) == 2);
    let (before, had) = (rebalances(&first), partitions(&second));

    // Static members don't leave when they close.
    drop(second);
    let second = member(&broker.address, &instance("b"));
    poll_until(&[&first, &second], "its partitions back", || assigned(&second) == 2);
    assert_eq!(partitions(&second), had);
    assert_eq!((assigned(&first), rebalances(&first)), (2, before), "the other did not notice");

    // A second process with the same instance fences the first.
    let thief = member(&broker.address, &instance("b"));
    let fenced = || second.client().fatal_error().map(|(code, _)| code);
    poll_until(&[&first, &second, &thief], "it is fenced", || fenced().is_some());
    assert_eq!(fenced(), Some(RDKafkaErrorCode::FencedInstanceId));
}

/// The numbers of the partitions assigned. The list itself must not outlive the consumer: librdkafka would wait for it
/// in the consumer's drop.
fn partitions(member: &Member) -> Vec<i32> {
    member.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

#[test]
fn a_live_group_carries_on_through_a_restart_of_the_broker() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(config().data_dir(dir.path()));
        let address = broker.address.clone();
        let (first, second) = (member(&address, &[]), member(&address, &[]));
        let both = [&first, &second];
        poll_until(&both, "two each", || both.iter().all(|member| assigned(member) == 2));
        let before = both.map(rebalances);
        commit(&first, "t", 3);

        let broker = restart(broker, clean, dir.path(), &address);
        assert_eq!(committed(&first, "t"), Offset::Offset(3), "clean: {clean}");
        // Heartbeats and commits go on; a rebalance would show within some heartbeat intervals.
        let until = Instant::now() + Duration::from_secs(1);
        poll_until(&both, "a second of heartbeats", || Instant::now() > until);
        commit(&second, "t", 4);
        assert_eq!(both.map(rebalances), before, "clean: {clean}");

        // And the group rebalances as ever.
        drop(second);
        poll_until(&[&first], "all partitions", || assigned(&first) == 4);
        broker.stop();
    }
}

fn restart(broker: Broker, clean: bool, dir: &Path, address: &str) -> Broker {
    if clean {
        broker.stop()
    } else {
        drop(broker)
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let config = config().data_dir(dir).listen(address);
        // A broker that was dropped may still be giving up its port and directory.
        match block_on(kstreams_embedded_broker::EmbeddedBroker::start(config)) {
            Ok(running) => return Broker::from(running),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn commit(member: &Member, topic: &str, offset: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // The connection may just be coming back.
    while let Err(error) = member.commit(&offsets, CommitMode::Sync) {
        assert!(Instant::now() < deadline, "{error}");
    }
}

fn committed(member: &Member, topic: &str) -> Offset {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition(topic, 0);
    member.committed_offsets(offsets, PATIENCE).unwrap().find_partition(topic, 0).unwrap().offset()
}

#[test]
fn offsets_outside_the_subscription_expire_under_a_live_group() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let config = config()
        .set("offsets.retention.minutes", "1")
        .unwrap()
        .set("offsets.retention.check.interval.ms", "20")
        .unwrap()
        .clock(clock.clone());
    let broker = start(config);
    broker.connect().create_topic("beside", 1, &[]);
    let member = member(&broker.address, &[]);
    poll_until(&[&member], "the assignment", || assigned(&member) == 4);
    commit(&member, "t", 3);
    commit(&member, "beside", 4);
    clock.advance(59_000);
    assert_eq!(committed(&member, "beside"), Offset::Offset(4));
    clock.advance(2_000);
    poll_until(&[&member], "the expiry", || committed(&member, "beside") == Offset::Invalid);
    assert_eq!(committed(&member, "t"), Offset::Offset(3));
    // Without members the rest expires, and with it the group.
    drop(member);
    clock.advance(61_000);
    let mut client = broker.connect();
    crate::support::eventually("the group is gone", || {
        client.ask(5, &kafka_protocol::messages::ListGroupsRequest::default()).groups.is_empty()
    });
}
