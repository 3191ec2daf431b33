//! A producer: one per processing thread.
//!
//! ```text
//! produce -> librdkafka's partition queue -> batch -> broker
//!                 AckSlot <- on_acknowledgement (librdkafka's thread): offset of each changelog record
//!          FailedDelivery <- delivery report, of failed records only (the producing thread, in poll and flush)
//! ```
#![allow(unsafe_code)] // rd_kafka_produceva and the acknowledgement interceptor are not in rdkafka

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstreams_state_stores::Headers;
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};

use super::delivery::{AckSlot, FailedDelivery, OriginTag, Origins, OutputOrigin};
use super::error::ClientError;
use super::message::bytes;
use super::millis;
use super::transactions::{TransactionState, Transactions};

/// A record to produce. Key and value are copied before `produce` returns.
pub(crate) struct Outgoing<'a> {
    /// Where to.
    pub(crate) topic: &'a TopicHandle,
    /// `None`: librdkafka's partitioner chooses.
    pub(crate) partition: Option<i32>,
    /// The key; `None` is null.
    pub(crate) key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub(crate) value: Option<&'a [u8]>,
    /// Milliseconds since the epoch; `None`: the client's clock.
    pub(crate) timestamp: Option<i64>,
    /// The headers.
    pub(crate) headers: &'a Headers,
    /// Where the acknowledged offset goes.
    pub(crate) acknowledged: Option<&'a Arc<AckSlot>>,
    /// What led to it, where no offset is waited for.
    pub(crate) origin: Option<OriginTag>,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProduceError {
    /// The client's queue is full: poll, then try again.
    QueueFull,
    /// Anything else.
    Refused(RDKafkaErrorCode),
}

/// A topic as librdkafka knows it: spares the lookup by name for every record.
pub(crate) struct TopicHandle {
    topic: NonNull<rd::rd_kafka_topic_t>,
    /// Topics must be destroyed before their client.
    _producer: Arc<Inner>,
}

// SAFETY: rd_kafka_topic_t is reference counted and thread safe.
unsafe impl Send for TopicHandle {}
// SAFETY: as above.
unsafe impl Sync for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { rd::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

struct ProducerContext {
    name: String,
    failed: Mutex<Vec<FailedDelivery>>,
}

impl ClientContext for ProducerContext {}

struct Inner {
    client: Client<ProducerContext>,
    /// Every slot whose address was given to librdkafka. Dropped after the client, whose threads write to them.
    slots: Mutex<Vec<Arc<AckSlot>>>,
    origins: Mutex<Origins>,
    /// Of a producer with a transactional id.
    transactions: Option<Transactions>,
}

/// `rd_kafka_flush` sleeps until a delivery report comes, 100 ms at most, and looks again. There are none of successes here, so
/// without short pieces every commit would take those 100 ms.
const FLUSH_SLICE: Duration = Duration::from_millis(1);

/// What librdkafka takes for "the time of day". It does the same with a record of the time 0, 1970 to the millisecond, which
/// would throw stream time of whoever reads it half a century ahead: such a record is sent as of a millisecond later.
const CLIENTS_TIME: i64 = 0;

/// A producer. It may be shared, but `poll` and `flush` are for the thread that owns it.
#[derive(Clone)]
pub(crate) struct Producer {
    inner: Arc<Inner>,
}

impl Producer {
    /// Creates the client; connects in the background.
    pub(crate) fn new(name: &str, config: &ClientConfig) -> Result<Self, ClientError> {
        let mut config = config.clone();
        config.set("delivery.report.only.error", "true");
        let native = config.create_native_config().map_err(ClientError::config)?;
        // SAFETY: a valid configuration; the callbacks take the arguments that librdkafka documents.
        unsafe {
            rd::rd_kafka_conf_set_dr_msg_cb(native.ptr(), Some(on_report));
            rd::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            rd::rd_kafka_conf_interceptor_add_on_new(
                native.ptr(),
                INTERCEPTOR.as_ptr(),
                Some(on_new),
                ptr::null_mut(),
            );
        }
        let context = ProducerContext { name: name.to_owned(), failed: Mutex::default() };
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)
            .map_err(ClientError::config)?;
        let transactions = config.get("transactional.id").map(|_| Transactions::new());
        let (slots, origins) = (Mutex::default(), Mutex::default());
        Ok(Producer { inner: Arc::new(Inner { client, slots, origins, transactions }) })
    }

    pub(super) fn transactions(&self) -> Option<&Transactions> {
        self.inner.transactions.as_ref()
    }

    pub(super) fn native(&self) -> *mut rd::rd_kafka_t {
        self.inner.client.native_ptr()
    }

    /// A handle for producing to `topic`. No request is made.
    pub(crate) fn topic(&self, topic: &str) -> Result<TopicHandle, ClientError> {
        let failed = || ClientError::request(format!("naming topic {topic:?}"), KafkaError::Canceled);
        let name = CString::new(topic).map_err(|_| failed())?;
        // SAFETY: a live client and a nul-terminated name; null configuration means the client's default.
        let raw = unsafe { rd::rd_kafka_topic_new(self.native(), name.as_ptr(), ptr::null_mut()) };
        let topic = NonNull::new(raw).ok_or_else(failed)?;
        Ok(TopicHandle { topic, _producer: self.inner.clone() })
    }

