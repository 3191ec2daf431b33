//! Records that wait for a partner: their store's keys and values, and the stream time that both sides of a join share.
//!
//! ```text
//! key     timestamp i64 | side (01 left, 00 right) | key        in this order they are looked at
//! value   list of: side | value
//! ```

use kstreams_state_stores::{DynSerde, KeyValueStore, ListSerde, Serde, SerdeError};

/// The store of unmatched records; those with the same key, time and side are one entry (`ListValueStore`).
pub(super) type UnmatchedStore<K, L, R> = KeyValueStore<UnmatchedKey<K>, Vec<EitherValue<L, R>>>;

/// Key of an unmatched record (`TimestampedKeyAndJoinSide`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnmatchedKey<K> {
    pub(super) timestamp: i64,
    pub(super) is_left: bool,
    pub(super) key: K,
}

/// Value of an unmatched record (`LeftOrRightValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EitherValue<L, R> {
    Left(L),
    Right(R),
}

const LEFT: u8 = 1;
const RIGHT: u8 = 0;

/// Serde of [`UnmatchedKey`].
pub(super) struct UnmatchedKeySerde<K>(pub(super) DynSerde<K>);

impl<K> Clone for UnmatchedKeySerde<K> {
    fn clone(&self) -> Self {
        UnmatchedKeySerde(self.0.clone())
    }
}

impl<K: 'static> Serde for UnmatchedKeySerde<K> {
    type Target = UnmatchedKey<K>;

    fn serialize(&self, key: &UnmatchedKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&key.timestamp.to_be_bytes());
        out.push(if key.is_left { LEFT } else { RIGHT });
        self.0.serialize(&key.key, out)
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<UnmatchedKey<K>, SerdeError> {
        let malformed = || SerdeError::other("too short for the key of an unmatched record");
        let (timestamp, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let (&side, key) = rest.split_first().ok_or_else(malformed)?;
        let timestamp = i64::from_be_bytes(*timestamp);
        Ok(UnmatchedKey { timestamp, is_left: side == LEFT, key: self.0.deserialize(key)? })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        UnmatchedKeySerde(self.0.for_topic(topic, is_key))
    }
}

/// Serde of [`EitherValue`].
pub(super) struct EitherValueSerde<L, R>(DynSerde<L>, DynSerde<R>);

impl<L, R> Clone for EitherValueSerde<L, R> {
    fn clone(&self) -> Self {
        EitherValueSerde(self.0.clone(), self.1.clone())
    }
}

/// The serde of the store's values.
pub(super) fn list_serde<L: 'static, R: 'static>(
    left: &DynSerde<L>,
    right: &DynSerde<R>,
) -> ListSerde<EitherValueSerde<L, R>> {
    ListSerde::new(EitherValueSerde(left.clone(), right.clone()))
}

impl<L: 'static, R: 'static> Serde for EitherValueSerde<L, R> {
    type Target = EitherValue<L, R>;

    fn serialize(&self, value: &EitherValue<L, R>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match value {
            EitherValue::Left(left) => {
                out.push(LEFT);
                self.0.serialize(left, out)
            }
            EitherValue::Right(right) => {
                out.push(RIGHT);
                self.1.serialize(right, out)
            }
        }
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<EitherValue<L, R>, SerdeError> {
        match bytes.split_first() {
            Some((&LEFT, left)) => Ok(EitherValue::Left(self.0.deserialize(left)?)),
            Some((&RIGHT, right)) => Ok(EitherValue::Right(self.1.deserialize(right)?)),
            _ => Err(SerdeError::other("these are not the bytes of an unmatched record")),
        }
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        EitherValueSerde(self.0.for_topic(topic, is_key), self.1.for_topic(topic, is_key))
    }
}

/// What both sides of a join know of time (`KStreamImplJoin.TimeTracker`).
#[derive(Debug)]
pub(super) struct JoinTime {
    /// The highest timestamp of either side; -1 before the first.
    pub(super) stream_time: i64,
    /// The least timestamp of a record that waits; `i64::MAX`: none is known of.
    pub(super) earliest: i64,
    /// Wall clock before which the store is not looked through again.
    next_look_ms: i64,
}

impl Default for JoinTime {
    fn default() -> Self {
        JoinTime { stream_time: -1, earliest: i64::MAX, next_look_ms: 0 }
    }
}

impl JoinTime {
    /// Whether records may wait whose window is over, given how long it lasts after their time; if so, and if it is time
    /// for it, the next look is due an interval later.
    pub(super) fn is_look_due(&mut self, lasts_ms: i64, now_ms: i64, interval_ms: i64) -> bool {
        // With nothing known to wait the sum overflows in the JVM, which then looks (and so counts the interval).
        if self.earliest.wrapping_add(lasts_ms) >= self.stream_time || now_ms < self.next_look_ms {
            return false;
        }
        self.next_look_ms = now_ms.saturating_add(interval_ms);
        self.earliest = i64::MAX;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<S: Serde>(serde: &S, value: &S::Target) -> String {
        let mut bytes = Vec::new();
        serde.serialize(value, &mut bytes).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Of the JVM's `TimestampedKeyAndJoinSideSerde`, `LeftOrRightValueSerde` and `ListSerde`.
    #[test]
    fn bytes_are_those_of_the_jvm() {
        let text = || DynSerde::new(String::new());
        let (keys, values) = (UnmatchedKeySerde(text()), list_serde(&text(), &text()));
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/outer_join_store.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let of = |name: &str| case[name].as_str().unwrap().to_owned();
            let is_left = of("side") == "left";
            let key =
                UnmatchedKey { timestamp: case["timestamp"].as_i64().unwrap(), is_left, key: of("key") };
            assert_eq!(hex(&keys, &key), of("storeKey"));
            let value = match is_left {
                true => EitherValue::Left(of("value")),
                false => EitherValue::Right(of("value")),
            };
            assert_eq!(hex(&EitherValueSerde(text(), text()), &value), of("oneValue"));
            assert_eq!(hex(&values, &vec![value.clone()]), of("storeValue_list_of_one"));
            let two = vec![value.clone(), value];
            assert_eq!(hex(&values, &two), of("storeValue_list_of_two_equal"));

            let mut bytes = Vec::new();
            keys.serialize(&key, &mut bytes).unwrap();
            assert_eq!(keys.deserialize(&bytes).unwrap(), key);
            bytes.clear();
            values.serialize(&two, &mut bytes).unwrap();
            assert_eq!(values.deserialize(&bytes).unwrap(), two);
        }
    }

    #[test]
    fn the_store_is_looked_through_once_an_interval_and_only_if_a_window_may_be_over() {
        let mut time = JoinTime { stream_time: 100, earliest: 80, next_look_ms: 0 };
        assert!(!time.is_look_due(20, 0, 10), "the window lasts to 100");
        assert!(time.is_look_due(19, 0, 10));
        time.earliest = 80;
        assert!(!time.is_look_due(19, 9, 10), "not yet again");
        assert!(time.is_look_due(19, 10, 10));
    }
}
