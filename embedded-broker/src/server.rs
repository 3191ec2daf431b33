//! The listening socket: accepts connections, stops them in a bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::connection;
use crate::error::BrokerError;
use crate::fault::Link;
use crate::router::ConnectionContext;
use crate::stop::StopSignal;

/// How long a stopping broker waits for requests in flight.
const STOP_BOUND: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors, mostly), so that it isn't retried in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `address` (`host:port`).
pub(crate) async fn bind(address: &str) -> Result<TcpListener, BrokerError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BrokerError::Listen { address: address.to_owned(), source })
}

/// Serves connections until `stopping` says so; then waits for requests in flight, at most [`STOP_BOUND`].
pub(crate) async fn run(
    broker: Arc<Broker>,
    listener: TcpListener,
    stopping: StopSignal,
) -> Result<(), BrokerError> {
    let mut connections = JoinSet::new();
    accept_all(&broker, &listener, stopping, &mut connections).await;
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_BOUND, all_done).await.is_ok() {
        return Ok(());
    }
    let busy = connections.len();
    connections.shutdown().await;
    Err(BrokerError::StoppedBusy { address: broker.address(), connections: busy })
}

async fn accept_all(
    broker: &Arc<Broker>,
    listener: &TcpListener,
    mut stopping: StopSignal,
    connections: &mut JoinSet<()>,
) {
    let mut next_id = 1;
    loop {
        let stop = stopping.clone();
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    if connections.len() >= broker.settings().max_connections {
                        tracing::warn!(%peer, max = connections.len(), "connection refused: max.connections reached");
                        continue;
                    }
                    let local = socket.local_addr().unwrap_or_else(|_| broker.address());
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
                    }
                    let context = context(next_id, peer, local, stop);
                    next_id += 1;
                    connections.spawn(connection::serve(broker.clone(), socket, context));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed; the connection is closed");
                }
            }
            _ = stopping.stopped() => return,
        }
    }
}

fn context(id: u64, peer: SocketAddr, local: SocketAddr, stopping: StopSignal) -> ConnectionContext {
    ConnectionContext { id, peer, local, stopping, link: Link::new() }
}
