//! From a request frame to its handler: the table of supported APIs and versions, and the one place that checks them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Message, StrBytes, VersionRange};

use crate::api;
use crate::broker::Broker;
use crate::fault::{Effect, Link};
use crate::refuse::Refuse;
use crate::reply::{IntoReply, Reply};
use crate::request_check;
use crate::request_shapes::shape_of;
use crate::stop::StopSignal;

/// What a handler may want to know about a request besides its body.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Which API.
    pub(crate) api_key: ApiKey,
    /// The version of request and response; always within the supported range.
    pub(crate) api_version: i16,
    /// Copied into the response.
    pub(crate) correlation_id: i32,
    /// The client's name for itself; empty if it gave none.
    pub(crate) client_id: StrBytes,
    /// The connection the request came on.
    pub(crate) connection: ConnectionContext,
}

/// What is the same for all requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionContext {
    /// Counts up from 1 over the broker's life.
    pub(crate) id: u64,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The address the client reached.
    pub(crate) local: SocketAddr,
    /// Given when the broker stops: whoever waits answers at once.
    pub(crate) stopping: StopSignal,
    /// The connection as faults see it.
    pub(crate) link: Arc<Link>,
}

impl RequestContext {
    /// The client's host as Apache Kafka shows it in group descriptions.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.connection.peer.ip())
    }
}

/// Why a request can't be answered; the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No API has this number, or it isn't supported here.
    #[error("unsupported api key {key} version {version}")]
    Unsupported {
        /// The API's number.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// The bytes are not a request of this API and version.
    #[error("malformed {api} request: {reason}")]
    Malformed {
        /// API and version.
        api: String,
        /// What the decoder stumbled over.
        reason: String,
    },
    /// A response that its version can't express: a bug of ours.
    #[error("cannot encode the {api} response: {reason}")]
    Unencodable {
        /// API and version.
        api: String,
        /// What the encoder stumbled over.
        reason: String,
    },
}

impl RequestError {
    /// The error for a failed encoding.
    pub(crate) fn unencodable(ctx: &RequestContext, reason: &dyn std::fmt::Display) -> Self {
        RequestError::Unencodable { api: ctx.api_name(), reason: reason.to_string() }
    }
}

impl RequestContext {
    fn api_name(&self) -> String {
        format!("{:?} v{}", self.api_key, self.api_version)
    }
}

macro_rules! routes {
    ($($key:ident $min:literal ..= $max:literal $request:ident => $module:ident),* $(,)?) => {
        /// Every API the broker answers, with its versions; what `ApiVersions` says.
        pub(crate) const SUPPORTED: &[(ApiKey, VersionRange)] =
            &[$((ApiKey::$key, VersionRange { min: $min, max: $max })),*];

        // A version the codec can't decode must not be promised.
        $(const _: () = {
            let codec = <$request as Message>::VERSIONS;
            assert!(codec.min <= $min && $max <= codec.max);
        };)*

        /// Runs the handler, or refuses the request in its stead.
        async fn dispatch(
            broker: &Broker,
            ctx: &RequestContext,
            body: Bytes,
            refusal: Option<ResponseError>,
        ) -> Result<Reply, RequestError> {
            match ctx.api_key {
                $(ApiKey::$key => {
                    let request = decode::<$request>(ctx, body)?;
                    match refusal.or_else(|| broker.faults().refusal(request.coordinator())) {
                        None => api::$module::handle(broker, ctx, request).await.into_reply(ctx),
                        Some(error) => request.refuse(error, ctx.api_version).into_reply(ctx),
                    }
                })*
                key => Err(RequestError::Unsupported { key: key as i16, version: ctx.api_version }),
            }
        }
    };
}

routes! {
    Produce 3..=13 ProduceRequest => produce,
    Fetch 4..=18 FetchRequest => fetch,
    ListOffsets 1..=10 ListOffsetsRequest => list_offsets,
    Metadata 0..=13 MetadataRequest => metadata,
    OffsetCommit 2..=9 OffsetCommitRequest => offset_commit,
    OffsetFetch 1..=9 OffsetFetchRequest => offset_fetch,
    FindCoordinator 0..=6 FindCoordinatorRequest => find_coordinator,
    JoinGroup 0..=9 JoinGroupRequest => join_group,
    Heartbeat 0..=4 HeartbeatRequest => heartbeat,
    LeaveGroup 0..=5 LeaveGroupRequest => leave_group,
    SyncGroup 0..=5 SyncGroupRequest => sync_group,
    DescribeGroups 0..=6 DescribeGroupsRequest => describe_groups,
    ListGroups 0..=5 ListGroupsRequest => list_groups,
    ApiVersions 0..=4 ApiVersionsRequest => api_versions,
    CreateTopics 2..=7 CreateTopicsRequest => create_topics,
    DeleteTopics 1..=6 DeleteTopicsRequest => delete_topics,
    DeleteRecords 0..=2 DeleteRecordsRequest => delete_records,
    InitProducerId 0..=5 InitProducerIdRequest => init_producer_id,
    AddPartitionsToTxn 0..=3 AddPartitionsToTxnRequest => add_partitions_to_txn,
    AddOffsetsToTxn 0..=4 AddOffsetsToTxnRequest => add_offsets_to_txn,
    EndTxn 0..=5 EndTxnRequest => end_txn,
    WriteTxnMarkers 1..=1 WriteTxnMarkersRequest => write_txn_markers,
    TxnOffsetCommit 0..=5 TxnOffsetCommitRequest => txn_offset_commit,
    DescribeProducers 0..=0 DescribeProducersRequest => describe_producers,
    DescribeTransactions 0..=0 DescribeTransactionsRequest => describe_transactions,
    ListTransactions 0..=2 ListTransactionsRequest => list_transactions,
    OffsetForLeaderEpoch 2..=4 OffsetForLeaderEpochRequest => offset_for_leader_epoch,
    DescribeConfigs 1..=4 DescribeConfigsRequest => describe_configs,
    AlterConfigs 0..=2 AlterConfigsRequest => alter_configs,
    DescribeLogDirs 1..=4 DescribeLogDirsRequest => describe_log_dirs,
    CreatePartitions 0..=3 CreatePartitionsRequest => create_partitions,
    DeleteGroups 0..=2 DeleteGroupsRequest => delete_groups,
    IncrementalAlterConfigs 0..=1 IncrementalAlterConfigsRequest => incremental_alter_configs,
    OffsetDelete 0..=0 OffsetDeleteRequest => offset_delete,
    DescribeCluster 0..=2 DescribeClusterRequest => describe_cluster,
}

