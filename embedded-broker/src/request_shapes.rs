//! The shape of every request the broker decodes: which fields, in which versions, of which kind.
//!
//! Transcribed from Apache Kafka's message definitions (`clients/src/main/resources/common/message/*Request.json`), the
//! source of the generated decoders. `request_check` walks them; a test holds them against the decoders.

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;

use Shape::{Blob, Fixed, Group, List, Text};

/// What a value looks like on the wire.
#[derive(Debug)]
pub(crate) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A string: 16-bit or compact length; may be null.
    Text,
    /// Bytes or records: 32-bit or compact length; may be null.
    Blob,
    /// An array: 32-bit or compact length; may be null.
    List(&'static Shape),
    /// Fields in order, and the tagged fields the decoder knows, by tag.
    Group(&'static [Field], &'static [Shape]),
}

/// A field and the versions that have it.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) shape: Shape,
}

const fn always(shape: Shape) -> Field {
    since(0, shape)
}

const fn since(version: i16, shape: Shape) -> Field {
    within(version, i16::MAX, shape)
}

const fn within(first: i16, last: i16, shape: Shape) -> Field {
    Field { versions: first..=last, shape }
}

const fn group(fields: &'static [Field]) -> Shape {
    Group(fields, &[])
}

/// The first version with compact lengths and tagged fields, and the shape; `None` for an API the broker has not.
pub(crate) fn shape_of(key: ApiKey) -> Option<(i16, &'static Shape)> {
    Some(match key {
        ApiKey::Produce => (9, &PRODUCE),
        ApiKey::Fetch => (12, &FETCH),
        ApiKey::ListOffsets => (6, &LIST_OFFSETS),
        ApiKey::Metadata => (9, &METADATA),
        ApiKey::OffsetCommit => (8, &OFFSET_COMMIT),
        ApiKey::OffsetFetch => (6, &OFFSET_FETCH),
        ApiKey::FindCoordinator => (3, &FIND_COORDINATOR),
        ApiKey::JoinGroup => (6, &JOIN_GROUP),
        ApiKey::Heartbeat => (4, &HEARTBEAT),
        ApiKey::LeaveGroup => (4, &LEAVE_GROUP),
        ApiKey::SyncGroup => (4, &SYNC_GROUP),
        ApiKey::DescribeGroups => (5, &DESCRIBE_GROUPS),
        ApiKey::ListGroups => (3, &LIST_GROUPS),
        ApiKey::ApiVersions => (3, &API_VERSIONS),
        ApiKey::CreateTopics => (5, &CREATE_TOPICS),
        ApiKey::DeleteTopics => (4, &DELETE_TOPICS),
        ApiKey::DeleteRecords => (2, &DELETE_RECORDS),
        ApiKey::InitProducerId => (2, &INIT_PRODUCER_ID),
        ApiKey::AddPartitionsToTxn => (3, &ADD_PARTITIONS_TO_TXN),
        ApiKey::AddOffsetsToTxn => (3, &ADD_OFFSETS_TO_TXN),
        ApiKey::EndTxn => (3, &END_TXN),
        ApiKey::WriteTxnMarkers => (1, &WRITE_TXN_MARKERS),
        ApiKey::TxnOffsetCommit => (3, &TXN_OFFSET_COMMIT),
        ApiKey::DescribeProducers => (0, &DESCRIBE_PRODUCERS),
        ApiKey::DescribeTransactions => (0, &DESCRIBE_TRANSACTIONS),
        ApiKey::ListTransactions => (0, &LIST_TRANSACTIONS),
        ApiKey::OffsetForLeaderEpoch => (4, &OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DescribeConfigs => (4, &DESCRIBE_CONFIGS),
        ApiKey::AlterConfigs => (2, &ALTER_CONFIGS),
        ApiKey::DescribeLogDirs => (2, &DESCRIBE_LOG_DIRS),
        ApiKey::CreatePartitions => (2, &CREATE_PARTITIONS),
        ApiKey::DeleteGroups => (2, &DELETE_GROUPS),
        ApiKey::IncrementalAlterConfigs => (1, &INCREMENTAL_ALTER_CONFIGS),
        ApiKey::OffsetDelete => (i16::MAX, &OFFSET_DELETE),
        ApiKey::DescribeCluster => (0, &DESCRIBE_CLUSTER),
        _ => return None,
    })
}

const PRODUCE: Shape = group(&[
    always(Text),
    always(Fixed(2)),
    always(Fixed(4)),
    always(List(&group(&[
        within(3, 12, Text),
        since(13, Fixed(16)),
        always(List(&group(&[always(Fixed(4)), always(Blob)]))),
    ]))),
]);

const FETCH: Shape = Group(
    &[
        within(4, 14, Fixed(4)),
        always(Fixed(4)),
        always(Fixed(4)),
        always(Fixed(4)),
        always(Fixed(1)),
        since(7, Fixed(4)),
        since(7, Fixed(4)),
        always(List(&group(&[
            within(4, 12, Text),
            since(13, Fixed(16)),
            always(List(&Group(
                &[
                    always(Fixed(4)),
                    since(9, Fixed(4)),
                    always(Fixed(8)),
                    since(12, Fixed(4)),
                    since(5, Fixed(8)),
                    always(Fixed(4)),
                ],
                &[Fixed(16), Fixed(8)],
            ))),
        ]))),
        since(7, List(&group(&[within(7, 12, Text), since(13, Fixed(16)), since(7, List(&Fixed(4)))]))),
        since(11, Text),
    ],
    &[Text, group(&[always(Fixed(4)), always(Fixed(8))])],
);

const LIST_OFFSETS: Shape = group(&[
    always(Fixed(4)),
    since(2, Fixed(1)),
    always(List(&group(&[
        always(Text),
        always(List(&group(&[always(Fixed(4)), since(4, Fixed(4)), always(Fixed(8))]))),
    ]))),
    since(10, Fixed(4)),
]);

const METADATA: Shape = group(&[
    always(List(&group(&[since(10, Fixed(16)), always(Text)]))),
    since(4, Fixed(1)),
    within(8, 10, Fixed(1)),
    since(8, Fixed(1)),
]);

const OFFSET_COMMIT: Shape = group(&[
    always(Text),
    always(Fixed(4)),
    always(Text),
    since(7, Text),
    within(2, 4, Fixed(8)),
    always(List(&group(&[
        always(Text),
        always(List(&group(&[always(Fixed(4)), always(Fixed(8)), since(6, Fixed(4)), always(Text)]))),
    ]))),
]);

const OFFSET_FETCH: Shape = group(&[
    within(1, 7, Text),
    within(1, 7, List(&group(&[within(1, 7, Text), within(1, 7, List(&Fixed(4)))]))),
    since(
        8,
        List(&group(&[
            since(8, Text),
            since(9, Text),
            since(9, Fixed(4)),
            since(8, List(&group(&[since(8, Text), since(8, List(&Fixed(4)))]))),
        ])),
    ),
    since(7, Fixed(1)),
]);

const FIND_COORDINATOR: Shape = group(&[within(0, 3, Text), since(1, Fixed(1)), since(4, List(&Text))]);

const JOIN_GROUP: Shape = group(&[
    always(Text),
    always(Fixed(4)),
    since(1, Fixed(4)),
    always(Text),
    since(5, Text),
    always(Text),
    always(List(&group(&[always(Text), always(Blob)]))),
    since(8, Text),
]);

const HEARTBEAT: Shape = group(&[always(Text), always(Fixed(4)), always(Text), since(3, Text)]);

const LEAVE_GROUP: Shape = group(&[
    always(Text),
    within(0, 2, Text),
    since(3, List(&group(&[since(3, Text), since(3, Text), since(5, Text)]))),
]);

const SYNC_GROUP: Shape = group(&[
    always(Text),
    always(Fixed(4)),
    always(Text),
    since(3, Text),
    since(5, Text),
    since(5, Text),
    always(List(&group(&[always(Text), always(Blob)]))),
]);

const DESCRIBE_GROUPS: Shape = group(&[always(List(&Text)), since(3, Fixed(1))]);

const LIST_GROUPS: Shape = group(&[since(4, List(&Text)), since(5, List(&Text))]);

const API_VERSIONS: Shape = group(&[since(3, Text), since(3, Text)]);

const CREATE_TOPICS: Shape = group(&[
    always(List(&group(&[
        always(Text),
        always(Fixed(4)),
        always(Fixed(2)),
        always(List(&group(&[always(Fixed(4)), always(List(&Fixed(4)))]))),
        always(List(&group(&[always(Text), always(Text)]))),
    ]))),
    always(Fixed(4)),
    always(Fixed(1)),
]);

const DELETE_TOPICS: Shape = group(&[
    since(6, List(&group(&[since(6, Text), since(6, Fixed(16))]))),
    within(1, 5, List(&Text)),
    always(Fixed(4)),
]);

const DELETE_RECORDS: Shape = group(&[
    always(List(&group(&[always(Text), always(List(&group(&[always(Fixed(4)), always(Fixed(8))])))]))),
    always(Fixed(4)),
]);

const INIT_PRODUCER_ID: Shape =
    group(&[always(Text), always(Fixed(4)), since(3, Fixed(8)), since(3, Fixed(2))]);

// Up to version 3, which is what clients send.
const ADD_PARTITIONS_TO_TXN: Shape = group(&[
    always(Text),
    always(Fixed(8)),
    always(Fixed(2)),
    always(List(&group(&[always(Text), always(List(&Fixed(4)))]))),
]);

const ADD_OFFSETS_TO_TXN: Shape = group(&[always(Text), always(Fixed(8)), always(Fixed(2)), always(Text)]);

const END_TXN: Shape = group(&[always(Text), always(Fixed(8)), always(Fixed(2)), always(Fixed(1))]);

const WRITE_TXN_MARKERS: Shape = group(&[always(List(&group(&[
    always(Fixed(8)),
    always(Fixed(2)),
    always(Fixed(1)),
    always(List(&group(&[always(Text), always(List(&Fixed(4)))]))),
    always(Fixed(4)),
])))]);

const TXN_OFFSET_COMMIT: Shape = group(&[
    always(Text),
    always(Text),
    always(Fixed(8)),
    always(Fixed(2)),
    since(3, Fixed(4)),
    since(3, Text),
    since(3, Text),
    always(List(&group(&[
        always(Text),
        always(List(&group(&[always(Fixed(4)), always(Fixed(8)), since(2, Fixed(4)), always(Text)]))),
    ]))),
]);

const DESCRIBE_PRODUCERS: Shape = group(&[always(List(&group(&[always(Text), always(List(&Fixed(4)))])))]);

const DESCRIBE_TRANSACTIONS: Shape = group(&[always(List(&Text))]);

const LIST_TRANSACTIONS: Shape =
    group(&[always(List(&Text)), always(List(&Fixed(8))), since(1, Fixed(8)), since(2, Text)]);

const OFFSET_FOR_LEADER_EPOCH: Shape = group(&[
    since(3, Fixed(4)),
    always(List(&group(&[
        always(Text),
        always(List(&group(&[always(Fixed(4)), always(Fixed(4)), always(Fixed(4))]))),
    ]))),
]);

const DESCRIBE_CONFIGS: Shape = group(&[
    always(List(&group(&[always(Fixed(1)), always(Text), always(List(&Text))]))),
    always(Fixed(1)),
    since(3, Fixed(1)),
]);

const ALTER_CONFIGS: Shape = group(&[
    always(List(&group(&[
        always(Fixed(1)),
        always(Text),
        always(List(&group(&[always(Text), always(Text)]))),
    ]))),
    always(Fixed(1)),
]);

const DESCRIBE_LOG_DIRS: Shape = group(&[always(List(&group(&[always(Text), always(List(&Fixed(4)))])))]);

const CREATE_PARTITIONS: Shape = group(&[
    always(List(&group(&[always(Text), always(Fixed(4)), always(List(&group(&[always(List(&Fixed(4)))])))]))),
    always(Fixed(4)),
    always(Fixed(1)),
]);

const DELETE_GROUPS: Shape = group(&[always(List(&Text))]);

const INCREMENTAL_ALTER_CONFIGS: Shape = group(&[
    always(List(&group(&[
        always(Fixed(1)),
        always(Text),
        always(List(&group(&[always(Text), always(Fixed(1)), always(Text)]))),
    ]))),
    always(Fixed(1)),
]);

const OFFSET_DELETE: Shape =
    group(&[always(Text), always(List(&group(&[always(Text), always(List(&group(&[always(Fixed(4))])))])))]);

const DESCRIBE_CLUSTER: Shape = group(&[always(Fixed(1)), since(1, Fixed(1)), since(2, Fixed(1))]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::SUPPORTED;

    #[test]
    fn every_supported_api_has_a_shape() {
        for (key, _) in SUPPORTED {
            assert!(shape_of(*key).is_some(), "{key:?}");
        }
    }
}
