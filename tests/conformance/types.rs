//! The Rust types behind the kit's static types, and how each is written.

use kstreams::state::{Serde, SerdeError, SessionWindowedSerde, Windowed, WindowedSerde};
use kstreams::{KStream, KTable};

use super::value::{Key, KeyKind, KeySerde, Val, ValSerde, text};

pub(crate) type OK = Option<Key>;
pub(crate) type OV = Option<Val>;
pub(crate) type WK = Windowed<OK>;

/// Keys and values of the DSL as the kit sees them.
pub(crate) trait AsKey: Clone + Send + 'static {
    fn key(&self) -> OK;
}

impl AsKey for OK {
    fn key(&self) -> OK {
        self.clone()
    }
}

impl AsKey for WK {
    fn key(&self) -> OK {
        let text = text(&self.key)?;
        Some(Key::Windowed(text, self.window.start, self.window.end))
    }
}

pub(crate) trait AsVal: Clone + Send + 'static {
    fn val(&self) -> OV;
}

impl AsVal for OV {
    fn val(&self) -> OV {
        self.clone()
    }
}

impl AsVal for Val {
    fn val(&self) -> OV {
        Some(self.clone())
    }
}

impl AsVal for i64 {
    fn val(&self) -> OV {
        Some(Val::Long(*self))
    }
}

impl AsVal for Option<i64> {
    fn val(&self) -> OV {
        self.map(Val::Long)
    }
}

/// The four combinations of types that programs make of streams and tables.
#[derive(Clone)]
pub(crate) enum Stream {
    Tt(KStream<OK, OV>),
    Tl(KStream<OK, Option<i64>>),
    Wt(KStream<WK, OV>),
    Wl(KStream<WK, Option<i64>>),
}

#[derive(Clone)]
pub(crate) enum Table {
    Tt(KTable<OK, OV>),
    Tl(KTable<OK, i64>),
    Wt(KTable<WK, OV>),
    Wl(KTable<WK, i64>),
}

macro_rules! conversions {
    ($into:ident: $($variant:ident($type:ty)),+) => {
        $(impl From<$type> for $into {
            fn from(it: $type) -> Self {
                $into::$variant(it)
            }
        })+
    };
}
conversions!(Stream: Tt(KStream<OK, OV>), Tl(KStream<OK, Option<i64>>), Wt(KStream<WK, OV>), Wl(KStream<WK, Option<i64>>));
conversions!(Table: Tt(KTable<OK, OV>), Tl(KTable<OK, i64>), Wt(KTable<WK, OV>), Wl(KTable<WK, i64>));

/// Runs an expression on whatever a variable holds.
macro_rules! on {
    ($enum:ident, $var:expr, $it:ident => $result:expr) => {
        match $var {
            $enum::Tt($it) => $result,
            $enum::Tl($it) => $result,
            $enum::Wt($it) => $result,
            $enum::Wl($it) => $result,
        }
    };
}

/// How the kit's key and value types are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Types {
    pub(crate) key: KeyKind,
    pub(crate) long: bool,
}

/// The serdes of one combination: by the static types where the Rust type does not say it.
pub(crate) trait Serdes: Sized + 'static {
    type Serde: Serde<Target = Self> + Default + Clone;
    fn serde(types: Types) -> Self::Serde;
}

impl Serdes for OK {
    type Serde = Option<KeySerde>;
    fn serde(types: Types) -> Self::Serde {
        Some(KeySerde(types.key))
    }
}

impl Serdes for OV {
    type Serde = Option<ValSerde>;
    fn serde(types: Types) -> Self::Serde {
        Some(ValSerde { long: types.long })
    }
}

impl Serdes for Option<i64> {
    type Serde = Option<i64>;
    fn serde(_types: Types) -> Self::Serde {
        None
    }
}

impl Serdes for i64 {
    type Serde = i64;
    fn serde(_types: Types) -> Self::Serde {
        0
    }
}

/// The library's serdes of windowed keys, chosen at run time.
#[derive(Clone)]
pub(crate) enum WindowedKeySerde {
    Time(WindowedSerde<Option<KeySerde>>),
    Session(SessionWindowedSerde<Option<KeySerde>>),
}

impl Default for WindowedKeySerde {
    fn default() -> Self {
        WindowedKeySerde::Time(WindowedSerde::new(None, i64::MAX))
    }
}

impl Serde for WindowedKeySerde {
    type Target = WK;
    fn serialize(&self, key: &WK, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self {
            WindowedKeySerde::Time(serde) => serde.serialize(key, out),
            WindowedKeySerde::Session(serde) => serde.serialize(key, out),
        }
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<WK, SerdeError> {
        match self {
            WindowedKeySerde::Time(serde) => serde.deserialize(bytes),
            WindowedKeySerde::Session(serde) => serde.deserialize(bytes),
        }
    }
}

impl Serdes for WK {
    type Serde = WindowedKeySerde;
    fn serde(types: Types) -> Self::Serde {
        match types.key {
            KeyKind::Session => WindowedKeySerde::Session(SessionWindowedSerde::new(None)),
            KeyKind::TimeWindow(size) => WindowedKeySerde::Time(WindowedSerde::new(None, size)),
            KeyKind::Text => WindowedKeySerde::default(),
        }
    }
}

pub(crate) use on;
