//! Bytes that the JVM wrote (Kafka Streams 4.1.1).

use serde_json::Value;
use uuid::Uuid;

use crate::keys::{KeyLayout, Schema, TimedKey};
use crate::testing::{Logged, RecordedChangelog};
use crate::{
    ChangelogId, DynSerde, ListSerde, RecordContext, Serde, SessionWindowedSerde, StateStore, StoreBuilder,
    StoreContext, StoreEnvironment, Stores, ValueAndTimestamp, ValueAndTimestampSerde, Window, Windowed,
    WindowedSerde,
};

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    Some((0..text.len()).step_by(2).map(byte).collect())
}

fn bytes_of<S: Serde>(serde: &S, value: &S::Target) -> String {
    let mut bytes = Vec::new();
    serde.serialize(value, &mut bytes).unwrap();
    hex(&bytes)
}

#[test]
fn keys_with_sessions_are_those_of_the_jvm() {
    let all = cases(include_str!("../../tests/vectors/session_keys.json"));
    assert!(!all.is_empty());
    for case in all {
        let number = |name: &str| case[name].as_i64().unwrap();
        let (key, start, end) = (case["key"].as_str().unwrap(), number("start"), number("end"));
        let session = Windowed::new(key.to_owned(), Window { start, end });
        let serde = SessionWindowedSerde::new(String::new());
        assert_eq!(bytes_of(&serde, &session), case["topicKey_SessionWindowedSerializer"].as_str().unwrap());
        let topic_key = unhex(&case["topicKey_SessionWindowedSerializer"]).unwrap();
        assert_eq!(serde.deserialize(&topic_key).unwrap(), session);

        let store_key = TimedKey { key: key.as_bytes(), time: end, rest: u64::try_from(start).unwrap() };
        let mut bytes = Vec::new();
        store_key.write_changelog(Schema::Session, &mut bytes);
        assert_eq!(hex(&bytes), case["storeKey_and_changelogKey"].as_str().unwrap());
        assert_eq!(TimedKey::of_changelog(Schema::Session, &bytes), Some(store_key));
    }
}

#[test]
fn windowed_keys_are_those_of_the_jvm() {
    let all = cases(include_str!("../../tests/vectors/window_keys.json"));
    assert!(!all.is_empty());
    for case in all {
        let number = |name: &str| case[name].as_i64().unwrap();
        let (key, start, end) = (case["key"].as_str().unwrap(), number("start"), number("end"));
        let windowed = Windowed::new(key.to_owned(), Window { start, end });
        let serde = WindowedSerde::new(String::new(), end - start);
        assert_eq!(bytes_of(&serde, &windowed), case["topicKey_TimeWindowedSerializer"].as_str().unwrap());
        let topic_key = unhex(&case["topicKey_TimeWindowedSerializer"]).unwrap();
        assert_eq!(serde.deserialize(&topic_key).unwrap(), windowed);

        let store_key =
            TimedKey { key: key.as_bytes(), time: start, rest: u64::try_from(number("seq")).unwrap() };
        let mut bytes = Vec::new();
        store_key.write_changelog(Schema::Window, &mut bytes);
        assert_eq!(hex(&bytes), case["storeKey_and_changelogKey"].as_str().unwrap());
        assert_eq!(TimedKey::of_changelog(Schema::Window, &bytes), Some(store_key));
        let layout = KeyLayout::Segments { interval_ms: 60_000, schema: Schema::Window };
        let mut physical = Vec::new();
        assert!(layout.physical_key(&bytes, &mut physical));
        assert_eq!(hex(&physical[8..]), hex(&bytes), "a segment of the JVM's has the changelog's keys");
    }
}

#[test]
fn timestamped_values_are_those_of_the_jvm_in_the_store_and_in_the_changelog() {
    let all = cases(include_str!("../../tests/vectors/value_and_timestamp.json"));
    assert!(!all.is_empty());
    let serde = ValueAndTimestampSerde::new(DynSerde::new(Option::<String>::None));
    for case in all {
        let value = case["value"].as_str().map(str::to_owned);
        let stored = ValueAndTimestamp { value, timestamp: case["timestamp"].as_i64().unwrap() };
        let mut bytes = Vec::new();
        let present = serde.serialize_nullable(&stored, &mut bytes).unwrap();
        assert_eq!(present.then_some(bytes), unhex(&case["storeValue"]));
        check_changelog(&case, &stored);
    }
}

