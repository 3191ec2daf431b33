//! The one thing the broker reads out of members' metadata: which topics a consumer subscribes to.
//!
//! Reference: Apache Kafka `ConsumerProtocolSubscription`. Version 0 (version, topics, user data) is the prefix of
//! every later version, so it is read as version 0 whatever it says.

use bytes::Buf;
use kafka_protocol::protocol::StrBytes;

/// The topics of a consumer's subscription; `None` if the bytes aren't one.
pub(crate) fn topics(mut metadata: &[u8]) -> Option<Vec<StrBytes>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = metadata.try_get_i32().ok()?.max(0);
    let mut topics = Vec::new();
    // The count isn't trusted for an allocation: every topic must be there.
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (name, rest) = metadata.split_at_checked(length)?;
        topics.push(StrBytes::from_string(std::str::from_utf8(name).ok()?.to_owned()));
        metadata = rest;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_version_is_read_as_version_0() {
        let bytes = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff and more";
        assert_eq!(
            topics(bytes),
            Some(vec![StrBytes::from_static_str("a"), StrBytes::from_static_str("bc")])
        );
    }

    #[test]
    fn bytes_that_are_no_subscription_are_refused() {
        let bytes = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc";
        for end in 0..bytes.len() {
            assert_eq!(topics(&bytes[..end]), None, "prefix of {end} bytes");
        }
        assert_eq!(topics(b"\x00\x00\x7f\xff\xff\xff"), None);
        assert_eq!(topics(b"\xff\xff\x00\x00\x00\x00"), None);
    }
}
