//! Where a transaction ends: in the partitions it has written to, and in the groups it has committed offsets of.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use crate::api::append_error;
use crate::group::GroupCoordinator;
use crate::log::{AppendError, Marker, TopicPartitionName};
use crate::topics::{Catalog, OFFSETS_TOPIC};
use crate::txn::Partitions;

/// Writes the transaction coordinator's markers.
#[derive(Debug)]
pub(crate) struct MarkerWriter {
    catalog: Arc<Catalog>,
    groups: Arc<GroupCoordinator>,
}

impl MarkerWriter {
    /// A writer to all topics of a broker.
    pub(crate) fn new(catalog: Arc<Catalog>, groups: Arc<GroupCoordinator>) -> Self {
        MarkerWriter { catalog, groups }
    }
}

impl Partitions for MarkerWriter {
    fn end_transaction(&self, partition: &TopicPartitionName, marker: &Marker) -> Result<(), ResponseError> {
        if *partition.topic == *OFFSETS_TOPIC {
            return self.groups.end_transaction(marker).map_err(|error| error.for_coordinator());
        }
        let log = match self.catalog.log(&partition.topic, partition.partition) {
            Ok(log) => log,
            // Deleted meanwhile, and its part of the transaction with it.
            Err(ResponseError::UnknownTopicOrPartition) => return Ok(()),
            Err(error) => return Err(error),
        };
        match log.append_marker(marker) {
            Ok(_) => Ok(()),
            // A newer epoch could only write after its predecessor's transaction had ended here.
            Err(error @ AppendError::InvalidProducerEpoch { .. }) => {
                tracing::warn!(%error, "transaction marker not needed");
                Ok(())
            }
            Err(error) => Err(append_error(&error)),
        }
    }
}
