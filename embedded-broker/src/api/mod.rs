//! One module per API: `async fn handle(broker, context, request) -> response`.
//!
//! A handler gets a request whose version is supported and answers every fault with the protocol's error code.

pub(crate) mod api_versions;
pub(crate) mod metadata;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// A fault of one item of a request: the protocol's error and a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Goes into `error_code`.
    pub(crate) error: ResponseError,
    /// Goes into `error_message` where the response has one.
    pub(crate) message: String,
}

impl ApiError {
    /// An error with a message of its own.
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        ApiError { error, message: message.into() }
    }

    /// `error_code`.
    pub(crate) fn code(&self) -> i16 {
        self.error.code()
    }

    /// `error_message`.
    pub(crate) fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

/// "No error" in the protocol.
pub(crate) const NONE: i16 = 0;