/// Puts the value into a store, and restores another one from what it logged.
fn check_changelog(case: &Value, stored: &ValueAndTimestamp<Option<String>>) {
    let builder = Stores::timestamped_key_value::<String, Option<String>>("store");
    let env = StoreEnvironment { changelog: Some(ChangelogId(3)), ..StoreEnvironment::in_memory() };
    let mut store = builder.build(&env).unwrap();
    let record = RecordContext { timestamp: stored.timestamp, ..RecordContext::default() };
    let mut changelog = RecordedChangelog::default();
    let mut cx = StoreContext { record: &record, changelog: &mut changelog };
    store.put(&mut cx, &"k".to_owned(), Some(stored)).unwrap();
    let logged = Logged {
        changelog: ChangelogId(3),
        key: b"k".to_vec(),
        value: unhex(&case["changelogValue"]),
        timestamp: case["changelogRecordTimestamp"].as_i64(),
        headers: crate::Headers::new(),
    };
    assert_eq!(changelog.records, [logged]);

    let mut restored = builder.build(&env).unwrap();
    restored.restore(&mut changelog.records.iter().map(Logged::restore)).unwrap();
    let expected = stored.value.is_some().then(|| stored.clone());
    assert_eq!(restored.get(&"k".to_owned()).unwrap(), expected);
}

#[test]
fn primitive_serdes_are_those_of_the_jvm() {
    let all = cases(include_str!("../../tests/vectors/primitive_serdes.json"));
    for case in &all {
        let Some(value) = case["value"].as_str() else {
            assert_eq!(case["bytes"], Value::Null, "null is null in every serde");
            continue;
        };
        let expected = case["bytes"].as_str().unwrap_or_default();
        let bytes = match case["serde"].as_str().unwrap() {
            "String" => bytes_of(&String::new(), &value.to_owned()),
            "Integer" => bytes_of(&0i32, &value.parse().unwrap()),
            "Long" => bytes_of(&0i64, &value.parse().unwrap()),
            "Short" => bytes_of(&0i16, &value.parse().unwrap()),
            "Float" => bytes_of(&0f32, &java_float(value)),
            "Double" => bytes_of(&0f64, &java_float(value)),
            "Boolean" => bytes_of(&false, &value.parse().unwrap()),
            "UUID" => bytes_of(&Uuid::nil(), &value.parse().unwrap()),
            "ByteArray" | "ByteBuffer" => bytes_of(&Vec::new(), &unhex(&case["value"]).unwrap()),
            "Bytes" => bytes_of(&bytes::Bytes::new(), &bytes::Bytes::from_static(b"\x09")),
            "List<Integer> (ArrayList)" => {
                let element = |text: &str| (text != "null").then(|| text.parse().unwrap());
                bytes_of(&ListSerde::of_fixed_size(Some(0i32), 4), &elements(value, element))
            }
            "List<String> (ArrayList)" => {
                let element = |text: &str| (text != "null").then(|| text.to_owned());
                bytes_of(&ListSerde::new(Some(String::new())), &elements(value, element))
            }
            other => panic!("there is no serde {other}"),
        };
        assert_eq!(bytes, expected, "{case}");
    }
}

/// The elements of a list as Java prints one.
fn elements<T>(list: &str, element: impl Fn(&str) -> T) -> Vec<T> {
    let inner = list.trim_start_matches('[').trim_end_matches(']');
    inner.split(", ").filter(|text| !text.is_empty()).map(element).collect()
}

/// Java writes its extremes with an exponent `E`, infinities in full.
fn java_float<F: std::str::FromStr>(text: &str) -> F
where
    F::Err: std::fmt::Debug,
{
    text.replace("Infinity", "inf").parse().unwrap()
}
