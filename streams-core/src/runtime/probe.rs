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

/// One phrase per address, in their order; takes 2 seconds at most.
pub(crate) fn look(bootstrap: &str) -> String {
    let addresses = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
    // What is known of each until its probe answers: only a name look-up takes longer than a connection may.
    let mut phrases: Vec<String> = addresses.clone().map(slow).collect();
    let (sender, found) = channel();
    for (index, address) in addresses.enumerate() {
        let (sender, address) = (sender.clone(), address.to_owned());
        let thread = std::thread::Builder::new().name("kstreams-probe".into());
        // A look-up that hangs is left behind; it ends by itself.
        let _ = thread.spawn(move || {
            let _ = sender.send((index, phrase(&address)));
        });
    }
    // With ours gone, the last probe to answer ends the wait.
    drop(sender);
    let give_up = Instant::now() + TIMEOUT;
    while let Ok((index, phrase)) = found.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
        phrases[index] = phrase;
    }
    phrases.join("; ")
}

fn slow(address: &str) -> String {
    format!("{address}: the lookup of the host takes longer than {} s", TIMEOUT.as_secs())
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
