//! The format of table changes on repartition topics, from the JVM's bytes.

use kstreams_dsl::{Change, ChangeSerde};
use kstreams_state_stores::{DynSerde, Serde};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/change.json")).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let hex = hex.as_str()?;
    Some((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
}

#[test]
fn changes_are_written_as_the_jvm_writes_them() {
    let serde = ChangeSerde::new(DynSerde::new(String::new()));
    let cases = vectors()["serialize"].as_array().unwrap().clone();
    // Applications that are being upgraded from before 3.5 write otherwise; that is not offered here.
    for case in cases.iter().filter(|case| case["upgradeFrom"].is_null()) {
        let change = Change::new(text(&case["newValue"]), text(&case["oldValue"]));
        let mut out = Vec::new();
        match bytes(&case["bytes"]) {
            Some(expected) => {
                serde.serialize(&change, &mut out).unwrap();
                assert_eq!(out, expected, "{case}");
            }
            None => assert!(serde.serialize(&change, &mut out).is_err(), "{case}"),
        }
    }
}

#[test]
fn changes_of_all_versions_are_read() {
    let serde = ChangeSerde::new(DynSerde::new(String::new()));
    for case in vectors()["deserialize"].as_array().unwrap() {
        let change = serde.deserialize(&bytes(&case["bytes"]).unwrap()).unwrap();
        assert_eq!(change.new, text(&case["newValue"]), "{case}");
        assert_eq!(change.old, text(&case["oldValue"]), "{case}");
        assert_eq!(change.is_latest, case["isLatest"].as_bool().unwrap_or(true), "{case}");
    }
}

#[test]
fn other_bytes_are_an_error() {
    let serde = ChangeSerde::new(DynSerde::new(String::new()));
    for bytes in [&b""[..], b"\x09", b"\x02", b"\xff\xff\xff\xff\xff\x02", b"\x7f\x02", b"\x03", b"\x01a\x02"]
    {
        assert!(serde.deserialize(bytes).is_err(), "{bytes:?}");
    }
}
