//! What operators may be told beyond their functions: names, serdes, stores. Named as Kafka Streams names them.
//!
//! The two type arguments of an option say its serdes: `Grouped::<String, Json<Order>>::new()` names both;
//! `Grouped::named("by-region")` leaves both to the types ([`ByType`]); `with_key_serde` and `with_value_serde` give
//! one as a value, where a type cannot say it all.

mod branched;
mod consumed;
mod grouped;
mod joined;
mod materialized;
mod named;
mod produced;
mod repartitioned;
mod stream_joined;
mod suppressed;
mod table_joined;
mod table_spec;

pub use branched::Branched;
pub use consumed::Consumed;
pub use grouped::Grouped;
pub use joined::Joined;
pub use materialized::{Materialized, TableMaterialization, Unmaterialized};
pub use named::Named;
pub use produced::Produced;
pub use repartitioned::Repartitioned;
pub(crate) use stream_joined::JoinSettings;
pub use stream_joined::StreamJoined;
pub use suppressed::{
    BufferConfig, BufferLimits, EagerBufferConfig, StrictBufferConfig, SuppressUntil, Suppressed,
    UntilTimeLimit, UntilWindowCloses,
};
pub use table_joined::TableJoined;
pub(crate) use table_spec::TableSpec;

use kstreams_state_stores::{DefaultSerde, DynSerde, Serde};

/// No serde named: the one that the stream carries, or else the [`DefaultSerde`] of the type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByType;

/// Answers which serde an operator uses for `T`. Implemented by [`ByType`] and by every serde for `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no serde for `{T}`",
    label = "this operator has to write `{T}` to a topic or store",
    note = "name a serde whose target is `{T}`, or implement `DefaultSerde` for `{T}` (`json_serde!({T})` for JSON)"
)]
pub trait SerdeFor<T> {
    /// The serde; `carried` is the one that the stream came with.
    fn serde(self, carried: Option<&DynSerde<T>>) -> DynSerde<T>;
}

impl<T: DefaultSerde> SerdeFor<T> for ByType {
    fn serde(self, carried: Option<&DynSerde<T>>) -> DynSerde<T> {
        carried.cloned().unwrap_or_else(default_serde)
    }
}

impl<S: Serde> SerdeFor<S::Target> for S {
    fn serde(self, _carried: Option<&DynSerde<S::Target>>) -> DynSerde<S::Target> {
        DynSerde::new(self)
    }
}

/// Answers which serde was named for `T`, if any, where an operator knows another way. Implemented by [`ByType`] (none)
/// and by every serde for `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no serde for `{T}`",
    label = "this operator may have to write `{T}`",
    note = "name a serde whose target is `{T}`"
)]
pub trait SerdeOverride<T> {
    /// The serde, if one was named.
    fn given(self) -> Option<DynSerde<T>>;
}

impl<T> SerdeOverride<T> for ByType {
    fn given(self) -> Option<DynSerde<T>> {
        None
    }
}

impl<S: Serde> SerdeOverride<S::Target> for S {
    fn given(self) -> Option<DynSerde<S::Target>> {
        Some(DynSerde::new(self))
    }
}

/// The serde of a type that has one of its own.
pub(crate) fn default_serde<T: DefaultSerde>() -> DynSerde<T> {
    DynSerde::new(T::Serde::default())
}

/// The constructors and setters that all options with serdes have. `$fields` are the fields beside the serdes and the
/// name, which move along when a serde is exchanged.
macro_rules! serde_options {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl<KS: Default, VS: Default> $type<KS, VS> {
            /// With the serdes named as type arguments.
            pub fn new() -> Self {
                Self::with(KS::default(), VS::default())
            }
        }

        impl<KS: Default, VS: Default> Default for $type<KS, VS> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $type<$crate::ByType, $crate::ByType> {
            /// With a name, and serdes by type.
            pub fn named(name: impl Into<String>) -> Self {
                Self::with($crate::ByType, $crate::ByType).with_name(name)
            }
        }

        impl<KS, VS> $type<KS, VS> {
            /// Names the operator's node, and the topics and stores that are named after it.
            #[must_use]
            pub fn with_name(mut self, name: impl Into<String>) -> Self {
                self.name = Some(name.into());
                self
            }

            /// Uses this serde for keys.
            #[must_use]
            pub fn with_key_serde<S: kstreams_state_stores::Serde>(self, key: S) -> $type<S, VS> {
                $type { key, value: self.value, name: self.name, $($field: self.$field),* }
            }

            /// Uses this serde for values.
            #[must_use]
            pub fn with_value_serde<S: kstreams_state_stores::Serde>(self, value: S) -> $type<KS, S> {
                $type { key: self.key, value, name: self.name, $($field: self.$field),* }
            }
        }
    };
}
pub(crate) use serde_options;
