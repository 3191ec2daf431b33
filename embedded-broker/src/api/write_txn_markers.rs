//! WriteTxnMarkers: ends a transaction in single partitions. Among the brokers of a cluster coordinators send it; here only
//! an administrator does, to abort a transaction that no coordinator knows of any more (KIP-664).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use tokio::task::block_in_place;

use crate::api::{NONE, append_error};
use crate::broker::Broker;
use crate::log::Marker;
use crate::router::RequestContext;
use crate::topics::OFFSETS_TOPIC;

/// Writes each marker to each partition on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let results = request.markers.iter().map(|asked| {
        let topics = asked.topics.iter().map(|topic| {
            let partition = |index: &i32| {
                let written = block_in_place(|| write(broker, asked, &topic.name, *index));
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(written.map_or_else(|error| error.code(), |()| NONE))
            };
            let partitions = topic.partition_indexes.iter().map(partition).collect();
            WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        let topics = topics.collect();
        WritableTxnMarkerResult::default().with_producer_id(asked.producer_id).with_topics(topics)
    });
    WriteTxnMarkersResponse::default().with_markers(results.collect())
}

fn write(
    broker: &Broker,
    asked: &WritableTxnMarker,
    topic: &str,
    partition: i32,
) -> Result<(), ResponseError> {
    let marker = Marker {
        producer_id: asked.producer_id.0,
        producer_epoch: asked.producer_epoch,
        commit: asked.transaction_result,
    };
    let log = broker.catalog().log(topic, partition)?;
    if topic == OFFSETS_TOPIC {
        // Pending offsets of groups end with it.
        return broker.groups().end_transaction(&marker).map_err(|error| error.for_coordinator());
    }
    log.append_marker(&marker).map(drop).map_err(|error| append_error(&error))
}
