//! The input: a producer of its own that writes at a steady rate and knows what was acknowledged.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::random::Random;
use crate::scenario::{Input, Names, Scenario};

/// How long an interruption of the cluster may be.
const PATIENCE: Duration = Duration::from_secs(300);
/// Several records at once, this often.
const ROUND: Duration = Duration::from_millis(20);

/// What was acknowledged: by its topic and partition, each record's offset and what it is.
#[derive(Default)]
pub struct Acknowledged {
    pub placed: HashMap<(&'static str, i32), Vec<(i64, u64)>>,
    /// Records whose acknowledgement had no offset: a broker that has forgotten where it put a batch that is sent once more says only
    /// that it has it.
    pub duplicates: HashMap<(&'static str, i32), Vec<u64>>,
}

impl Acknowledged {
    fn add(&mut self, topic: &'static str, partition: i32, offset: i64, record: u64) {
        match offset {
            0.. => self.placed.entry((topic, partition)).or_default().push((offset, record)),
            _ => self.duplicates.entry((topic, partition)).or_default().push(record),
        }
    }
}

#[derive(Default)]
struct Reports {
    acknowledged: Mutex<Acknowledged>,
    failures: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Context(Arc<Reports>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<(&'static str, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (topic, hash) = *opaque;
        match result {
            Ok(message) => {
                let mut acknowledged = self.0.acknowledged.lock().unwrap();
                acknowledged.add(topic, message.partition(), message.offset(), hash);
            }
            Err((error, _)) => self.0.failures.lock().unwrap().push(error.to_string()),
        }
    }
}

/// What stands for a record's key and value.
pub fn fingerprint(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key.filter(|key| !key.is_empty()), value).hash(&mut hasher);
    hasher.finish()
}

/// The running producer.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Acknowledged, String>>,
}

impl Load {
    pub fn start(
        scenario: &'static dyn Scenario,
        names: &Names,
        bootstrap: &str,
        rate: u64,
        seed: u64,
    ) -> Load {
        let context = Context::default();
        let producer: BaseProducer<Context> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .set("linger.ms", "5")
            .set("partitioner", "murmur2_random")
            .set("reconnect.backoff.max.ms", "500")
            .create_with_context(context.clone())
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, names) = (stop.clone(), names.clone());
        let thread = std::thread::spawn(move || {
            let mut random = Random::new(seed);
            let (begin, mut sent) = (Instant::now(), 0);
            while !asked.load(Ordering::Relaxed) {
                let due = u64::try_from(begin.elapsed().as_millis()).unwrap() * rate / 1_000;
                while sent < due {
                    send(&producer, &names, &scenario.input(&mut random, sent, now_ms()))?;
                    sent += 1;
                }
                producer.poll(ROUND);
            }
            producer.flush(PATIENCE).map_err(|error| format!("flushing the input: {error}"))?;
            match context.0.failures.lock().unwrap().first() {
                Some(failure) => Err(format!("input that was not acknowledged: {failure}")),
                None => Ok(std::mem::take(&mut *context.0.acknowledged.lock().unwrap())),
            }
        });
        Load { stop, thread }
    }

    /// Stops, and waits until all is acknowledged. An error when the producer lost something.
    pub fn stop(self) -> Result<Acknowledged, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn send(producer: &BaseProducer<Context>, names: &Names, input: &Input) -> Result<(), String> {
    let hash =
        fingerprint(input.key.as_deref().map(str::as_bytes), input.value.as_deref().map(str::as_bytes));
    let topic = names.topic(input.topic);
    let mut record: BaseRecord<'_, str, str, _> =
        BaseRecord::with_opaque_to(&topic, Box::new((input.topic, hash))).timestamp(input.timestamp);
    record.key = input.key.as_deref();
    record.payload = input.value.as_deref();
    let deadline = Instant::now() + PATIENCE;
    while let Err((error, back)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > deadline {
            return Err(format!("sending the input: {error}"));
        }
        producer.poll(ROUND);
        record = back;
    }
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
