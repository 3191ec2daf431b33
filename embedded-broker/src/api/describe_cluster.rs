//! DescribeCluster: the one broker, as a cluster (KIP-700).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::CLUSTER_OPERATIONS;
use crate::broker::{Broker, NODE_ID};
use crate::router::RequestContext;

/// `endpoint_type` of brokers; the other one, 2, asks for KRaft controllers.
const BROKERS: i8 = 1;

/// Describes the broker.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default();
    if ctx.api_version >= 1 && request.endpoint_type != BROKERS {
        return response.with_error_code(ResponseError::MismatchedEndpointType.code()).with_error_message(
            Some(StrBytes::from_static_str("this endpoint is a broker, not a controller")),
        );
    }
    let address = broker.advertised(ctx.connection.local);
    let node = DescribeClusterBroker::default()
        .with_broker_id(NODE_ID)
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    let operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { i32::MIN };
    response
        .with_cluster_id(StrBytes::from_string(broker.data_dir().cluster_id().to_owned()))
        .with_controller_id(NODE_ID)
        .with_brokers(vec![node])
        .with_cluster_authorized_operations(operations)
}
