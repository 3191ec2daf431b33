//! Tasks that go without a last commit, on brokers that misbehave at that moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kstreams_core::handlers::StreamThreadExceptionResponse;
use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
use kstreams_core::{KafkaStreams, State, StreamsConfig, Topology};
use kstreams_embedded_broker::fault::{ApiKey, Fault, InjectedFault, ResponseError};
use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
use kstreams_state_stores::{KeyValueStore, Record, Stores};
use kstreams_test_cluster::{
    Cluster, Counts, DEADLINE, close, end, failure_of, wait_for, wait_for_state, wait_until,
};

/// Counts by key; fails at `poison` as long as `failures` is above 0.
struct Count {
    counts: Option<StoreHandle<KeyValueStore<String, i64>>>,
    failures: Arc<AtomicUsize>,
}

impl Processor<String, String, String, i64> for Count {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.counts = Some(ctx.state_store("counts")?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, i64>,
    ) -> ProcessResult {
        let one_less = |left: usize| left.checked_sub(1);
        if record.value == "poison"
            && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
        {
            return Err("bad luck".into());
        }
        let count = {
            let mut counts = ctx.store(self.counts.as_ref().unwrap());
            let count = counts.get(&record.key)?.unwrap_or(0) + 1;
            counts.put(&record.key, &count)?;
            count
        };
        ctx.forward(record.with_value(count))
    }
}

fn count(input: &str, output: &str, failures: &Arc<AtomicUsize>) -> Topology {
    let (mut topology, failures) = (Topology::new(), failures.clone());
    topology.add_source::<String, String>("in", input).unwrap();
    topology
        .add_processor("count", move || Count { counts: None, failures: failures.clone() }, &["in"])
        .unwrap();
    topology.add_state_store(Stores::key_value::<String, i64>("counts"), &["count"]).unwrap();
    topology.add_sink::<String, i64>("out", output, &["count"]).unwrap();
    topology
}

async fn start(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = KafkaStreams::new(topology, config).unwrap();
    streams.set_uncaught_exception_handler(|_: &(dyn std::error::Error + 'static)| {
        StreamThreadExceptionResponse::ReplaceThread
    });
    streams.start().await.unwrap();
    wait_for_state(&streams, State::Running).await;
    streams
}

/// A broker of the test's own, an input of one partition, and an output.
async fn set_up(test: &str) -> Option<(Cluster, EmbeddedBroker, String, String)> {
    let config = BrokerConfig::new().set("group.min.session.timeout.ms", "1000").unwrap();
    let mut cluster = Cluster::owned(test, config).await?;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let broker = cluster.take_broker();
    Some((cluster, broker, input, output))
}

fn produce(cluster: &Cluster, input: &str, keys: &[&str], times: usize) {
    let records: Vec<(&str, &str, i64)> =
        (0..times).flat_map(|n| keys.iter().map(move |key| (*key, "x", n as i64))).collect();
    cluster.produce(input, &records);
}

/// Refuses what the first thread of the instance with the client id `writer` produces.
fn refuse_results(broker: &EmbeddedBroker, error: ResponseError) -> InjectedFault {
    let fault = Fault::refuse(error).api(ApiKey::Produce);
    broker.faults().inject(fault.client("writer-StreamThread-1-producer"))
}

/// The settings of an instance whose member is given up soon after it falls silent.
fn short_session(cluster: &Cluster) -> StreamsConfig {
    cluster.config("app").set("session.timeout.ms", "1500").set("heartbeat.interval.ms", "100")
}

fn stored(streams: &KafkaStreams) -> Option<Counts> {
    let store = streams.store::<KeyValueStore<String, i64>>("counts").unwrap();
    let entries = store.all().ok()?.collect::<Result<BTreeMap<_, _>, _>>().ok()?;
    Some(entries.into_iter().collect())
}

