//! Calls that join, of the recorded programs.

use std::time::Duration;

use kstreams_dsl::{JoinWindows, Joined, KStream, KTable, Materialized, StreamJoined, TableJoined};

use crate::functions::{self as f, Text};
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

/// A stream with a stream.
pub(crate) fn with_stream(
    stream: &KStream<Text, Text>,
    other: &KStream<Text, Text>,
    call: &Call,
) -> KStream<Text, Text> {
    let ms = |name: &str| Duration::from_millis(call.number(name).unwrap_or(0));
    let windows = JoinWindows::of_time_difference_and_grace(ms("window"), ms("grace"));
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

/// A table with a table by the first character of its values.
pub(crate) fn by_foreign_key(
    table: &KTable<Text, Text>,
    other: &KTable<Text, Text>,
    call: &Call,
    store: Materialized,
) -> KTable<Text, Text> {
    let joined = call.arg("name").map_or_else(TableJoined::default, TableJoined::named);
    let extract = |_: &Text, value: &Text| f::first_character(value);
    match &*call.op {
        "fkJoin" => table.join_on_foreign_key_with(other, extract, |l, r| f::join(&l, &r), joined, store),
        _ => {
            let joiner = |l, r: Option<Text>| f::join(&l, &r.flatten());
            table.left_join_on_foreign_key_with(other, extract, joiner, joined, store)
        }
    }
}
