//! The Rust types behind the kit's static types: a key is a text or a windowed text, a value a text or a long. Each
//! handle of the DSL comes in one variant per combination, and what it is decides which calls it has.

use kstreams::state::{Serde, SerdeError, SessionWindowedSerde, Windowed, WindowedSerde};
use kstreams::{KGroupedStream, KGroupedTable, KStream, KTable};

use super::catalogue;
use super::stores::Stored;
use super::value::{Key, KeyKind, KeySerde, Val, ValSerde, text};

pub(crate) type OK = Option<Key>;
/// Texts. (Where a value's type is known at run time only, in stores of processors and global tables, longs too.)
pub(crate) type OV = Option<Val>;
/// Longs.
pub(crate) type OL = Option<i64>;
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
    /// The kit's value as one of this type; `None`: it is of another type.
    fn from_val(value: OV) -> Option<Self>;
}

impl AsVal for OV {
    fn val(&self) -> OV {
        self.clone()
    }
    fn from_val(value: OV) -> Option<Self> {
        Some(value)
    }
}

impl AsVal for Val {
    fn val(&self) -> OV {
        Some(self.clone())
    }
    fn from_val(value: OV) -> Option<Self> {
        value
    }
}

impl AsVal for i64 {
    fn val(&self) -> OV {
        Some(Val::Long(*self))
    }
    fn from_val(value: OV) -> Option<Self> {
        match value {
            Some(Val::Long(number)) => Some(number),
            _ => None,
        }
    }
}

impl AsVal for OL {
    fn val(&self) -> OV {
        self.map(Val::Long)
    }
    fn from_val(value: OV) -> Option<Self> {
        match value {
            Some(Val::Text(_)) => None,
            Some(Val::Long(number)) => Some(Some(number)),
            None => Some(None),
        }
    }
}

/// A result of a user's function as a value of the type that the program says. Another one is the program's own error,
/// as a `ClassCastException` is in the JVM.
pub(crate) fn typed<V: AsVal>(value: OV) -> V {
    let shown = format!("{value:?}");
    V::from_val(value).unwrap_or_else(|| panic!("{shown} is no {}", std::any::type_name::<V>()))
}

/// Declares, for a handle of the DSL, its variants by value, and those by key around them.
macro_rules! handles {
    ($($handle:ident = $all:ident / $of:ident: $($variant:ident($value:ty)),+;)+) => {$(
        #[derive(Clone)]
        pub(crate) enum $of<K> {
            $($variant($handle<K, $value>),)+
        }

        #[derive(Clone)]
        pub(crate) enum $all {
            Text($of<OK>),
            Windowed($of<WK>),
        }

        impl From<$of<OK>> for $all {
            fn from(it: $of<OK>) -> Self {
                $all::Text(it)
            }
        }

        impl From<$of<WK>> for $all {
            fn from(it: $of<WK>) -> Self {
                $all::Windowed(it)
            }
        }

        $(impl<K> From<$handle<K, $value>> for $of<K> {
            fn from(it: $handle<K, $value>) -> Self {
                $of::$variant(it)
            }
        }

        impl From<$handle<OK, $value>> for $all {
            fn from(it: $handle<OK, $value>) -> Self {
                $all::Text(it.into())
            }
        }

        impl From<$handle<WK, $value>> for $all {
            fn from(it: $handle<WK, $value>) -> Self {
                $all::Windowed(it.into())
            }
        })+
    )+};
}

handles! {
    KStream = Stream / StreamOf: T(OV), L(OL);
    // Counts are never null; other longs may be, as the results of reducers.
    KTable = Table / TableOf: T(OV), L(OL), C(i64);
    KGroupedStream = Grouped / GroupedOf: T(OV), L(OL);
    KGroupedTable = GroupedTable / GroupedTableOf: T(OV), L(OL);
}

/// Runs an expression on what a handle holds, by its values.
macro_rules! by_value {
    (TableOf, $it:expr, $bound:ident => $result:expr) => {
        match $it {
            TableOf::T($bound) => $result,
            TableOf::L($bound) => $result,
            TableOf::C($bound) => $result,
        }
    };
    ($of:ident, $it:expr, $bound:ident => $result:expr) => {
        match $it {
            $of::T($bound) => $result,
            $of::L($bound) => $result,
        }
    };
}

/// Runs an expression on whatever a handle holds; the result is one of the DSL's handles, which a [`KitKey`] wraps.
macro_rules! on {
    ($all:ident / $of:ident, $it:expr, $bound:ident => $result:expr) => {
        match $it {
            $all::Text(it) => by_value!($of, it, $bound => $result),
            $all::Windowed(it) => by_value!($of, it, $bound => $result),
        }
    };
}

/// A type of keys, with which a program's handles can be made again.
pub(crate) trait KitKey: AsKey + Serdes + PartialEq {
    fn stream(it: impl Into<StreamOf<Self>>) -> Stream;
    fn table(it: impl Into<TableOf<Self>>) -> Table;
    fn grouped(it: impl Into<GroupedOf<Self>>) -> Grouped;
    fn grouped_table(it: impl Into<GroupedTableOf<Self>>) -> GroupedTable;
    /// The key that a query names; `None`: queries cannot name keys of this type.
    fn named(text: &str) -> Option<Self>;
}

macro_rules! kit_key {
    ($key:ty, $named:expr) => {
        impl KitKey for $key {
            fn stream(it: impl Into<StreamOf<Self>>) -> Stream {
                it.into().into()
            }
            fn table(it: impl Into<TableOf<Self>>) -> Table {
                it.into().into()
            }
            fn grouped(it: impl Into<GroupedOf<Self>>) -> Grouped {
                it.into().into()
            }
            fn grouped_table(it: impl Into<GroupedTableOf<Self>>) -> GroupedTable {
                it.into().into()
            }
            fn named(text: &str) -> Option<Self> {
                $named(text)
            }
        }
    };
}
kit_key!(OK, |text: &str| Some(Some(Key::Text(text.to_owned()))));
kit_key!(WK, |_: &str| None);

/// How the kit's key and value types are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Types {
    pub(crate) key: KeyKind,
    pub(crate) long: bool,
}

impl Types {
    /// With texts as values.
    pub(crate) fn texts(self) -> Self {
        Types { long: false, ..self }
    }

    /// With texts as keys.
    pub(crate) fn text_keys(self) -> Self {
        Types { key: KeyKind::Text, ..self }
    }
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

impl Serdes for OL {
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

/// A type of values that results of functions may have.
pub(crate) trait KitValue: Stored {
    /// The kit calls them longs.
    const LONG: bool;

    /// A text that a reducer made, turned back.
    fn of_text(text: String) -> Self;
}

impl KitValue for OV {
    const LONG: bool = false;
    fn of_text(text: String) -> Self {
        Some(Val::Text(text))
    }
}

impl KitValue for OL {
    const LONG: bool = true;
    fn of_text(text: String) -> Self {
        Some(catalogue::num(Some(&text)))
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

pub(crate) use by_value;
pub(crate) use on;