/// What an application's producers send does not get through, and then its member is expelled. Its tasks come back to it, and begin
/// where their changelog ends. Were the records of before sent after that, the changelog would have what no store has: at most once they
/// are never processed again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_task_could_not_send_is_never_sent() {
    let test = "what a lost task could not send is never sent";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let config =
        short_session(&cluster).set("processing.guarantee", "at_most_once").set("client.id", "writer");
    let streams = start(count(&input, &output, &Arc::default()), config).await;
    produce(&cluster, &input, &["a", "b", "c"], 10);
    wait_for("the first counts", 30, || cluster.read_all(&output).len()).await;

    let unsent = refuse_results(&broker, ResponseError::NotLeaderOrFollower);
    produce(&cluster, &input, &["a", "b", "c"], 10);
    wait_until("records that are refused", || unsent.hits() > 0).await;
    wait_for("offsets that are committed ahead", Some(60), || cluster.committed("app", &input, 0)).await;
    let expelled =
        broker.faults().inject(Fault::refuse(ResponseError::UnknownMemberId).api(ApiKey::Heartbeat).times(1));
    wait_until("the expulsion", || expelled.hits() > 0 && streams.state() == State::Rebalancing).await;
    wait_for_state(&streams, State::Running).await;
    unsent.lift();
    // A record that comes later shows that whatever was on its way before is there, too.
    produce(&cluster, &input, &["z"], 1);
    wait_until("the last count", || cluster.counts(&output).contains_key("z")).await;
    let changelog = format!("{}-counts-changelog", cluster.name("app"));
    wait_until("the store as its changelog", || stored(&streams) == Some(cluster.counts(&changelog))).await;
    assert_eq!(stored(&streams).unwrap()["a"], 10, "what was lost was lost");
    close(&streams).await;
    broker.shutdown().await.unwrap();
}

/// The brokers don't take an application's records for longer than its client keeps them: what led to them is processed again, as often as
/// it takes, and nothing is lost. (As in Kafka Streams, whose tasks are then "corrupted".)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_in_time_is_done_again() {
    let test = "what is not delivered in time is done again";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let config = cluster.config("app").set("producer.delivery.timeout.ms", "500").set("client.id", "writer");
    let streams = start(count(&input, &output, &Arc::default()), config).await;
    produce(&cluster, &input, &["a"], 5);
    wait_for("committed records", Some(5), || cluster.committed("app", &input, 0)).await;

    let unsent = refuse_results(&broker, ResponseError::NotEnoughReplicas);
    produce(&cluster, &input, &["a"], 5);
    for attempt in 1..=2 {
        let before = unsent.hits();
        wait_until("records that are refused", || unsent.hits() > before).await;
        wait_until(&format!("end {attempt} of the attempts"), || streams.state() == State::Rebalancing).await;
        wait_for_state(&streams, State::Running).await;
    }
    unsent.lift();
    wait_for("all records", Some(10), || cluster.committed("app", &input, 0)).await;
    // More, should one of the attempts have come through in part.
    assert!(cluster.counts(&output)["a"] >= 10);
    assert!(stored(&streams).unwrap()["a"] >= 10);
    close(&streams).await;
    broker.shutdown().await.unwrap();
}

/// As above, for longer than `task.timeout.ms`: the error says what was tried for how long, and which partition it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_for_too_long_is_an_error() {
    let test = "what is not delivered for too long is an error";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let config = cluster.config("app").set("client.id", "writer");
    let config = config.set("producer.delivery.timeout.ms", "500").set("task.timeout.ms", "1500");
    let streams = KafkaStreams::new(count(&input, &output, &Arc::default()), config).unwrap();
    streams.start().await.unwrap();
    wait_for_state(&streams, State::Running).await;
    let _unsent = refuse_results(&broker, ResponseError::NotEnoughReplicas);
    produce(&cluster, &input, &["a"], 1);
    let failure = failure_of(&streams).await;
    for part in [
        "nothing could be written for 1.5s (task.timeout.ms)",
        "was not delivered within delivery.timeout.ms",
    ] {
        assert!(failure.contains(part), "{part:?} in {failure}");
    }
    end(&streams).await;
    broker.shutdown().await.unwrap();
}

