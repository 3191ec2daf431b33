//! ApiVersions: which APIs in which versions this broker answers (KIP-35, KIP-511).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::broker::Broker;
use crate::router::{RequestContext, SUPPORTED};

/// Lists every API.
pub(crate) async fn handle(_: &Broker, _: &RequestContext, _: ApiVersionsRequest) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(api_keys())
}

/// The answer to a version newer than ours: the client asks again with one from the list.
pub(crate) fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(api_keys())
}

fn api_keys() -> Vec<ApiVersion> {
    let entry =
        |(key, versions): &(kafka_protocol::messages::ApiKey, kafka_protocol::protocol::VersionRange)| {
            ApiVersion::default()
                .with_api_key(*key as i16)
                .with_min_version(versions.min)
                .with_max_version(versions.max)
        };
    SUPPORTED.iter().map(entry).collect()
}
