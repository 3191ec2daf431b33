//! No Kafka at the address that was given.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kstreams::prelude::*;

use crate::cluster::{message_of, says, word_count};

const NOT_KAFKA: &str = "accepts connections, but what listens there does not answer as a Kafka broker";

/// Starts against `address`: the message, which must come within a few seconds of the time-out.
async fn start_at(address: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::new("app", address)
        .state_dir(state.path())
        .default_api_timeout(Duration::from_secs(1));
    let streams = KafkaStreams::new(word_count("lines", "counts"), config).unwrap();
    let start = Instant::now();
    let error = streams.start().await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(streams.state(), State::Error);
    assert!(streams.close(Duration::from_secs(5)).await);
    message_of(&error)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_at_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    says(&start_at(&address).await, &[&address, "refused", "is it running", "bootstrap.servers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_exist() {
    let address = "no-such-host.invalid:9092";
    says(&start_at(address).await, &[address, "lookup", "host and port right (bootstrap.servers)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_a_web_server_listens() {
    let address = serve(|mut client| {
        let _ = client.read(&mut [0; 512]);
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    says(&start_at(&address).await, &[&address, NOT_KAFKA, "host and port right (bootstrap.servers)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_something_listens_and_never_answers() {
    let address = serve(|mut client| while !matches!(client.read(&mut [0; 512]), Ok(0) | Err(_)) {});
    says(&start_at(&address).await, &[&address, NOT_KAFKA, "host and port right (bootstrap.servers)"]);
}

/// A server that is not Kafka; its thread ends with the test process.
fn serve(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(client));
        }
    });
    address
}
