//! A look over a request's bytes before they are decoded.
//!
//! The generated decoders believe an array's length before they have seen its elements, so that twelve bytes can ask
//! for gigabytes. Here every length is compared with the bytes that are there: what passes has at most
//! [`MAX_ELEMENTS`] array elements, all present. Payloads are skipped, not read.

use bytes::Buf;

use crate::request_shapes::{Field, Shape};

/// Most array elements in one request, over all its arrays. The largest real requests name every partition of a
/// broker a few times.
const MAX_ELEMENTS: usize = 1_000_000;

/// Checks that `body` has the given shape. `flexible` says whether this version has compact lengths and tagged fields.
pub(crate) fn check(body: &[u8], shape: &Shape, version: i16, flexible: bool) -> Result<(), &'static str> {
    let mut walk = Walk { rest: body, version, flexible, elements_left: MAX_ELEMENTS };
    walk.value(shape)
}

const SHORT: &str = "it ends within a field";
const NEGATIVE: &str = "a length is negative";

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

impl Walk<'_> {
    fn value(&mut self, shape: &Shape) -> Result<(), &'static str> {
        match shape {
            Shape::Fixed(bytes) => self.skip(*bytes),
            Shape::Text => {
                let length = self.length(2)?;
                self.skip(length)
            }
            Shape::Blob => {
                let length = self.length(4)?;
                self.skip(length)
            }
            Shape::List(element) => self.list(element),
            Shape::Group(fields, tagged) => self.group(fields, tagged),
        }
    }

    fn list(&mut self, element: &Shape) -> Result<(), &'static str> {
        let count = self.length(4)?;
        if count > self.rest.len() {
            return Err("an array is longer than the request");
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or("it has too many array elements")?;
        (0..count).try_for_each(|_| self.value(element))
    }

    fn group(&mut self, fields: &[Field], tagged: &[Shape]) -> Result<(), &'static str> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.versions.contains(&version)) {
            self.value(&field.shape)?;
        }
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()?);
            let before = self.rest.len();
            // The decoder reads the fields it knows by their own shape: it must end where the size says.
            match tagged.get(tag) {
                Some(shape) => self.value(shape)?,
                None => self.skip(size)?,
            }
            if before - self.rest.len() != size {
                return Err("a tagged field has the wrong size");
            }
        }
        Ok(())
    }

    /// A length in front of text, bytes or an array, `width` bytes wide where it isn't compact; 0 for null.
    fn length(&mut self, width: usize) -> Result<usize, &'static str> {
        if self.flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        let length = match width {
            2 => self.rest.try_get_i16().map(i32::from),
            _ => self.rest.try_get_i32(),
        };
        match length.map_err(|_| SHORT)? {
            -1 => Ok(0),
            length => usize::try_from(length).map_err(|_| NEGATIVE),
        }
    }

    fn varint(&mut self) -> Result<usize, &'static str> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.try_get_u8().map_err(|_| SHORT)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| "a length is out of range")
                    .map(|value| value as usize);
            }
        }
        Err("a length is out of range")
    }

    fn skip(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.rest = self.rest.get(bytes..).ok_or(SHORT)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
    use kafka_protocol::messages::{ApiKey, FetchRequest, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::request_shapes::shape_of;

    fn check_api(key: ApiKey, version: i16, body: &[u8]) -> Result<(), &'static str> {
        let (flexible_since, shape) = shape_of(key).unwrap();
        check(body, shape, version, version >= flexible_since)
    }

    fn fetch(version: i16) -> BytesMut {
        let partition = FetchPartition::default().with_partition(3);
        let mut topic = FetchTopic::default().with_partitions(vec![partition.clone(), partition]);
        if version < 13 {
            topic.topic = TopicName(StrBytes::from_static_str("topic"));
        }
        let mut request = FetchRequest::default().with_topics(vec![topic]);
        if version >= 15 {
            request.replica_state = ReplicaState::default().with_replica_epoch(4);
        }
        if version >= 12 {
            request.cluster_id = Some(StrBytes::from_static_str("cluster"));
        }
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes, version).unwrap();
        bytes
    }

    #[test]
    fn real_requests_pass_and_their_beginnings_do_not() {
        for version in 4..=18 {
            let bytes = fetch(version);
            assert_eq!(check_api(ApiKey::Fetch, version, &bytes), Ok(()), "version {version}");
            for end in 0..bytes.len() {
                assert!(
                    check_api(ApiKey::Fetch, version, &bytes[..end]).is_err(),
                    "version {version}, {end} bytes"
                );
            }
        }
    }

    #[test]
    fn lengths_beyond_the_request_are_refused() {
        assert!(check_api(ApiKey::Metadata, 1, &i32::MAX.to_be_bytes()).is_err());
        assert!(check_api(ApiKey::CreateTopics, 7, &[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(check_api(ApiKey::Metadata, 1, &(-2_i32).to_be_bytes()).is_err());
    }

    #[test]
    fn too_many_elements_are_refused_even_if_they_are_there() {
        let mut body = (MAX_ELEMENTS as i32 + 1).to_be_bytes().to_vec();
        body.resize(4 + 2 * (MAX_ELEMENTS + 1), 0);
        assert_eq!(check_api(ApiKey::Metadata, 1, &body), Err("it has too many array elements"));
    }

    #[test]
    fn a_tagged_field_must_have_the_size_it_says() {
        let mut bytes = fetch(12).to_vec();
        // The last tagged field is the cluster id: tag 0, size 8, length 8, seven letters.
        let size_at = bytes.len() - 9;
        assert_eq!(bytes[size_at], 8);
        bytes[size_at] = 3;
        assert!(check_api(ApiKey::Fetch, 12, &bytes).is_err());
    }
}
