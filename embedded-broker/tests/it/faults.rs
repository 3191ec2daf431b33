//! Injected faults as librdkafka meets them: what it sends again, what it waits for, and that nothing is lost or doubled.

use std::time::{Duration, Instant};

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use kstreams_embedded_broker::BrokerConfig;
use kstreams_embedded_broker::fault::{ApiKey, Coordinator, Fault, ResponseError};

use crate::clients::{config, consumer, create, poll_until, produce};
use crate::support::{Broker, PATIENCE, eventually};

fn producer(broker: &Broker, extra: &[(&str, &str)]) -> BaseProducer {
    let mut config = config(broker);
    config.set("enable.idempotence", "true").set("linger.ms", "0").set("retry.backoff.ms", "10");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// Reads a partition from its beginning, until `count` records were seen.
fn read(broker: &Broker, topic: &str, partition: i32, count: usize) -> Vec<String> {
    let consumer = consumer(broker, "reader", &[]);
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let mut values = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while values.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records", values.len());
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            values.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
        }
    }
    values
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn an_idempotent_producer_survives_refusals_lost_answers_and_broken_connections() {
    let broker = Broker::start();
    create(&broker, "t", 1);
    let producer = producer(&broker, &[]);
    let faults = broker.faults();
    produce(&producer, "t", 0, numbers(0..10).into_iter());
    let effects = [
        Fault::refuse(ResponseError::NotEnoughReplicas),
        Fault::disconnect(),
        Fault::lose_answer(),
        Fault::delay(Duration::from_millis(100)),
    ];
    let mut sent = 10;
    for effect in effects {
        let fault = faults.inject(effect.clone().api(ApiKey::Produce).times(2));
        produce(&producer, "t", 0, numbers(sent..sent + 10).into_iter());
        sent += 10;
        // One that is only late is not sent again.
        assert!(fault.hits() >= 1, "{effect:?}");
    }
    assert!(faults.cut_connections() > 0);
    produce(&producer, "t", 0, numbers(sent..sent + 10).into_iter());
    assert_eq!(read(&broker, "t", 0, sent + 10), numbers(0..sent + 10));
    let mut raw = broker.connect();
    assert_eq!(raw.fetch("t", 0, 0).len(), sent + 10, "nothing behind them");
}

#[test]
fn a_fault_meets_only_the_client_it_is_for() {
    let broker = Broker::start();
    create(&broker, "t", 1);
    let (one, two) = (producer(&broker, &[("client.id", "one")]), producer(&broker, &[("client.id", "two")]));
    let fault = broker.faults().inject(Fault::hold().api(ApiKey::Produce).client("one"));
    one.send(BaseRecord::<(), str>::to("t").partition(0).payload("held")).unwrap();
    eventually("the request is held", || {
        one.poll(Duration::ZERO);
        fault.hits() == 1
    });
    produce(&two, "t", 0, ["free".to_owned()].into_iter());
    assert_eq!(broker.connect().fetch("t", 0, 0), ["free"]);
    fault.lift();
    one.flush(PATIENCE).unwrap();
    assert_eq!(broker.connect().fetch("t", 0, 0), ["free", "held"]);
    assert_eq!(broker.faults().cut_connections_of("nobody"), 0);
    assert!(broker.faults().cut_connections_of("two") >= 1);
}

#[test]
fn a_paused_partition_waits_while_another_goes_on() {
    let broker = Broker::start();
    create(&broker, "t", 2);
    let producer = producer(&broker, &[("request.timeout.ms", "1000")]);
    produce(&producer, "t", 0, ["before".to_owned()].into_iter());
    broker.faults().pause_partition("t", 0);
    // A consumer that wants to know finds the partition's end, but nothing to read.
    assert_eq!(broker.connect().fetch("t", 0, 0), Vec::<String>::new());
    producer.send(BaseRecord::<(), str>::to("t").partition(0).payload("paused")).unwrap();
    assert!(matches!(
        producer.flush(Duration::from_millis(300)),
        Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut))
    ));
    let other = self::producer(&broker, &[]);
    produce(&other, "t", 1, ["other".to_owned()].into_iter());
    assert_eq!(read(&broker, "t", 1, 1), ["other"]);
    broker.faults().resume_partition("t", 0);
    producer.flush(PATIENCE).unwrap();
    assert_eq!(read(&broker, "t", 0, 2), ["before", "paused"]);
}

#[test]
fn a_produce_request_to_a_paused_partition_times_out_by_its_own_timeout() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    broker.faults().pause_partition("t", 0);
    let request =
        crate::support::produce_request("t", 0, crate::support::batch(&["x"]), -1).with_timeout_ms(50);
    let response = client.ask(9, &request);
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ResponseError::RequestTimedOut.code());
    broker.faults().clear();
    assert_eq!(client.fetch("t", 0, 0), Vec::<String>::new(), "without effect");
}

