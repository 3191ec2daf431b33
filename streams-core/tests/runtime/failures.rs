//! Failures while records are processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kstreams_core::handlers::StreamThreadExceptionResponse;
use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
use kstreams_core::{KafkaStreams, State, Topology};
use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
use kstreams_state_stores::Record;
use kstreams_test_cluster::{Cluster, close, failure_of, run, wait_for, wait_for_state, wait_until};

use crate::topologies::word_count;

/// Passes values on; panics at `poison` as long as `left` is above 0.
struct Fragile {
    left: Arc<AtomicUsize>,
}

impl Processor<(), String, (), String> for Fragile {
    fn process(
        &mut self,
        record: Record<(), String>,
        ctx: &mut ProcessorContext<'_, (), String>,
    ) -> ProcessResult {
        let armed = |left: usize| left.checked_sub(1);
        if record.value == "poison"
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, armed).is_ok()
        {
            panic!("bad luck");
        }
        ctx.forward(record)
    }
}

fn fragile(input: &str, output: &str, left: &Arc<AtomicUsize>) -> Topology {
    let mut topology = Topology::new();
    let left = left.clone();
    topology.add_source::<(), String>("in", input).unwrap();
    topology.add_processor("fragile", move || Fragile { left: left.clone() }, &["in"]).unwrap();
    topology.add_sink::<(), String>("out", output, &["fragile"]).unwrap();
    topology
}

/// A panic in user code stops its thread; a new one takes over from the last commit, and no record is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_thread_goes_on_from_the_last_commit() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in"), cluster.name("out"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let left = Arc::new(AtomicUsize::new(2));
    let streams = KafkaStreams::new(fragile(&input, &output, &left), cluster.config("app")).unwrap();
    streams.set_uncaught_exception_handler(|_: &(dyn std::error::Error + 'static)| {
        StreamThreadExceptionResponse::ReplaceThread
    });
    streams.start().await.unwrap();
    cluster.produce_lines(&input, ["one", "poison", "three"]);
    let all = ["one", "poison", "three"].map(String::from);
    wait_until("output of all records", || cluster.values(&output).ends_with(&all)).await;
    assert_eq!(left.load(Ordering::SeqCst), 0, "it failed twice");
    wait_for_state(&streams, State::Running).await;
    close(&streams).await;
    cluster.stop().await;
}

/// Puts records into one partition.
fn produce_to(cluster: &Cluster, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let producer: BaseProducer = cluster.client().create().unwrap();
    for value in values {
        producer.send(BaseRecord::<(), String>::to(topic).partition(partition).payload(&value)).unwrap();
    }
    producer.flush(kstreams_test_cluster::DEADLINE).unwrap();
}

/// A record that its task can't get past: the task is tried again after pauses that grow, and each failure is told. The other
/// task of the thread goes on meanwhile, and does nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_again_and_again_leaves_the_others_alone() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 2).await, cluster.topic("out", 1).await);
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let config = cluster.config("app").commit_interval(std::time::Duration::from_secs(60));
    let streams = KafkaStreams::new(fragile(&input, &output, &left), config).unwrap();
    streams.set_uncaught_exception_handler(|_: &(dyn std::error::Error + 'static)| {
        StreamThreadExceptionResponse::ReplaceThread
    });
    streams.start().await.unwrap();
    wait_for_state(&streams, State::Running).await;
    produce_to(&cluster, &input, 1, ["before".to_owned()]);
    wait_for("the record before", vec!["before".to_owned()], || cluster.values(&output)).await;
    produce_to(&cluster, &input, 0, ["poison".to_owned()]);
    let mut expected = vec!["before".to_owned()];
    for failure in ["failures=1", "failures=2", "failures=3", "failures=4"] {
        produce_to(&cluster, &input, 1, [failure.to_owned()]);
        expected.push(failure.to_owned());
        wait_for("the other task's records, once", expected.clone(), || cluster.values(&output)).await;
        let told = ["task=0_0", failure, &input, "bad luck", "after a pause of"];
        wait_until("report of the failure", || kstreams_test_cluster::warned(&told)).await;
    }
    assert!(kstreams_test_cluster::warned(&[&input, "failures=4", "after a pause of 800ms"]));
    left.store(0, Ordering::SeqCst);
    expected.push("poison".to_owned());
    wait_for("the record at last", expected, || cluster.values(&output)).await;
    wait_for_state(&streams, State::Running).await;
    close(&streams).await;
    cluster.stop().await;
}