    /// A slot for a changelog partition, kept as long as the producer.
    pub(crate) fn slot(&self) -> Arc<AckSlot> {
        let slot = Arc::new(AckSlot::new());
        self.inner.slots.lock().push(slot.clone());
        slot
    }

    /// A number for an origin of records, for tags.
    pub(crate) fn origin_index(&self, origin: OutputOrigin) -> usize {
        self.inner.origins.lock().index(origin)
    }

    /// The origin that a tag names.
    pub(crate) fn origin(&self, tag: OriginTag) -> Option<OutputOrigin> {
        self.inner.origins.lock().get(tag)
    }

    /// Hands a record to the client, within a transaction if this producer has them: the first record begins it.
    pub(crate) fn produce(&self, record: &Outgoing<'_>) -> Result<(), ProduceError> {
        if self.transactions().is_some_and(|transactions| transactions.state() != TransactionState::Open) {
            // In an error state nothing is taken; the state says what to do.
            self.begin_transaction().map_err(|_| ProduceError::Refused(RDKafkaErrorCode::State))?;
        }
        let opaque: *mut c_void = match (record.acknowledged, record.origin) {
            (Some(slot), _) => Arc::as_ptr(slot).cast_mut().cast(),
            (None, Some(tag)) => ptr::without_provenance_mut(tag.bits()),
            (None, None) => ptr::null_mut(),
        };
        let headers = native_headers(record.headers);
        let mut fields = [
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, Value { rkt: record.topic.topic.as_ptr() }),
            field(
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                Value { i32_: record.partition.unwrap_or(-1) },
            ),
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: rd::RD_KAFKA_MSG_F_COPY }),
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, memory(record.value)),
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, memory(record.key)),
            field(
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                Value {
                    i64_: record.timestamp.map_or(CLIENTS_TIME, |time| if time == 0 { 1 } else { time }),
                },
            ),
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: opaque }),
            field(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, Value { headers }),
        ];
        // The last field is left out when there are no headers.
        let count = fields.len() - usize::from(headers.is_null());
        // SAFETY: each field's tag matches its value; key and value are copied (MSG_F_COPY) before the call returns;
        // the slot's address stays valid as long as the client (`Inner::slots`). Headers pass to librdkafka on success
        // and stay ours on failure.
        unsafe {
            let error = rd::rd_kafka_produceva(self.native(), fields.as_mut_ptr(), count);
            if error.is_null() {
                return Ok(());
            }
            let code = rd::rd_kafka_error_code(error);
            rd::rd_kafka_error_destroy(error);
            if !headers.is_null() {
                rd::rd_kafka_headers_destroy(headers);
            }
            Err(match code {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL => ProduceError::QueueFull,
                other => {
                    if is_of_transaction(other) {
                        self.transaction_failed();
                    }
                    ProduceError::Refused(other.into())
                }
            })
        }
    }

    /// Serves delivery reports for at most `timeout`; answers how many events there were.
    pub(crate) fn poll(&self, timeout: Duration) -> i32 {
        // SAFETY: a live client.
        unsafe { rd::rd_kafka_poll(self.native(), millis(timeout)) }
    }

    /// Sends everything now and waits until all of it is acknowledged or failed; false when `timeout` came first.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // SAFETY: a live client.
            let answer = unsafe { rd::rd_kafka_flush(self.native(), millis(left.min(FLUSH_SLICE))) };
            if answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Throws away what was not sent yet; `sent`: also what was sent and not answered, which may be written all the same. Comes back
    /// at once: what is thrown away is reported as failed in `poll`. An idempotent producer can't go on with the gap: make another.
    pub(crate) fn discard(&self, sent: bool) {
        let sent = if sent { rd::RD_KAFKA_PURGE_F_INFLIGHT } else { 0 };
        let flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_NON_BLOCKING | sent;
        // SAFETY: a live client. It refuses consumers and unknown flags only.
        unsafe { rd::rd_kafka_purge(self.native(), flags) };
    }

    /// Records that are neither acknowledged nor failed.
    pub(crate) fn in_flight(&self) -> usize {
        // SAFETY: a live client.
        usize::try_from(unsafe { rd::rd_kafka_outq_len(self.native()) }).unwrap_or(0)
    }

    /// Takes the records that could not be delivered since the last call.
    pub(crate) fn take_failed(&self) -> Vec<FailedDelivery> {
        std::mem::take(&mut *self.inner.client.context().failed.lock())
    }

    /// Why the first of the records failed that were not taken yet.
    pub(crate) fn first_failed(&self) -> Option<RDKafkaErrorCode> {
        self.inner.client.context().failed.lock().first().map(|failed| failed.code)
    }

    /// The fatal error that ended the idempotent producer, if there was one: it has to be made anew.
    pub(crate) fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.inner.client.fatal_error()
    }

    /// The number of partitions of `topic`, asked of the brokers; waits at most `timeout`.
    pub(crate) fn partition_count(&self, topic: &str, timeout: Duration) -> Result<Option<i32>, ClientError> {
        let doing = || format!("reading the metadata of topic {topic}");
        let metadata = self
            .inner
            .client
            .fetch_metadata(Some(topic), timeout)
            .map_err(|source| ClientError::request(doing(), source))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found
            .filter(|found| found.error().is_none())
            .and_then(|found| i32::try_from(found.partitions().len()).ok())
            .filter(|count| *count > 0))
    }
}