/// A transaction goes on where it was, whatever of it had been done before its coordinator was lost.
#[test]
fn transactions_outlive_the_loss_of_their_coordinator() {
    let broker = Broker::start();
    create(&broker, "t", 2);
    let producer = producer(&broker, &[("transactional.id", "tx")]);
    producer.init_transactions(PATIENCE).unwrap();
    let lose = || {
        broker.faults().lose_coordinator(Coordinator::Transaction);
        let find =
            FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("tx")).with_key_type(1);
        let answer = broker.connect().ask(3, &find);
        assert_eq!(answer.error_code, ResponseError::CoordinatorNotAvailable.code());
        broker.faults().restore_coordinator(Coordinator::Transaction).unwrap();
    };
    for round in 0..3 {
        producer.begin_transaction().unwrap();
        produce(&producer, "t", 0, [format!("a{round}")].into_iter());
        if round > 0 {
            lose();
        }
        // A partition that the transaction didn't have before.
        produce(&producer, "t", 1, [format!("b{round}")].into_iter());
        if round == 1 {
            producer.abort_transaction(PATIENCE).unwrap();
        } else {
            producer.commit_transaction(PATIENCE).unwrap();
        }
    }
    // The reader reads what is committed, as librdkafka does by default.
    assert_eq!(read(&broker, "t", 0, 2), ["a0", "a2"]);
    assert_eq!(read(&broker, "t", 1, 2), ["b0", "b2"]);
}

/// A member of a group and what it has read and committed.
fn member(broker: &Broker) -> BaseConsumer {
    consumer(
        broker,
        "g",
        &[("retry.backoff.ms", "10"), ("partition.assignment.strategy", "cooperative-sticky")],
    )
}

#[test]
fn a_group_outlives_the_loss_of_its_coordinator() {
    let broker = Broker::start();
    create(&broker, "t", 2);
    let producer = producer(&broker, &[]);
    let members = [member(&broker), member(&broker)];
    for member in &members {
        member.subscribe(&["t"]).unwrap();
    }
    let both = [&members[0], &members[1]];
    poll_until(&both, "each member has a partition", |_, _| {
        both.iter().all(|member| member.assignment().unwrap().count() == 1)
    });
    for partition in 0..2 {
        produce(&producer, "t", partition, numbers(0..5).into_iter());
    }
    let mut seen = 0;
    poll_until(&both, "all is read", |_, message| {
        seen += usize::from(message.is_some());
        seen == 10
    });
    both.iter().for_each(|member| member.commit_consumer_state(CommitMode::Sync).unwrap());

    let faults = broker.faults();
    faults.lose_coordinator(Coordinator::Group);
    let mut raw = broker.connect();
    let heartbeat = HeartbeatRequest::default().with_group_id(GroupId(StrBytes::from_static_str("g")));
    assert_eq!(raw.ask(4, &heartbeat).error_code, ResponseError::NotCoordinator.code());
    let find = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g"));
    assert_eq!(raw.ask(3, &find).error_code, ResponseError::CoordinatorNotAvailable.code());
    faults.restore_coordinator(Coordinator::Group).unwrap();

    for partition in 0..2 {
        produce(&producer, "t", partition, numbers(5..10).into_iter());
    }
    let mut read = Vec::new();
    poll_until(&both, "what came after is read, once", |_, message| {
        read.extend(message.map(|(partition, offset, _)| (partition, offset)));
        read.len() == 10
    });
    read.sort_unstable();
    let expected: Vec<_> =
        (0..2).flat_map(|partition| (5..10).map(move |offset| (partition, offset))).collect();
    assert_eq!(read, expected, "the members kept their places");
    both.iter().for_each(|member| member.commit_consumer_state(CommitMode::Sync).unwrap());
    let committed = members[0].committed_offsets(
        {
            let mut list = TopicPartitionList::new();
            list.add_partition("t", 0);
            list
        },
        PATIENCE,
    );
    assert_eq!(committed.unwrap().find_partition("t", 0).unwrap().offset(), Offset::Offset(10));
}

/// A member waits in a rebalance while a coordinator is restored that was never lost.
#[test]
fn the_return_of_a_coordinator_that_is_there_changes_nothing() {
    let config = BrokerConfig::new().set("group.initial.rebalance.delay.ms", "1000").unwrap();
    let broker = Broker::start_with(config);
    let id = || GroupId(StrBytes::from_static_str("g"));
    let protocol = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("p"));
    let join = JoinGroupRequest::default()
        .with_group_id(id())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_group_instance_id(Some(StrBytes::from_static_str("i")))
        .with_protocols(vec![protocol]);
    let mut member = broker.connect();
    let answer = std::thread::spawn(move || member.ask(5, &join));
    let mut raw = broker.connect();
    let describe = DescribeGroupsRequest::default().with_groups(vec![id()]);
    while &*raw.ask(5, &describe).groups[0].group_state != "PreparingRebalance" {
        assert!(!answer.is_finished(), "it waits for others");
    }
    broker.faults().restore_coordinator(Coordinator::Group).unwrap();
    assert_eq!(answer.join().unwrap().error_code, 0);
}

#[test]
fn a_rebalance_under_way_is_told_of_the_loss_and_done_again() {
    let broker = Broker::start();
    create(&broker, "t", 2);
    let first = member(&broker);
    first.subscribe(&["t"]).unwrap();
    poll_until(&[&first], "the first member has all", |_, _| first.assignment().unwrap().count() == 2);
    // The second joins, and the first is kept from joining again: the rebalance can't complete.
    let second = member(&broker);
    let fault = broker.faults().inject(Fault::hold().api(ApiKey::JoinGroup).times(2));
    second.subscribe(&["t"]).unwrap();
    poll_until(&[&second], "the join is held", |_, _| fault.hits() >= 1);
    broker.faults().lose_coordinator(Coordinator::Group);
    fault.lift();
    broker.faults().restore_coordinator(Coordinator::Group).unwrap();
    let both = [&first, &second];
    poll_until(&both, "both have a partition", |_, _| {
        both.iter().all(|member| member.assignment().unwrap().count() == 1)
    });
}