/// An instance is to close, the group does not take its last commit, and then expels it: it ends without that commit instead of going on
/// with it as a member that has come back, when somebody else may have its tasks.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_expelled_while_it_closes_does_not_insist_on_its_last_commit() {
    let test = "a member that is expelled while it closes does not insist on its last commit";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let config = || short_session(&cluster).set("client.id", "writer");
    let streams = start(count(&input, &output, &Arc::default()), config()).await;
    produce(&cluster, &input, &["a"], 5);
    wait_for("the first commit", Some(5), || cluster.committed("app", &input, 0)).await;

    let refuse = |error| Fault::refuse(error).client("writer-consumer");
    let refused = refuse(ResponseError::CoordinatorLoadInProgress).api(ApiKey::OffsetCommit);
    let refused = broker.faults().inject(refused);
    produce(&cluster, &input, &["a"], 5);
    wait_until("counts that are not committed", || cluster.counts(&output).get("a") == Some(&10)).await;
    let begin = Instant::now();
    let (closed, ()) = tokio::join!(streams.close(DEADLINE), async {
        let before = refused.hits();
        wait_until("the last commit", || refused.hits() > before + 1).await;
        let expelled = refuse(ResponseError::UnknownMemberId).api(ApiKey::Heartbeat).times(1);
        broker.faults().inject(expelled);
    });
    assert!(closed && begin.elapsed() < DEADLINE / 2, "closed: {closed} after {:?}", begin.elapsed());
    assert_eq!(streams.state(), State::NotRunning, "{:?}", streams.failure());
    refused.lift();
    assert_eq!(cluster.committed("app", &input, 0), Some(5));

    let streams = start(count(&input, &output, &Arc::default()), config()).await;
    wait_for("what was not committed", Some(10), || cluster.committed("app", &input, 0)).await;
    assert!(stored(&streams).unwrap()["a"] >= 10);
    close(&streams).await;
    broker.shutdown().await.unwrap();
}

/// A task is to be made anew, and the group does not tell its committed offsets, as when a transaction that holds some is never decided:
/// the instance goes on asking, is closed in time nevertheless, and goes on where it was when it is told.
#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_that_are_not_told_hold_up_neither_a_close_nor_the_group() {
    let test = "committed offsets that are not told hold up neither a close nor the group";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let failures = Arc::new(AtomicUsize::new(0));
    let config = || short_session(&cluster);
    let streams = start(count(&input, &output, &failures), config()).await;
    let unstable = || {
        let fault = Fault::refuse(ResponseError::UnstableOffsetCommit).api(ApiKey::OffsetFetch);
        broker.faults().inject(fault)
    };
    let fail = || {
        failures.store(1, Ordering::SeqCst);
        cluster.produce(&input, &[("a", "poison", 0)]);
    };

    let untold = unstable();
    fail();
    wait_until("a question for offsets", || untold.hits() > 0).await;
    // The group is served meanwhile: a member that is expelled joins again.
    let expelled =
        broker.faults().inject(Fault::refuse(ResponseError::UnknownMemberId).api(ApiKey::Heartbeat).times(1));
    let joins = broker.faults().inject(Fault::delay(Duration::ZERO).api(ApiKey::JoinGroup));
    wait_until("the member's return", || expelled.hits() > 0 && joins.hits() > 0).await;
    untold.lift();
    wait_for_state(&streams, State::Running).await;
    wait_until("the count", || cluster.counts(&output).get("a") == Some(&1)).await;

    let untold = unstable();
    fail();
    wait_until("a question for offsets", || untold.hits() > 0).await;
    let begin = Instant::now();
    assert!(streams.close(Duration::from_secs(8)).await, "not closed in time");
    assert_eq!(streams.state(), State::NotRunning, "{:?} after {:?}", streams.failure(), begin.elapsed());
    untold.lift();

    let streams = start(count(&input, &output, &failures), config()).await;
    wait_until("the next count", || cluster.counts(&output).get("a") == Some(&2)).await;
    close(&streams).await;
    broker.shutdown().await.unwrap();
}

/// The request to join is swallowed, as by a connection that is dead without anybody knowing: the client waits for its answer, longer
/// than any rebalance takes. The group does not know it, so a new client takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_find_back_to_its_group_is_replaced() {
    let test = "a client that does not find back to its group is replaced";
    let Some((cluster, broker, input, output)) = set_up(test).await else { return };
    let config = short_session(&cluster);
    let streams = start(count(&input, &output, &Arc::default()), config).await;
    produce(&cluster, &input, &["a"], 5);
    wait_until("the first counts", || cluster.counts(&output).get("a") == Some(&5)).await;

    let swallowed = broker.faults().inject(Fault::hold().api(ApiKey::JoinGroup).times(1));
    let expelled =
        broker.faults().inject(Fault::refuse(ResponseError::UnknownMemberId).api(ApiKey::Heartbeat).times(1));
    wait_until("the request to join", || expelled.hits() > 0 && swallowed.hits() > 0).await;
    produce(&cluster, &input, &["a"], 5);
    wait_until("the next counts", || cluster.counts(&output).get("a") == Some(&10)).await;
    wait_for_state(&streams, State::Running).await;
    swallowed.lift();
    close(&streams).await;
    broker.shutdown().await.unwrap();
}
