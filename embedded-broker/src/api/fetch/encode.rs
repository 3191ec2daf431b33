//! The Fetch response, encoded by hand so that record batches go out as the chunks the log gave.
//!
//! Layout: `FetchResponse.json` of Apache Kafka, versions 4 to 18. The test compares with the generated encoder.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

use super::{PartitionFetch, Read, TopicFetch};
use crate::api::NONE;
use crate::log::AbortedTxn;
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
        match &read.aborted {
            Some(aborted) => self.aborted(aborted),
            None => self.null_length(),
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

    fn aborted(&mut self, aborted: &[AbortedTxn]) {
        self.length(aborted.len());
        for transaction in aborted {
            self.head.put_i64(transaction.producer_id);
            self.head.put_i64(transaction.first_offset);
            self.no_tagged_fields();
        }
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

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, FetchableTopicResponse, PartitionData,
    };
    use kafka_protocol::messages::{ApiKey, FetchResponse, ProducerId, ResponseHeader, TopicName};
    use kafka_protocol::protocol::{Decodable, HeaderVersion, StrBytes};
    use uuid::Uuid;

    use super::*;
    use crate::router::test_context;

    fn partition(index: i32, outcome: Result<Read, ResponseError>) -> PartitionFetch {
        PartitionFetch {
            index,
            log: Err(ResponseError::UnknownServerError),
            offset: 0,
            max_bytes: 0,
            paused: false,
            outcome,
        }
    }

    fn reply() -> FetchReply {
        let full = Read {
            high_watermark: 9,
            last_stable_offset: 8,
            log_start_offset: 3,
            records: Bytes::from(vec![7; 300]),
            aborted: Some(vec![AbortedTxn {
                producer_id: 6,
                first_offset: 4,
                last_offset: 5,
                stable_after: 6,
            }]),
        };
        let empty = Read { records: Bytes::new(), aborted: None, ..full.clone() };
        let partitions = vec![
            partition(0, Ok(full)),
            partition(1, Ok(empty)),
            partition(2, Err(ResponseError::OffsetOutOfRange)),
        ];
        let name = TopicName(StrBytes::from_static_str("topic"));
        FetchReply { error: None, topics: vec![TopicFetch { name, id: Uuid::from_u128(5), partitions }] }
    }

    fn expected(version: i16) -> FetchResponse {
        let aborted = AbortedTransaction::default().with_producer_id(ProducerId(6)).with_first_offset(4);
        let data = |index, error, offsets: [i64; 3], records: Bytes| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_high_watermark(offsets[0])
                .with_last_stable_offset(offsets[1])
                .with_log_start_offset(if version >= 5 { offsets[2] } else { -1 })
                .with_aborted_transactions((index == 0).then(|| vec![aborted.clone()]))
                .with_records(Some(records))
        };
        let partitions = vec![
            data(0, 0, [9, 8, 3], Bytes::from(vec![7; 300])),
            data(1, 0, [9, 8, 3], Bytes::new()),
            data(2, 1, [-1, -1, -1], Bytes::new()),
        ];
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        let topic = match version {
            13.. => topic.with_topic_id(Uuid::from_u128(5)),
            _ => topic.with_topic(TopicName(StrBytes::from_static_str("topic"))),
        };
        FetchResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn every_version_reads_as_the_generated_decoder_expects() {
        for version in 4..=18 {
            let ctx = test_context(ApiKey::Fetch, version);
            let Ok(Reply::Frame(mut frame)) = reply().into_reply(&ctx) else { panic!("no frame") };
            let mut bytes = frame.copy_to_bytes(frame.remaining());
            assert_eq!(usize::try_from(bytes.get_i32()).unwrap(), bytes.len(), "version {version}");
            let header = ResponseHeader::decode(&mut bytes, FetchResponse::header_version(version)).unwrap();
            assert_eq!(header.correlation_id, ctx.correlation_id);
            assert_eq!(
                FetchResponse::decode(&mut bytes, version).unwrap(),
                expected(version),
                "version {version}"
            );
            assert!(bytes.is_empty(), "version {version} has {} bytes too many", bytes.len());
        }
    }

    #[test]
    fn records_are_not_copied() {
        let ctx = test_context(ApiKey::Fetch, 12);
        let reply = reply();
        let records = reply.topics[0].partitions[0].outcome.as_ref().unwrap().records.clone();
        let Ok(Reply::Frame(frame)) = reply.into_reply(&ctx) else { panic!("no frame") };
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = frame.chunks_vectored(&mut slices);
        assert!(slices[..filled].iter().any(|slice| slice.as_ptr() == records.as_ptr()));
    }
}
