//! ApiVersions: which APIs in which versions this broker answers (KIP-35, KIP-511), and which features it has (KIP-584).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::router::{RequestContext, SUPPORTED};
use crate::txn;

/// Lists every API. The feature tells clients that they may use the later versions of the transactional ones (KIP-890).
pub(crate) async fn handle(_: &Broker, ctx: &RequestContext, _: ApiVersionsRequest) -> ApiVersionsResponse {
    let response = ApiVersionsResponse::default().with_api_keys(api_keys());
    if ctx.api_version < FEATURES {
        return response;
    }
    let name = StrBytes::from_static_str(txn::FEATURE);
    let in_force = FinalizedFeatureKey::default()
        .with_name(name.clone())
        .with_min_version_level(txn::VERSION)
        .with_max_version_level(txn::VERSION);
    let response = response.with_finalized_features_epoch(0).with_finalized_features(vec![in_force]);
    if ctx.api_version < ZERO {
        return response;
    }
    let possible = SupportedFeatureKey::default().with_name(name).with_max_version(txn::VERSION);
    response.with_supported_features(vec![possible])
}

/// The first version that tells of features, and the first whose readers take a range that begins with 0 (KIP-1022).
const FEATURES: i16 = 3;
const ZERO: i16 = 4;

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
