//! What is at the addresses of `bootstrap.servers` when no broker answers there: librdkafka says the same of a closed port, an
//! unknown host and a web server, but the remedies differ.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Kafka's port, for addresses without one.
const DEFAULT_PORT: &str = "9092";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For everything, name look-ups included.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One phrase per address, in the order in which they are known; takes 2 seconds at most.
pub(crate) fn look(bootstrap: &str) -> String {
    let (sender, found) = channel();
    let mut asked = 0;
    for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        let (sender, address) = (sender.clone(), address.to_owned());
        let thread = std::thread::Builder::new().name("kstreams-probe".into());
        // A look-up that hangs is left behind; it ends by itself.
        let started = thread.spawn(move || {
            let _ = sender.send(phrase(&address));
        });
        asked += usize::from(started.is_ok());
    }
    let give_up = Instant::now() + TIMEOUT;
    let mut phrases = Vec::with_capacity(asked);
    while phrases.len() < asked {
        match found.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            Ok(phrase) => phrases.push(phrase),
            Err(_) => break,
        }
    }
    if phrases.is_empty() { "nothing answers".to_owned() } else { phrases.join("; ") }
}

fn phrase(address: &str) -> String {
    match connect(address) {
        Ok(()) => {
            format!("{address} accepts connections, but what listens there does not answer as a Kafka broker")
        }
        Err(error) => format!("{address}: {error}"),
    }
}

fn connect(address: &str) -> io::Result<()> {
    // librdkafka takes `PLAINTEXT://host:port` too.
    let address = address.rsplit_once("://").map_or(address, |(_, address)| address);
    let hosts = match address.to_socket_addrs() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            format!("{address}:{DEFAULT_PORT}").to_socket_addrs()
        }
        answer => answer,
    }?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for host in hosts {
        match TcpStream::connect_timeout(&host, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
