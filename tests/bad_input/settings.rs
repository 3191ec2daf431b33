//! Errors in the configuration: all told at once, before anything is contacted or written.

use kstreams::prelude::*;
use kstreams_test_cluster::message_of;

use crate::topologies::{says, word_count};

#[test]
fn a_misspelt_property_is_told_with_the_name_that_was_meant() {
    let properties = [
        ("application.id", "app"),
        ("bootstrap.servers", "localhost:9092"),
        ("comit.interval.ms", "100"),
        ("num.stream.threads", "two"),
        ("producer.lingr.ms", "5"),
    ];
    let error = StreamsConfig::from_properties(properties).unwrap_err();
    says(
        &message_of(&error),
        &[
            "3 faults",
            "`comit.interval.ms`",
            "commit.interval.ms",
            "`num.stream.threads`",
            "two",
            "`producer.lingr.ms`",
            "linger.ms",
        ],
    );
}

#[test]
fn a_misspelt_setting_of_the_builder_stops_the_application_before_it_writes_anything() {
    let state = tempfile::tempdir().unwrap();
    let config =
        StreamsConfig::new("app", "localhost:9092").state_dir(state.path()).set("sesion.timeout.ms", "6000");
    let error = KafkaStreams::new(word_count("lines", "counts"), config).unwrap_err();
    says(&message_of(&error), &["`sesion.timeout.ms`", "session.timeout.ms"]);
    assert_eq!(state.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_missing_address_is_told_before_anything_is_contacted() {
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::new("app", "").state_dir(state.path());
    let error = KafkaStreams::new(word_count("lines", "counts"), config).unwrap_err();
    says(&message_of(&error), &["`bootstrap.servers`"]);
}
