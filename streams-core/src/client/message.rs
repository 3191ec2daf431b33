//! A record as librdkafka fetched it, owned.
#![allow(unsafe_code)] // reads the fields of rd_kafka_message_t, which rdkafka only lends

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use kstreams_state_stores::{Header, Headers};
use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;

use super::queue::QueueOwner;

/// A fetched record. Key and value are slices of the fetch response's buffer: nothing was copied. It can be sent to
/// another thread, keeps its consumer alive and is given back when dropped.
pub struct Message {
    message: NonNull<rd::rd_kafka_message_t>,
    /// Messages must be destroyed before their client.
    _owner: Arc<QueueOwner>,
}

// SAFETY: a message is a plain allocation with reference counts that librdkafka changes atomically; it may be read and
// destroyed on any thread. It isn't Sync: headers are parsed on first use, inside the message.
unsafe impl Send for Message {}

impl Message {
    /// # Safety
    /// `message` comes from a consume call on a queue of `owner`'s client and is owned by nobody else; it carries no
    /// error.
    pub(super) unsafe fn from_raw(message: NonNull<rd::rd_kafka_message_t>, owner: Arc<QueueOwner>) -> Self {
        Message { message, _owner: owner }
    }

    fn raw(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: valid until drop, and nothing else writes these fields.
        unsafe { self.message.as_ref() }
    }

    /// The key; `None` is Kafka's null.
    pub fn key(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: librdkafka's key pointer and length describe memory that lives as long as the message.
        unsafe { bytes(raw.key.cast(), raw.key_len) }
    }

    /// The value; `None` is Kafka's null.
    pub fn value(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: as for the key.
        unsafe { bytes(raw.payload.cast(), raw.len) }
    }

    /// The record's timestamp, ms since the epoch; -1 if it has none.
    pub fn timestamp(&self) -> i64 {
        // SAFETY: a valid message; the type is not asked for.
        unsafe { rd::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) }
    }

    /// The record's offset.
    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// The partition it came from.
    pub fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// Bytes of key and value.
    pub fn size_bytes(&self) -> usize {
        let raw = self.raw();
        raw.len + raw.key_len
    }

    /// The headers, copied.
    pub fn headers(&self) -> Headers {
        let mut list = ptr::null_mut();
        // SAFETY: a valid message; on success `list` stays owned by it.
        let answer = unsafe { rd::rd_kafka_message_headers(self.message.as_ptr(), &mut list) };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return Headers::new();
        }
        let mut headers = Vec::new();
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `list` is valid; an index past the end answers an error and ends the loop.
            let answer =
                unsafe { rd::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut size) };
            if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers.into_iter().collect();
            }
            // SAFETY: names are nul-terminated, values have `size` bytes (null: no value); both live with the message.
            let (key, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast(), size)) };
            headers.push(Header { key: key.to_string_lossy().into(), value: value.map(Into::into) });
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { rd::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .finish()
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that live as long as `'a`.
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, len) })
}
