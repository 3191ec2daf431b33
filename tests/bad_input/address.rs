//! No Kafka at the address that was given.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kstreams::prelude::*;
use kstreams_test_cluster::{DEADLINE, message_of};

use crate::process::{finish, plays, put_over, run_as, with_own_mounts};
use crate::topologies::{says, word_count};

const NOT_KAFKA: &str = "accepts connections, but what listens there does not answer as a Kafka broker";

/// Starts against `address`: the message, which must come in a bounded time.
async fn start_at(address: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::new("app", address)
        .state_dir(state.path())
        .default_api_timeout(Duration::from_secs(1));
    let streams = KafkaStreams::new(word_count("lines", "counts"), config).unwrap();
    let start = Instant::now();
    let error = streams.start().await.unwrap_err();
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    assert_eq!(streams.state(), State::Error);
    assert!(streams.close(DEADLINE).await);
    message_of(&error)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_at_the_address() {
    // Bound, so that no other test gets the port, but not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    says(&start_at(&address).await, &[&address, "refused", "is it running", "bootstrap.servers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_exist() {
    let address = "no-such-host.invalid:9092";
    says(&start_at(address).await, &[address, "lookup", "host and port right (bootstrap.servers)"]);
}

const HANGS: &str = "address::a_host_whose_lookup_hangs";

/// Behind a firewall that drops what is sent to the name server a look-up lasts minutes, and librdkafka waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_lookup_hangs() {
    if plays("no-name-server") {
        let settings = tempfile::NamedTempFile::new().unwrap();
        // An address that no machine has (RFC 5737), asked for two and a half minutes.
        std::fs::write(&settings, "nameserver 192.0.2.1\noptions timeout:30 attempts:5\n").unwrap();
        put_over("/etc/resolv.conf", settings.path());
        let address = "some-host.example:9092";
        says(&start_at(address).await, &[address, "lookup", "host and port right (bootstrap.servers)"]);
    } else if let Some(unshare) = with_own_mounts() {
        finish(run_as("no-name-server", HANGS, unshare).spawn().unwrap());
    } else {
        println!("SKIPPED: a host whose lookup hangs (needs root or user namespaces)");
    }
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
