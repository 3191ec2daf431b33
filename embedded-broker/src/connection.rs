//! One client connection: frames in, replies out, in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broker::Broker;
use crate::reply::Reply;
use crate::router::{self, ConnectionContext, RequestError};
use crate::stop::StopSignal;

/// Room made for each read from the socket.
const READ_BYTES: usize = 64 * 1024;
/// A frame's announced size is believed up to here; beyond, the buffer grows as bytes really arrive.
const TRUSTED_BYTES: usize = 2 * 1024 * 1024;
/// How long the client gets to close its side of a connection that the broker ends.
const GOODBYE: Duration = Duration::from_millis(300);

/// Why a connection ended other than by the client closing it or the broker stopping.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The socket failed, or the client went away within a frame.
    #[error("i/o error")]
    Io(#[from] io::Error),
    /// A size prefix no request can have.
    #[error("frame of {size} bytes announced, allowed are 8 to {max}")]
    FrameSize {
        /// What the prefix said.
        size: i64,
        /// `socket.request.max.bytes`.
        max: usize,
    },
    /// A request that can't be answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A handler asked for the connection to be closed (`acks=0` has no other way to report an error).
    #[error("closed: {0}")]
    Closed(String),
    /// Nothing came for `connections.max.idle.ms`.
    #[error("idle")]
    Idle,
    /// A fault was injected.
    #[error("cut by an injected fault")]
    Cut,
}

/// Answers requests until the client closes the connection, sends something unanswerable, or the broker stops.
pub(crate) async fn serve(broker: Arc<Broker>, socket: TcpStream, context: ConnectionContext) {
    let (id, peer) = (context.id, context.peer);
    broker.faults().connected(id, context.link.clone());
    let is_cut = context.link.is_cut();
    let mut connection = Connection { socket, buffer: BytesMut::new(), context, is_cut, broker };
    let outcome = connection.run().await;
    connection.broker.faults().disconnected(id);
    match outcome {
        Ok(()) => tracing::debug!(connection = id, %peer, "connection closed"),
        Err(ConnectionError::Io(error)) => tracing::debug!(connection = id, %peer, %error, "connection lost"),
        Err(ConnectionError::Idle) => tracing::debug!(connection = id, %peer, "idle connection closed"),
        Err(ConnectionError::Cut) => {
            tracing::debug!(connection = id, %peer, "connection cut by an injected fault")
        }
        Err(error) => tracing::warn!(connection = id, %peer, %error, "connection closed by the broker"),
    }
}

struct Connection {
    socket: TcpStream,
    /// Received, not yet handled: at most one incomplete frame at its end.
    buffer: BytesMut,
    context: ConnectionContext,
    /// Given when a fault breaks the connection.
    is_cut: StopSignal,
    broker: Arc<Broker>,
}

impl Connection {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        while let Some(frame) = self.next_frame().await? {
            match self.answer(frame).await? {
                Reply::Frame(mut frame) => self.socket.write_all_buf(&mut frame).await?,
                Reply::Nothing => {}
                Reply::Cut => return Err(ConnectionError::Cut),
                Reply::Close(reason) => return Err(ConnectionError::Closed(reason)),
            }
        }
        self.say_goodbye().await;
        Ok(())
    }

    /// Handles a request. If the connection breaks meanwhile, the client sees that at once; what it asked for still
    /// happens, or a fault of the network would cut what the broker does in two.
    async fn answer(&mut self, frame: Bytes) -> Result<Reply, ConnectionError> {
        let Connection { socket, context, is_cut, broker, .. } = self;
        let answer = router::route(broker, context, frame);
        tokio::pin!(answer);
        tokio::select! {
            biased;
            reply = &mut answer => return Ok(reply?),
            () = is_cut.stopped() => {}
        }
        // It may be closed already.
        let _ = socket.shutdown().await;
        answer.await?;
        Err(ConnectionError::Cut)
    }

    /// Ends the stream after the last answer. Closing a socket that still has requests to read would reset it, and
    /// with it answers the client has not read yet: they are read and dropped until the client closes its side.
    async fn say_goodbye(&mut self) {
        let drain = async {
            self.socket.shutdown().await?;
            loop {
                self.buffer.clear();
                self.buffer.reserve(READ_BYTES);
                if self.socket.read_buf(&mut self.buffer).await? == 0 {
                    return Ok::<_, io::Error>(());
                }
            }
        };
        // Either way the connection is over.
        let _ = tokio::time::timeout(GOODBYE, drain).await;
    }

    /// The next request without its size prefix; `None` when the client is done or the broker stops.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        loop {
            // Requests that have arrived whole are answered even while the broker stops.
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            if !self.read_some().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for bytes. False at the end of the stream and when the broker stops.
    async fn read_some(&mut self) -> Result<bool, ConnectionError> {
        let idle = self.broker.settings().idle_ms.map_or(Duration::MAX, Duration::from_millis);
        let missing = self.announced_size()?.map_or(0, |size| (size + 4).saturating_sub(self.buffer.len()));
        let Connection { socket, buffer, context, is_cut, .. } = self;
        let read = async {
            // Room is made when there is something to read: idle connections hold none.
            socket.readable().await?;
            buffer.reserve(missing.min(TRUSTED_BYTES.max(buffer.len())).max(READ_BYTES));
            socket.read_buf(buffer).await
        };
        let read = tokio::select! {
            biased;
            () = context.stopping.stopped() => return Ok(false),
            () = is_cut.stopped() => return Err(ConnectionError::Cut),
            read = tokio::time::timeout(idle, read) => read,
        };
        match read.map_err(|_| ConnectionError::Idle)?? {
            0 if self.buffer.is_empty() => Ok(false),
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(true),
        }
    }

    fn announced_size(&self) -> Result<Option<usize>, ConnectionError> {
        let Ok(size) = (&self.buffer[..]).try_get_i32() else { return Ok(None) };
        let max = self.broker.settings().max_request_bytes;
        match usize::try_from(size) {
            // 8: api key, api version and correlation id.
            Ok(bytes) if (8..=max).contains(&bytes) => Ok(Some(bytes)),
            _ => Err(ConnectionError::FrameSize { size: size.into(), max }),
        }
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        match self.announced_size()? {
            Some(size) if self.buffer.len() >= size + 4 => {
                self.buffer.advance(4);
                Ok(Some(self.buffer.split_to(size).freeze()))
            }
            _ => Ok(None),
        }
    }
}
