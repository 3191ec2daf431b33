//! The Fetch response, encoded by hand so that record batches go out as the chunks the log gave.
//!
//! Layout: `FetchResponse.json` of Apache Kafka, versions 4 to 18. The test compares with the generated encoder.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

use super::{PartitionFetch, Read, TopicFetch};
use crate::api::NONE;
use crate::reply::{self, Frame, IntoReply, Reply};
use crate::router::{RequestContext, RequestError};

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;

/// The answer to a fetch.
pub(crate) struct FetchReply {
    pub(crate) error: Option<ResponseError>,
    pub(crate) topics: Vec<TopicFetch>,
}

impl FetchReply {
    /// An answer for the request as a whole.
    pub(crate) fn failed(error: ResponseError) -> Self {
        FetchReply { error: Some(error), topics: Vec::new() }
    }
}

impl IntoReply for FetchReply {
    fn into_reply(self, ctx: &RequestContext) -> Result<Reply, RequestError> {
        let version = ctx.api_version;
        // 64 bytes cover a partition without its records, and a topic's id; names are counted.
        let partitions: usize =
            self.topics.iter().map(|topic| topic.name.len() + 64 * (1 + topic.partitions.len())).sum();
        let head = reply::begin(ctx, i16::from(version >= FLEXIBLE), 32 + partitions)?;
        let mut out = Encoder { version, head, chunks: VecDeque::new() };
        out.response(self);
        out.chunks.push_back(out.head.freeze());
        Ok(Reply::Frame(Frame::new(out.chunks)))
    }
}

struct Encoder {
    version: i16,
    /// What follows the last chunk.
    head: BytesMut,
    chunks: VecDeque<Bytes>,
}

impl Encoder {
    fn response(&mut self, reply: FetchReply) {
        self.head.put_i32(0); // throttle time
        if self.version >= 7 {
            self.head.put_i16(reply.error.map_or(NONE, |error| error.code()));
            self.head.put_i32(0); // session id: none
        }
        self.length(reply.topics.len());
        for topic in reply.topics {
            self.topic(topic);
        }
        self.no_tagged_fields();
    }

    fn topic(&mut self, topic: TopicFetch) {
        match self.version {
            13.. => self.head.put_slice(topic.id.as_bytes()),
            FLEXIBLE => {
                self.length(topic.name.len());
                self.head.put_slice(topic.name.as_bytes());
            }
            _ => {
                // A request's name was shorter than its own 16-bit length.
                self.head.put_i16(i16::try_from(topic.name.len()).unwrap_or(i16::MAX));
                self.head.put_slice(topic.name.as_bytes());
            }
        }
        self.length(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tagged_fields();
    }

    fn partition(&mut self, partition: PartitionFetch) {
        let (error, read) = match partition.outcome {
            Ok(read) => (NONE, read),
            // As Apache Kafka: offsets of a partition in error are unknown.
            Err(error) => {
                let unknown = Read {
                    high_watermark: -1,
                    last_stable_offset: -1,
                    log_start_offset: -1,
                    ..Read::default()
                };
                (error.code(), unknown)
            }
        };
        self.head.put_i32(partition.index);
        self.head.put_i16(error);
        self.head.put_i64(read.high_watermark);
        self.head.put_i64(read.last_stable_offset);
        if self.version >= 5 {
            self.head.put_i64(read.log_start_offset);
        }
        if read.read_committed {
            self.length(0)
        } else {
            self.null_length()
        }
        if self.version >= 11 {
            self.head.put_i32(-1); // preferred read replica: none
        }
        self.length(read.records.len());
        if !read.records.is_empty() {
            self.chunks.push_back(self.head.split().freeze());
            self.chunks.push_back(read.records);
        }
        self.no_tagged_fields();
    }

    /// The length of an array or of bytes. Bounded by the request (arrays) and the response limit (records).
    fn length(&mut self, length: usize) {
        if self.version >= FLEXIBLE {
            self.varint(length + 1);
        } else {
            self.head.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        }
    }

    fn null_length(&mut self) {
        if self.version >= FLEXIBLE { self.varint(0) } else { self.head.put_i32(-1) }
    }

    fn no_tagged_fields(&mut self) {
        if self.version >= FLEXIBLE {
            self.varint(0);
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.head.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.head.put_u8(value as u8);
    }
}
