//! Serdes: how keys and values become the bytes of a topic or a store, and back.
//!
//! A type argument names a serde (`stream::<String, Json<Order>>("orders")`), and a serde value can be passed wherever a
//! type cannot say it all (a schema registry's client, say). Null is not a value of most types: it stands only where
//! the type says [`Option`], or where the serde is `()`, which ignores its bytes.

#[cfg(feature = "json")]
mod json;
mod list;
mod primitives;

#[cfg(feature = "json")]
pub use json::Json;
pub use list::ListSerde;

use std::fmt;
use std::sync::Arc;

/// Why bytes could not be read or a value not be written. The caller adds topic, partition and offset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerdeError {
    /// Null where the type has no place for it: declare the key or value as `Option<..>` to accept null.
    #[error("null where {expected} was expected (declare it as Option<..> to accept null)")]
    UnexpectedNull {
        /// The Rust type that was to be read.
        expected: &'static str,
    },
    /// The number of bytes does not fit a type of fixed size.
    #[error("{expected} takes {expected_bytes} bytes, not {actual_bytes}")]
    WrongLength {
        /// The Rust type that was to be read.
        expected: &'static str,
        /// Bytes that the type takes.
        expected_bytes: usize,
        /// Bytes that were there.
        actual_bytes: usize,
    },
    /// Anything else the serde says.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl SerdeError {
    /// Wraps the error of a serde of the user's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        SerdeError::Other(error.into())
    }
}

/// Turns values of `Target` into bytes and back.
///
/// A user's own serde implements [`serialize`](Serde::serialize) and [`deserialize`](Serde::deserialize); null is dealt
/// with by the other two. Implement [`Default`] too, so that the serde can be named as a type argument.
///
/// ```
/// use kstreams_state_stores::{Serde, SerdeError};
///
/// #[derive(Clone, Default)]
/// struct Celsius;
///
/// impl Serde for Celsius {
///     type Target = f32;
///     fn serialize(&self, value: &f32, out: &mut Vec<u8>) -> Result<(), SerdeError> {
///         out.extend_from_slice(value.to_string().as_bytes());
///         Ok(())
///     }
///     fn deserialize(&self, bytes: &[u8]) -> Result<f32, SerdeError> {
///         let text = std::str::from_utf8(bytes).map_err(SerdeError::other)?;
///         text.parse().map_err(SerdeError::other)
///     }
/// }
///
/// assert_eq!(Celsius.deserialize(b"21.5").unwrap(), 21.5);
/// ```
pub trait Serde: Clone + Send + Sync + 'static {
    /// The type of the values.
    type Target: 'static;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// When the value has no representation.
    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not those of a value.
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError>;

    /// As [`serialize`](Serde::serialize); answers `false`, with nothing appended, for null.
    ///
    /// # Errors
    /// When the value has no representation.
    fn serialize_nullable(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        self.serialize(value, out).map(|()| true)
    }

    /// As [`deserialize`](Serde::deserialize), where `None` is null.
    ///
    /// # Errors
    /// [`SerdeError::UnexpectedNull`] for null, unless the type has a place for it.
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Self::Target, SerdeError> {
        match bytes {
            Some(bytes) => self.deserialize(bytes),
            None => Err(SerdeError::UnexpectedNull { expected: std::any::type_name::<Self::Target>() }),
        }
    }

    /// How many bytes at the end of a written key tell its window; 0 for keys without one. They have no part in choosing
    /// a partition, so that all windows of a key are in the same (`WindowedStreamPartitioner`).
    fn window_bytes(&self) -> usize {
        0
    }

    /// The serde to use for keys (or else values) of `topic`; called once, when a source, sink or store is wired.
    /// Schema registries need it, others return themselves.
    fn for_topic(&self, _topic: &str, _is_key: bool) -> Self {
        self.clone()
    }
}

/// Types with a serde of their own, so that an operator which must write them needs no serde named. Implement it for
/// your type to make it one of them; for JSON, [`json_serde!`](crate::json_serde) is the short form.
#[diagnostic::on_unimplemented(
    message = "no serde is known for `{Self}`",
    label = "this operator has to write `{Self}` to a topic or store",
    note = "name a serde (`to_with(.., Produced::<KeySerde, ValueSerde>::new())`, `Grouped`, `Materialized`, ...), or implement `DefaultSerde` for `{Self}` (`json_serde!({Self})` for JSON)"
)]
pub trait DefaultSerde: Sized + 'static {
    /// The serde.
    type Serde: Serde<Target = Self> + Default;
}

/// Implements [`DefaultSerde`] by [`Json`] for types that implement serde's `Serialize` and `Deserialize`.
#[cfg(feature = "json")]
#[macro_export]
macro_rules! json_serde {
    ($($type:ty),+ $(,)?) => {
        $(impl $crate::DefaultSerde for $type {
            type Serde = $crate::Json<$type>;
        })+
    };
}

/// [`Serde`] without its `Sized` parts, so that nodes and stores name the type of their values only.
trait ErasedSerde<T>: Send + Sync {
    fn serialize_nullable(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, SerdeError>;
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<T, SerdeError>;
    fn window_bytes(&self) -> usize;
    fn for_topic(&self, topic: &str, is_key: bool) -> DynSerde<T>;
}

impl<S: Serde> ErasedSerde<S::Target> for S {
    fn serialize_nullable(&self, value: &S::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        Serde::serialize_nullable(self, value, out)
    }
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<S::Target, SerdeError> {
        Serde::deserialize_nullable(self, bytes)
    }
    fn window_bytes(&self) -> usize {
        Serde::window_bytes(self)
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> DynSerde<S::Target> {
        DynSerde::new(Serde::for_topic(self, topic, is_key))
    }
}

/// Any serde for `T`, behind one pointer. Nodes and stores hold this; a call costs one indirect jump.
pub struct DynSerde<T>(Arc<dyn ErasedSerde<T>>);

impl<T> Clone for DynSerde<T> {
    fn clone(&self) -> Self {
        DynSerde(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for DynSerde<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynSerde<{}>", std::any::type_name::<T>())
    }
}

impl<T: 'static> DynSerde<T> {
    /// Erases the type of `serde`.
    pub fn new(serde: impl Serde<Target = T>) -> Self {
        DynSerde(Arc::new(serde))
    }
}

impl<T: 'static> Serde for DynSerde<T> {
    type Target = T;

    fn serialize(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.serialize_nullable(value, out).map(|_present| ())
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.0.deserialize_nullable(Some(bytes))
    }
    fn serialize_nullable(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        self.0.serialize_nullable(value, out)
    }
    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
        self.0.deserialize_nullable(bytes)
    }
    fn window_bytes(&self) -> usize {
        self.0.window_bytes()
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        self.0.for_topic(topic, is_key)
    }
}
