//! The serde of a value that may be null, from the serde of the value.

use kstreams_state_stores::{DynSerde, Serde, SerdeError};

use crate::null::Nulls;

/// Reads and writes null as `None`; a serde whose own values may be null reads it as `None` too, never as
/// `Some(None)`.
pub(crate) struct NullableSerde<T> {
    serde: DynSerde<T>,
}

impl<T> Clone for NullableSerde<T> {
    fn clone(&self) -> Self {
        NullableSerde { serde: self.serde.clone() }
    }
}

/// `serde` for values that may be null.
pub(crate) fn nullable<T: 'static>(serde: &DynSerde<T>) -> DynSerde<Option<T>> {
    DynSerde::new(NullableSerde { serde: serde.clone() })
}

impl<T: 'static> Serde for NullableSerde<T> {
    type Target = Option<T>;

    fn serialize(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(value, out).map(|_present| ())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Option<T>, SerdeError> {
        self.deserialize_nullable(Some(bytes))
    }
    fn serialize_nullable(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        match value {
            Some(value) => self.serde.serialize_nullable(value, out),
            None => Ok(false),
        }
    }
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Option<T>, SerdeError> {
        match bytes {
            Some(bytes) => self.serde.deserialize(bytes).map(|value| Nulls::of().present(value)),
            None => Ok(None),
        }
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        NullableSerde { serde: self.serde.for_topic(topic, is_key) }
    }
}
