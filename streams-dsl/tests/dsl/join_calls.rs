//! Calls that join, of the recorded programs.

use std::time::Duration;

use kstreams_dsl::{
    GlobalKTable, JoinWindows, Joined, KStream, KTable, Materialized, StreamJoined, TableJoined,
};

use crate::functions::{self as f, Text};
use crate::interpreter::named;
use crate::program::Call;

/// A stream with a table, with grace where the call has one.
pub(crate) fn with_table(
    stream: &KStream<Text, Text>,
    table: &KTable<Text, Text>,
    call: &Call,
) -> KStream<Text, Text> {
    let mut joined = Joined::<Text, Text>::new();
    if let Some(name) = call.arg("name") {
        joined = joined.with_name(name);
    }
    if let Some(grace) = call.number("grace") {
        joined = joined.with_grace(Duration::from_millis(grace));
    }
    match &*call.op {
        "join" => stream.join_with(table, |_, value, other| f::join(&value, &other), joined),
        _ => stream.left_join_with(table, |_, value, other| f::join(&value, &other.flatten()), joined),
    }
}

/// A stream with a global table.
pub(crate) fn with_global_table(
    stream: &KStream<Text, Text>,
    table: &GlobalKTable<Text, Text>,
    call: &Call,
) -> KStream<Text, Text> {
    let key = |_: &Text, value: &Text| f::reference(value);
    let named = named(call);
    match &*call.op {
        "join" => stream.join_global_with(table, key, |_, value, other| f::join(&value, &other), named),
        _ => {
            let joiner = |_: &Text, value: Text, other: Option<Text>| f::join(&value, &other.flatten());
            stream.left_join_global_with(table, key, joiner, named)
        }
    }
}

/// A stream with a stream.
pub(crate) fn with_stream(
    stream: &KStream<Text, Text>,
    other: &KStream<Text, Text>,
    call: &Call,
) -> KStream<Text, Text> {
    let ms = |name: &str| Duration::from_millis(call.number(name).unwrap_or(0));
    let mut windows = JoinWindows::of_time_difference_and_grace(ms("window"), ms("grace"));
    if call.arg("before").is_some() {
        windows = windows.before_ms(ms_of(call, "before")).after_ms(ms_of(call, "after"));
    }
    let mut joined = StreamJoined::<Text, Text, Text>::new();
    if let Some(name) = call.arg("name") {
        joined = joined.with_name(name);
    }
    if let Some(store) = call.arg("store") {
        joined = joined.with_store_name(store);
    }
    match &*call.op {
        "join" => stream.join_stream_with(other, |_, l, r| f::join(&l, &r), windows, joined),
        "leftJoin" => {
            stream.left_join_stream_with(other, |_, l, r| f::join(&l, &r.flatten()), windows, joined)
        }
        _ => {
            let joiner = |_: &Text, l: Option<Text>, r: Option<Text>| f::join(&l.flatten(), &r.flatten());
            stream.outer_join_stream_with(other, joiner, windows, joined)
        }
    }
}

/// A table with a table by what its values refer to.
pub(crate) fn by_foreign_key(
    table: &KTable<Text, Text>,
    other: &KTable<Text, Text>,
    call: &Call,
    store: Materialized,
) -> KTable<Text, Text> {
    let joined = call.arg("name").map_or_else(TableJoined::default, TableJoined::named);
    let extract = |_: &Text, value: &Text| f::reference(value);
    match &*call.op {
        "fkJoin" => table.join_on_foreign_key_with(other, extract, |l, r| f::join(&l, &r), joined, store),
        _ => {
            let joiner = |l, r: Option<Text>| f::join(&l, &r.flatten());
            table.left_join_on_foreign_key_with(other, extract, joiner, joined, store)
        }
    }
}

fn ms_of(call: &Call, name: &str) -> i64 {
    i64::try_from(call.number(name).unwrap_or(0)).unwrap()
}
