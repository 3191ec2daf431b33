//! What a request is answered with when it is refused as a whole, before its handler sees it: the error in every place
//! where the API's answer has one (Apache Kafka's `AbstractRequest.getErrorResponse`).
//!
//! Refused are requests that a test wants to fail ([`crate::fault`]) and those of a coordinator that was lost. [`data`]
//! has the APIs of topics and their records, [`groups`] those of groups, [`transactions`] those of transactions.

mod data;
mod groups;
mod transactions;

use kafka_protocol::ResponseError;

use crate::fault::Coordinator;
use crate::reply::IntoReply;

/// A request that can be answered without being handled.
pub(crate) trait Refuse {
    /// What the API's handler answers with.
    type Answer: IntoReply;

    /// The answer that says `error` and nothing else, for a request of this version.
    fn refuse(self, error: ResponseError, version: i16) -> Self::Answer;

    /// The coordinator that the request is for, if it is for one.
    fn coordinator(&self) -> Option<Coordinator> {
        None
    }
}

/// For answers that have their only error at the top.
macro_rules! refused_at_the_top {
    ($($request:ident => $response:ident $(of $coordinator:expr)?),* $(,)?) => {
        $(impl crate::refuse::Refuse for $request {
            type Answer = $response;

            fn refuse(self, error: kafka_protocol::ResponseError, _: i16) -> $response {
                $response::default().with_error_code(error.code())
            }

            $(fn coordinator(&self) -> Option<crate::fault::Coordinator> {
                Some($coordinator)
            })?
        })*
    };
}
use refused_at_the_top;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiKey, HeartbeatRequest, JoinGroupRequest, ListOffsetsRequest, OffsetFetchRequest,
    };

    use super::*;
    use crate::reply::Reply;
    use crate::router::{self, SUPPORTED};

    /// Every version that is promised can carry a refusal: no field is set that the version has not.
    #[test]
    fn refusals_can_be_encoded_in_every_version() {
        fn try_all<R: Refuse + Default>(api_key: ApiKey) {
            let (_, versions) = SUPPORTED.iter().find(|(key, _)| *key == api_key).unwrap();
            for version in versions.min..=versions.max {
                let answer = R::default().refuse(ResponseError::NotCoordinator, version);
                let reply = answer.into_reply(&router::test_context(api_key, version));
                assert!(matches!(reply, Ok(Reply::Frame(_))), "{api_key:?} v{version}: {reply:?}");
            }
        }
        try_all::<JoinGroupRequest>(ApiKey::JoinGroup);
        try_all::<HeartbeatRequest>(ApiKey::Heartbeat);
        try_all::<ListOffsetsRequest>(ApiKey::ListOffsets);
        try_all::<OffsetFetchRequest>(ApiKey::OffsetFetch);
    }
}