/// Without a handler the instance stops and says where it failed.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_handler_the_instance_stops_and_names_the_record() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in"), cluster.name("out"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let left = Arc::new(AtomicUsize::new(1));
    let streams = run(fragile(&input, &output, &left), cluster.config("app")).await;
    cluster.produce_lines(&input, ["one", "poison"]);
    let failure = failure_of(&streams).await;
    for part in ["fragile", input.as_str(), "offset 1", "bad luck"] {
        assert!(failure.contains(part), "{part} is missing: {failure}");
    }
    cluster.stop().await;
}

/// Brokers go away and come back under a running application: it waits, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restarted_under_a_running_application() {
    let data = tempfile::tempdir().unwrap();
    let config = || BrokerConfig::new().data_dir(data.path());
    let Some(mut cluster) = Cluster::owned("a broker restarted under a running application", config()).await
    else {
        return;
    };
    let broker = cluster.take_broker();
    let address = broker.address().to_string();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    cluster.create_topic(&output, 1).await;
    let streams = run(word_count(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["a b", "a"]);
    cluster.wait_for_counts(&output, &[("a".to_owned(), 2), ("b".to_owned(), 1)].into()).await;
    broker.shutdown().await.unwrap();
    let gone = || kstreams_test_cluster::warned(&[address.as_str(), "Connection refused"]);
    wait_until("report that nobody answers", gone).await;
    let broker = EmbeddedBroker::start(config().listen(address.as_str())).await.unwrap();
    cluster.produce_lines(&input, ["a b", "a"]);
    cluster.wait_for_counts(&output, &[("a".to_owned(), 4), ("b".to_owned(), 2)].into()).await;
    close(&streams).await;
    broker.shutdown().await.unwrap();
}

/// The committed offset was deleted by retention: the source's policy says where to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_committed_offset_that_is_gone_is_reset_by_the_policy() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in"), cluster.name("out"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let none = Arc::new(AtomicUsize::new(0));
    let streams = run(fragile(&input, &output, &none), cluster.config("app")).await;
    cluster.produce_lines(&input, ["one", "two"]);
    let wait =
        async |count: usize| wait_for("the number of results", count, || cluster.values(&output).len()).await;
    wait(2).await;
    close(&streams).await;
    cluster.produce_lines(&input, ["three", "four", "five"]);
    let mut gone = rdkafka::TopicPartitionList::new();
    gone.add_partition_offset(&input, 0, rdkafka::Offset::Offset(4)).unwrap();
    cluster.admin().delete_records(&gone, &rdkafka::admin::AdminOptions::new()).await.unwrap();
    let streams = run(fragile(&input, &output, &none), cluster.config("app")).await;
    wait(3).await;
    assert_eq!(cluster.values(&output), ["one", "two", "five"]);
    let told = [input.as_str(), "from=2", "to=4", "deleted before they were processed"];
    assert!(kstreams_test_cluster::warned(&told), "what is skipped is not lost in silence");
    close(&streams).await;
    cluster.stop().await;
}

/// Takes numbers, which not every record is.
struct Enlarge;

impl Processor<(), i64, (), String> for Enlarge {
    fn process(
        &mut self,
        record: Record<(), i64>,
        ctx: &mut ProcessorContext<'_, (), String>,
    ) -> ProcessResult {
        let size = usize::try_from(record.value)?;
        ctx.forward(record.with_value("x".repeat(size)))
    }
}

/// Records that can't be read and results that can't be written go to their handlers and to the dead letter topic, and
/// the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn poison_records_and_refused_results_become_dead_letters() {
    use kstreams_core::handlers::LogAndContinue;
    use rdkafka::Message as _;
    let cluster = Cluster::start().await;
    let (input, output, letters) = (cluster.name("in"), cluster.name("out"), cluster.name("letters"));
    for topic in [&input, &output, &letters] {
        cluster.create_topic(topic, 1).await;
    }
    let mut topology = Topology::new();
    topology.add_source::<(), i64>("in", input.as_str()).unwrap();
    topology.add_processor("enlarge", || Enlarge, &["in"]).unwrap();
    topology.add_sink::<(), String>("out", output.as_str(), &["enlarge"]).unwrap();
    let config = cluster
        .config("app")
        .deserialization_exception_handler(LogAndContinue)
        .production_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&letters);
    let streams = run(topology, config).await;
    let number = |number: i64| String::from_utf8(number.to_be_bytes().to_vec()).unwrap();
    // 0x0020_0000 bytes are more than a message may have.
    let lines = [number(3), "not a number".to_owned(), number(0x0020_0000), number(5)];
    cluster.produce_lines(&input, lines.iter().map(String::as_str));
    let results = || (cluster.values(&output), cluster.read_all(&letters).len());
    wait_for("results and dead letters", (vec!["xxx".to_owned(), "xxxxx".to_owned()], 2), results).await;
    let poison = cluster.read_all(&letters);
    assert_eq!(poison[0].payload(), Some(&b"not a number"[..]));
    assert_eq!(streams.state(), State::Running);
    close(&streams).await;
    cluster.stop().await;
}