/// Whether a record was refused because of its transaction and not for its own sake.
fn is_of_transaction(code: RDKafkaRespErr) -> bool {
    use RDKafkaRespErr as E;
    matches!(code, E::RD_KAFKA_RESP_ERR__STATE | E::RD_KAFKA_RESP_ERR__FATAL | E::RD_KAFKA_RESP_ERR__FENCED)
}

type Value = rd::rd_kafka_vu_s__bindgen_ty_1;

fn field(vtype: rd::rd_kafka_vtype_t, u: Value) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

/// Null stays null; an empty slice has an address and so stays empty.
fn memory(data: Option<&[u8]>) -> Value {
    let (ptr, size) = data.map_or((ptr::null_mut(), 0), |data| (data.as_ptr().cast_mut().cast(), data.len()));
    Value { mem: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } }
}

/// Null when there are no headers.
fn native_headers(headers: &Headers) -> *mut rd::rd_kafka_headers_t {
    if headers.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are copied; a size of -1 is not used, so names need no terminator.
    unsafe {
        let list = rd::rd_kafka_headers_new(headers.len());
        for header in headers {
            let value = header.value.as_deref();
            rd::rd_kafka_header_add(
                list,
                header.key.as_ptr().cast(),
                header.key.len().cast_signed(),
                value.map_or(ptr::null(), |value| value.as_ptr().cast()),
                value.map_or(0, |value| value.len().cast_signed()),
            );
        }
        list
    }
}

const INTERCEPTOR: &CStr = c"kstreams";

/// Called once, while the client is made: adds the interceptor.
unsafe extern "C" fn on_new(
    client: *mut rd::rd_kafka_t,
    _: *const rd::rd_kafka_conf_t,
    _: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> RDKafkaRespErr {
    // SAFETY: librdkafka passes the client that is being made, the place where interceptors may be added.
    unsafe {
        rd::rd_kafka_interceptor_add_on_acknowledgement(
            client,
            INTERCEPTOR.as_ptr(),
            Some(on_acknowledgement),
            ptr::null_mut(),
        )
    }
}

/// Called for every record that left the producer, on librdkafka's threads.
unsafe extern "C" fn on_acknowledgement(
    _: *mut rd::rd_kafka_t,
    message: *mut rd::rd_kafka_message_t,
    _: *mut c_void,
) -> RDKafkaRespErr {
    // SAFETY: a valid message; its opaque is null, a tag, or the address of a slot that lives as long as the client.
    unsafe {
        let message = &*message;
        let is_slot = !message._private.is_null() && OriginTag::from_bits(message._private.addr()).is_none();
        if message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && is_slot {
            (*message._private.cast::<AckSlot>()).acknowledged(message.offset);
        }
    }
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Called for every failed record, in `poll` and `flush`.
unsafe extern "C" fn on_report(
    _: *mut rd::rd_kafka_t,
    message: *const rd::rd_kafka_message_t,
    context: *mut c_void,
) {
    // SAFETY: a valid message, and the context that `Client::new` set as the client's opaque, alive as long as it.
    let (message, context) = unsafe { (&*message, &*context.cast::<ProducerContext>()) };
    if message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    // SAFETY: topic name, key and value live as long as the message; all are copied here.
    let failed = unsafe {
        FailedDelivery {
            topic: CStr::from_ptr(rd::rd_kafka_topic_name(message.rkt)).to_string_lossy().into_owned(),
            partition: message.partition,
            key: bytes(message.key.cast(), message.key_len).map(<[u8]>::to_vec),
            value: bytes(message.payload.cast(), message.len).map(<[u8]>::to_vec),
            timestamp: rd::rd_kafka_message_timestamp(message, ptr::null_mut()),
            code: message.err.into(),
            origin: OriginTag::from_bits(message._private.addr()),
        }
    };
    context.failed.lock().push(failed);
}

/// Called in `poll` and `flush` for librdkafka's log lines.
unsafe extern "C" fn on_log(
    client: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: nul-terminated strings; the opaque is null while the client is being made, else the context.
    unsafe {
        let context = rd::rd_kafka_opaque(client).cast::<ProducerContext>();
        let name = if context.is_null() { "producer" } else { (*context).name.as_str() };
        let (facility, text) =
            (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(text).to_string_lossy());
        super::consumer::log(name, level_of(level), &facility, &text);
    }
}

fn level_of(level: c_int) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