/// Decodes one frame (without its size), runs the handler, encodes the answer.
pub(crate) async fn route(
    broker: &Broker,
    connection: &ConnectionContext,
    mut frame: Bytes,
) -> Result<Reply, RequestError> {
    let (key, version) = (frame.clone().try_get_i16(), frame.slice(2.min(frame.len())..).try_get_i16());
    let (Ok(key), Ok(version)) = (key, version) else {
        return Err(malformed_header("shorter than an api key and version"));
    };
    let api_key = ApiKey::try_from(key).map_err(|()| RequestError::Unsupported { key, version })?;
    let Some((_, versions)) = SUPPORTED.iter().find(|(supported, _)| *supported == api_key) else {
        return Err(RequestError::Unsupported { key, version });
    };
    let supported = (versions.min..=versions.max).contains(&version);
    if !supported && api_key != ApiKey::ApiVersions {
        return Err(RequestError::Unsupported { key, version });
    }
    // An ApiVersions request newer than ours is answered in version 0 (KIP-511); of its header only the
    // start, which all versions share, can be relied on.
    let header_version = if supported { api_key.request_header_version(version) } else { 1 };
    let header = RequestHeader::decode(&mut frame, header_version)
        .map_err(|error| malformed_header(&error.to_string()))?;
    let ctx = RequestContext {
        api_key,
        api_version: if supported { version } else { 0 },
        correlation_id: header.correlation_id,
        client_id: header.client_id.unwrap_or_default(),
        connection: connection.clone(),
    };
    if !supported {
        return api::api_versions::unsupported_version().into_reply(&ctx);
    }
    connection.link.belongs_to(&ctx.client_id);
    serve(broker, &ctx, frame).await
}

/// Answers the request, unless a fault was injected that it fits.
async fn serve(broker: &Broker, ctx: &RequestContext, body: Bytes) -> Result<Reply, RequestError> {
    let Some(rule) = broker.faults().strike(ctx) else {
        return dispatch(broker, ctx, body, None).await;
    };
    let (mut stopping, mut cut, mut lifted) =
        (ctx.connection.stopping.clone(), ctx.connection.link.is_cut(), rule.lifted());
    match rule.effect() {
        Effect::Refuse(error) => return dispatch(broker, ctx, body, Some(error)).await,
        Effect::Disconnect => return Ok(Reply::Cut),
        Effect::LoseAnswer => return dispatch(broker, ctx, body, None).await.map(|_| Reply::Cut),
        Effect::Delay(by) => tokio::select! {
            () = tokio::time::sleep(by) => {}
            () = stopping.stopped() => {}
            () = cut.stopped() => return Ok(Reply::Cut),
        },
        Effect::Hold => tokio::select! {
            () = lifted.stopped() => {}
            () = stopping.stopped() => {}
            () = cut.stopped() => return Ok(Reply::Cut),
        },
    }
    dispatch(broker, ctx, body, None).await
}

fn malformed_header(reason: &str) -> RequestError {
    RequestError::Malformed { api: "header of a".to_owned(), reason: reason.to_owned() }
}

fn decode<R: Decodable>(ctx: &RequestContext, mut body: Bytes) -> Result<R, RequestError> {
    let malformed = |reason: String| RequestError::Malformed { api: ctx.api_name(), reason };
    let shape = shape_of(ctx.api_key).ok_or_else(|| malformed("its shape is unknown".to_owned()))?;
    let (flexible_since, shape) = shape;
    request_check::check(&body, shape, ctx.api_version, ctx.api_version >= flexible_since)
        .map_err(|reason| malformed(reason.to_owned()))?;
    R::decode(&mut body, ctx.api_version).map_err(|error| malformed(error.to_string()))
}

/// A context for tests of encoders.
#[cfg(test)]
pub(crate) fn test_context(api_key: ApiKey, api_version: i16) -> RequestContext {
    let address = SocketAddr::from(([127, 0, 0, 1], 9092));
    let (_, stopping) = crate::stop::channel();
    RequestContext {
        api_key,
        api_version,
        correlation_id: 77,
        client_id: StrBytes::from_static_str("test"),
        connection: ConnectionContext { id: 1, peer: address, local: address, stopping, link: Link::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_every_api() {
        let readme = include_str!("../README.md");
        for (key, _) in SUPPORTED {
            assert!(readme.contains(&format!("{key:?}")), "{key:?}");
        }
    }
}