/// Two instances: the one that fails asks the other to stop, too. Started again, the application goes on.
#[tokio::test(flavor = "multi_thread")]
async fn one_instance_can_stop_the_whole_application() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 4).await, cluster.topic("out", 1).await);
    let left = Arc::new(AtomicUsize::new(1));
    let mut instances = Vec::new();
    for state in ["first", "second"] {
        let config = cluster.config_in("app", state);
        let streams = KafkaStreams::new(fragile(&input, &output, &left), config).unwrap();
        streams.set_uncaught_exception_handler(|_: &(dyn std::error::Error + 'static)| {
            StreamThreadExceptionResponse::ShutdownApplication
        });
        streams.start().await.unwrap();
        wait_for_state(&streams, State::Running).await;
        instances.push(streams);
    }
    let tasks = |streams: &KafkaStreams| {
        let threads = streams.metadata_for_local_threads();
        threads.iter().map(|thread| thread.active_tasks.len()).sum::<usize>()
    };
    wait_for("shared tasks", vec![2, 2], || instances.iter().map(&tasks).collect()).await;
    cluster.produce_lines(&input, ["poison"]);
    let mut told = 0;
    for streams in &instances {
        let failure = failure_of(streams).await;
        let asked = failure.contains("asked every instance to stop");
        assert!(asked || failure.contains("bad luck"), "{failure}");
        told += usize::from(asked);
    }
    assert_eq!((told, left.load(Ordering::SeqCst)), (1, 0), "one failed, the other was told");

    let streams = run(fragile(&input, &output, &left), cluster.config("app")).await;
    wait_for("the record", vec!["poison".to_owned()], || cluster.values(&output)).await;
    close(&streams).await;
    cluster.stop().await;
}

/// As many letters as the record's number says, which don't compress.
struct Letters;

impl Processor<(), i64, (), String> for Letters {
    fn process(
        &mut self,
        record: Record<(), i64>,
        ctx: &mut ProcessorContext<'_, (), String>,
    ) -> ProcessResult {
        let mut state = 88_172_645_463_325_252_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        };
        let text = (0..record.value).map(|_| letter()).collect();
        ctx.forward(record.with_value(text))
    }
}

/// The handler hears of the record that led to the one that was refused: at once where the client refuses it, and long
/// after where a broker does.
#[tokio::test(flavor = "multi_thread")]
async fn the_production_handler_is_told_what_led_to_a_refused_record() {
    use kstreams_core::handlers::{ErrorHandlerContext, FailedOutput, ProductionResponse};
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.name("out"));
    cluster.create_topic_with(&output, 1, &[("max.message.bytes", "10000")]).await;
    let mut topology = Topology::new();
    topology.add_source::<(), i64>("in", input.as_str()).unwrap();
    topology.add_processor("letters", || Letters, &["in"]).unwrap();
    topology.add_sink::<(), String>("out", output.as_str(), &["letters"]).unwrap();
    let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let handler = {
        let told = told.clone();
        move |context: &ErrorHandlerContext<'_>,
              record: &FailedOutput<'_>,
              _: &(dyn std::error::Error + 'static)| {
            let ErrorHandlerContext { topic, partition, offset, processor_node_id, task_id, .. } = context;
            let to = record.topic;
            let text = format!("{task_id} {processor_node_id} {to} {topic:?} {partition} {offset}");
            told.lock().unwrap().push(text);
            ProductionResponse::resume()
        }
    };
    let config = cluster.config("app").production_exception_handler(handler);
    let streams = run(topology, config).await;
    let number = |number: i64| String::from_utf8(number.to_be_bytes().to_vec()).unwrap();
    // One batch each: a refused batch takes all its records along.
    for size in [3, 0x7070, 0x0020_0000, 5] {
        cluster.produce_lines(&input, [number(size).as_str()]);
        wait_until("commit", || cluster.lag("app", &input) == 0).await;
    }
    let expected = [1, 2].map(|offset| format!("0_0 out {output} Some({input:?}) 0 {offset}"));
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(cluster.values(&output).len(), 2);
    close(&streams).await;
    cluster.stop().await;
}
