//! Frames nobody should send, and versions nobody should ask for.

use std::io::{Read, Write};

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::support::{Broker, Client};

fn still_answers(broker: &Broker) {
    let response = broker.connect().ask(3, &ApiVersionsRequest::default());
    assert_eq!(response.error_code, 0);
}

fn is_closed(client: &mut Client) -> bool {
    // A reset counts: the broker does not read what it refuses.
    matches!(client.socket.read(&mut [0; 1]), Ok(0) | Err(_))
}

fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(5)
        .with_client_id(Some(StrBytes::from_static_str("raw")))
        .encode(&mut bytes, 1)
        .unwrap();
    bytes
}

#[test]
fn a_newer_api_versions_request_is_answered_in_version_0_with_the_list() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.send_frame(&header(ApiKey::ApiVersions as i16, 99));
    let mut frame = client.receive_frame().unwrap();
    assert_eq!(ResponseHeader::decode(&mut frame, 0).unwrap().correlation_id, 5);
    let response = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert!(response.api_keys.iter().any(|api| api.api_key == ApiKey::ApiVersions as i16));
    // The same connection goes on with a version from the list.
    assert_eq!(client.ask(3, &ApiVersionsRequest::default()).error_code, 0);
}

#[test]
fn an_unknown_api_or_version_closes_the_connection() {
    let broker = Broker::start();
    let unknown_api = header(999, 0);
    let not_ours = header(ApiKey::Vote as i16, 0);
    let too_new = header(ApiKey::Metadata as i16, 99);
    let negative = header(ApiKey::Metadata as i16, -1);
    for frame in [unknown_api, not_ours, too_new, negative] {
        let mut client = broker.connect();
        client.send_frame(&frame);
        assert!(is_closed(&mut client));
    }
    still_answers(&broker);
}

#[test]
fn a_frame_larger_than_allowed_or_of_no_size_closes_the_connection() {
    let broker = Broker::start();
    for size in [100 * 1024 * 1024 + 1, i32::MAX, 0, 7, -1, i32::MIN] {
        let mut client = broker.connect();
        client.socket.write_all(&size.to_be_bytes()).unwrap();
        assert!(is_closed(&mut client), "size {size}");
    }
    still_answers(&broker);
}

#[test]
fn a_frame_announced_but_not_sent_costs_no_memory() {
    let broker = Broker::start();
    let mut waiting: Vec<Client> = (0..50).map(|_| broker.connect()).collect();
    for client in &mut waiting {
        client.socket.write_all(&(90 * 1024 * 1024_i32).to_be_bytes()).unwrap();
    }
    still_answers(&broker);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find(|line| line.starts_with("VmRSS")) {
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kilobytes < 1024 * 1024, "resident: {kilobytes} kB");
    }
}

#[test]
fn garbage_in_a_well_sized_frame_closes_the_connection() {
    let broker = Broker::start();
    let apis = broker.connect().ask(3, &ApiVersionsRequest::default()).api_keys;
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed:#x}");
    for api in &apis {
        for version in [api.min_version, api.max_version] {
            for _ in 0..20 {
                let mut frame = header(api.api_key, version);
                for _ in 0..40 {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    frame.push((seed >> 33) as u8);
                }
                let mut client = broker.connect();
                client.send_frame(&frame);
                client.socket.shutdown(std::net::Shutdown::Write).unwrap();
                // Answered, if the bytes happen to make sense, or closed: either way the stream ends.
                let mut rest = Vec::new();
                let _ = client.socket.read_to_end(&mut rest);
            }
        }
    }
    still_answers(&broker);
}

#[test]
fn a_length_that_no_frame_can_hold_does_not_allocate() {
    let broker = Broker::start();
    // Metadata v1: an array of two thousand million topics, none of which follows.
    let mut frame = header(ApiKey::Metadata as i16, 1);
    frame.extend_from_slice(&i32::MAX.to_be_bytes());
    let mut client = broker.connect();
    client.send_frame(&frame);
    assert!(is_closed(&mut client));
    // CreateTopics v7 with a compact array of as many.
    let mut frame = header(ApiKey::CreateTopics as i16, 7);
    frame.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let mut client = broker.connect();
    client.send_frame(&frame);
    assert!(is_closed(&mut client));
    still_answers(&broker);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for version in [0, 4, 9, 12] {
        client.send(version, &MetadataRequest::default().with_topics(None));
    }
    for version in [0, 4, 9, 12] {
        client.receive::<MetadataRequest>(version);
    }
}
