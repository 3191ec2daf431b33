//! The JVM's primitive serdes, byte for byte (`org.apache.kafka.common.serialization`): big-endian numbers, UTF-8 text,
//! a UUID as its 36 characters.

use uuid::Uuid;

use super::{DefaultSerde, Serde, SerdeError};

macro_rules! fixed_size {
    ($($type:ty),+) => {
        $(
            impl Serde for $type {
                type Target = $type;

                fn serialize(&self, value: &$type, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                    out.extend_from_slice(&value.to_be_bytes());
                    Ok(())
                }
                fn deserialize(&self, bytes: &[u8]) -> Result<$type, SerdeError> {
                    let bytes = bytes.try_into().map_err(|_| SerdeError::WrongLength {
                        expected: stringify!($type),
                        expected_bytes: size_of::<$type>(),
                        actual_bytes: bytes.len(),
                    })?;
                    Ok(<$type>::from_be_bytes(bytes))
                }
            }
            impl DefaultSerde for $type {
                type Serde = $type;
            }
        )+
    };
}

fixed_size!(i8, u8, i16, u16, i32, u32, i64, u64, i128, u128, f32, f64);

impl Serde for String {
    type Target = String;

    fn serialize(&self, value: &String, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<String, SerdeError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(SerdeError::other)
    }
}

impl DefaultSerde for String {
    type Serde = String;
}

/// Bytes as they are.
impl Serde for Vec<u8> {
    type Target = Vec<u8>;

    fn serialize(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }
}

impl DefaultSerde for Vec<u8> {
    type Serde = Vec<u8>;
}

/// Bytes as they are, shared instead of copied by clones.
impl Serde for bytes::Bytes {
    type Target = bytes::Bytes;

    fn serialize(&self, value: &bytes::Bytes, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<bytes::Bytes, SerdeError> {
        Ok(bytes::Bytes::copy_from_slice(bytes))
    }
}

impl DefaultSerde for bytes::Bytes {
    type Serde = bytes::Bytes;
}

/// One byte, 0 or 1 (`BooleanSerializer`).
impl Serde for bool {
    type Target = bool;

    fn serialize(&self, value: &bool, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(u8::from(*value));
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<bool, SerdeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(SerdeError::other(format!("a bool is 0 or 1, not {other}"))),
            _ => Err(SerdeError::WrongLength {
                expected: "bool",
                expected_bytes: 1,
                actual_bytes: bytes.len(),
            }),
        }
    }
}

impl DefaultSerde for bool {
    type Serde = bool;
}

/// The 36 characters of the UUID's text (`UUIDSerializer`).
impl Serde for Uuid {
    type Target = Uuid;

    fn serialize(&self, value: &Uuid, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Uuid, SerdeError> {
        Uuid::try_parse_ascii(bytes).map_err(SerdeError::other)
    }
}

impl DefaultSerde for Uuid {
    type Serde = Uuid;
}

/// Nothing: written as null, and whatever is there is ignored when read. For keys or values that do not matter.
impl Serde for () {
    type Target = ();

    fn serialize(&self, (): &(), _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Ok(())
    }
    fn deserialize(&self, _bytes: &[u8]) -> Result<(), SerdeError> {
        Ok(())
    }
    fn serialize_nullable(&self, (): &(), _out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        Ok(false)
    }
    fn deserialize_nullable(&self, _bytes: Option<&[u8]>) -> Result<(), SerdeError> {
        Ok(())
    }
}

impl DefaultSerde for () {
    type Serde = ();
}

/// A key or value that may be null. As a serde value, `Some(serde)` says which; `None` (the default) means
/// `S::default()`.
impl<S: Serde + Default> Serde for Option<S> {
    type Target = Option<S::Target>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(value, out).map(|_present| ())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        self.deserialize_nullable(Some(bytes))
    }
    fn serialize_nullable(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        match (value, self) {
            (None, _) => Ok(false),
            (Some(value), Some(serde)) => serde.serialize_nullable(value, out),
            (Some(value), None) => S::default().serialize_nullable(value, out),
        }
    }
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Self::Target, SerdeError> {
        match (bytes, self) {
            (None, _) => Ok(None),
            (Some(bytes), Some(serde)) => serde.deserialize(bytes).map(Some),
            (Some(bytes), None) => S::default().deserialize(bytes).map(Some),
        }
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        Some(self.clone().unwrap_or_default().for_topic(topic, is_key))
    }
}

impl<T: DefaultSerde> DefaultSerde for Option<T> {
    type Serde = Option<T::Serde>;
}
