//! A TCP proxy of our own: connections through it can be cut, refused and slowed down.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct State {
    /// New connections are closed at once.
    refuse: AtomicBool,
    delay_ms: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

/// A proxy in front of one broker.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(to: String) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            // A client that is gone before it was accepted is an error, too, and not the end.
            for client in listener.incoming() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                if !shared.refuse.load(Ordering::Relaxed) {
                    // A broker that starts may take its time to accept: others must not wait for that.
                    let (shared, to) = (shared.clone(), to.clone());
                    std::thread::spawn(move || connect(&shared, client, &to));
                }
            }
        });
        Ok(Proxy { address, state })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn refuse(&self, yes: bool) {
        self.state.refuse.store(yes, Ordering::Relaxed);
    }

    pub fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn delay(&self, by: Duration) {
        self.state.delay_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        self.cut();
        // The listener's thread looks at `ended` when the next connection comes.
        let _ = TcpStream::connect(self.address);
    }
}

/// Both directions, a thread for each. A broker that isn't there is a connection that ends.
fn connect(state: &Arc<State>, client: TcpStream, to: &str) {
    let Ok(broker) = TcpStream::connect(to) else { return };
    let _ = client.set_nodelay(true);
    let _ = broker.set_nodelay(true);
    let (Ok(client2), Ok(broker2)) = (client.try_clone(), broker.try_clone()) else { return };
    {
        let mut streams = state.streams.lock().unwrap();
        // Those that have ended are of no use any more.
        streams.retain(|stream| stream.peer_addr().is_ok());
        streams.extend([&client, &broker].into_iter().filter_map(|stream| stream.try_clone().ok()));
    }
    for (from, to) in [(client, broker2), (broker, client2)] {
        let state = state.clone();
        std::thread::spawn(move || copy(&state, from, to));
    }
}

fn copy(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        match state.delay_ms.load(Ordering::Relaxed) {
            0 => {}
            delay => std::thread::sleep(Duration::from_millis(delay)),
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
