//! Topic settings: described, altered, kept, obeyed.

use kafka_protocol::messages::alter_configs_request;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use kstreams_embedded_broker::BrokerConfig;

use crate::support::{Broker, Client};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const MESSAGE_TOO_LARGE: i16 = 10;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn describe(client: &mut Client, kind: i8, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let result = client.ask(4, &request).results[0].clone();
    assert_eq!(result.error_code, 0);
    result.configs
}

fn value(client: &mut Client, key: &str) -> (String, i8) {
    let configs = describe(client, TOPIC, "t");
    let config = configs.iter().find(|config| &*config.name == key).unwrap();
    (config.value.clone().unwrap().to_string(), config.config_source)
}

fn change(client: &mut Client, operation: i8, key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    client.ask(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).responses[0]
        .error_code
}

#[test]
fn a_setting_comes_from_the_topic_the_broker_or_the_default_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = || BrokerConfig::new().data_dir(dir.path()).set("log.segment.bytes", "1000000").unwrap();
    let broker = Broker::start_with(config());
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("cleanup.policy", "compact")]);
    assert_eq!(value(&mut client, "cleanup.policy"), ("compact".to_owned(), 1));
    assert_eq!(value(&mut client, "segment.bytes"), ("1000000".to_owned(), 4));
    assert_eq!(value(&mut client, "retention.ms"), ("604800000".to_owned(), 5));
    assert_eq!(change(&mut client, 0, "retention.ms", Some("5000")), 0);
    broker.stop();

    let broker = Broker::start_with(config());
    let mut client = broker.connect();
    assert_eq!(value(&mut client, "retention.ms"), ("5000".to_owned(), 1));
    assert_eq!(value(&mut client, "cleanup.policy"), ("compact".to_owned(), 1));
    assert_eq!(change(&mut client, 1, "retention.ms", None), 0);
    assert_eq!(value(&mut client, "retention.ms"), ("604800000".to_owned(), 5));
}

#[test]
fn altering_refuses_what_creating_refuses() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(change(&mut client, 0, "retention", Some("1")), INVALID_CONFIG);
    assert_eq!(change(&mut client, 0, "cleanup.policy", Some("compost")), INVALID_CONFIG);
    assert_eq!(change(&mut client, 0, "max.compaction.lag.ms", Some("0")), INVALID_CONFIG);
    assert_eq!(change(&mut client, 2, "retention.ms", Some("1")), INVALID_CONFIG);
    assert_eq!(change(&mut client, 0, "retention.ms", None), INVALID_REQUEST);
    assert_eq!(change(&mut client, 2, "cleanup.policy", Some("compact")), 0);
    assert_eq!(value(&mut client, "cleanup.policy").0, "delete,compact");
}

#[test]
fn the_older_alter_replaces_everything() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("retention.ms", "1000"), ("segment.ms", "2000")]);
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("7")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    let response = client.ask(2, &AlterConfigsRequest::default().with_resources(vec![resource]));
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(value(&mut client, "retention.ms").0, "7");
    assert_eq!(value(&mut client, "segment.ms"), ("604800000".to_owned(), 5));
}

#[test]
fn the_brokers_settings_are_shown_read_only() {
    let broker = Broker::start_with(BrokerConfig::new().set("num.partitions", "6").unwrap());
    let configs = describe(&mut broker.connect(), BROKER, "1");
    let partitions = configs.iter().find(|config| &*config.name == "num.partitions").unwrap();
    assert_eq!(
        (partitions.value.clone().unwrap().to_string(), partitions.config_source),
        ("6".to_owned(), 4)
    );
    assert!(configs.iter().all(|config| config.read_only && config.documentation.is_some()));
}

#[test]
fn a_changed_setting_is_in_force_at_once() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("max.message.bytes", "1000")]);
    let large = "x".repeat(5000);
    assert_eq!(client.produce("t", 0, &[&large]).error_code, MESSAGE_TOO_LARGE);
    assert_eq!(change(&mut client, 0, "max.message.bytes", Some("10000")), 0);
    assert_eq!(client.produce("t", 0, &[&large]).error_code, 0);
    assert_eq!(change(&mut client, 0, "min.insync.replicas", Some("2")), 0);
    assert_eq!(client.produce("t", 0, &["x"]).error_code, NOT_ENOUGH_REPLICAS);
}
