//! From a response message to the bytes of a frame: size, header, body.
//!
//! A frame is a list of chunks, so that fetched record batches go to the socket as they came from the log.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use std::collections::VecDeque;
use std::io::IoSlice;

use crate::router::{RequestContext, RequestError};

/// What a handler's result becomes on the connection.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A frame to write.
    Frame(Frame),
    /// Nothing: a produce request with `acks=0`.
    Nothing,
    /// The connection is closed without an answer; the text says why.
    Close(String),
    /// An injected fault closes the connection without an answer.
    Cut,
}

/// Turns a handler's result into a [`Reply`].
pub(crate) trait IntoReply {
    /// Encodes at the request's version.
    fn into_reply(self, ctx: &RequestContext) -> Result<Reply, RequestError>;
}

impl<R: Encodable + HeaderVersion> IntoReply for R {
    fn into_reply(self, ctx: &RequestContext) -> Result<Reply, RequestError> {
        let mut buffer = begin(ctx, R::header_version(ctx.api_version), body_size(&self, ctx)?)?;
        self.encode(&mut buffer, ctx.api_version).map_err(|error| RequestError::unencodable(ctx, &error))?;
        Ok(Reply::Frame(Frame::new([buffer.freeze()].into())))
    }
}

fn body_size<R: Encodable>(response: &R, ctx: &RequestContext) -> Result<usize, RequestError> {
    response.compute_size(ctx.api_version).map_err(|error| RequestError::unencodable(ctx, &error))
}

/// A buffer that starts with the response header, with room for `body` bytes.
pub(crate) fn begin(
    ctx: &RequestContext,
    header_version: i16,
    body: usize,
) -> Result<BytesMut, RequestError> {
    let mut buffer = BytesMut::with_capacity(body + 16);
    ResponseHeader::default()
        .with_correlation_id(ctx.correlation_id)
        .encode(&mut buffer, header_version)
        .map_err(|error| RequestError::unencodable(ctx, &error))?;
    Ok(buffer)
}

/// A response in chunks, size prefix included; a [`Buf`] that is consumed as the socket takes bytes.
#[derive(Debug)]
pub(crate) struct Frame {
    chunks: VecDeque<Bytes>,
    remaining: usize,
}

impl Frame {
    /// Puts the size before `chunks`.
    pub(crate) fn new(mut chunks: VecDeque<Bytes>) -> Self {
        chunks.retain(|chunk| !chunk.is_empty());
        let size: usize = chunks.iter().map(Bytes::len).sum();
        let mut prefix = BytesMut::with_capacity(4);
        // Responses are bounded by fetch.max.bytes and by what a request can name, far below 2 GiB.
        prefix.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        chunks.push_front(prefix.freeze());
        Frame { chunks, remaining: size + 4 }
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, target: &mut [IoSlice<'a>]) -> usize {
        let filled = target.iter_mut().zip(&self.chunks).map(|(slot, chunk)| *slot = IoSlice::new(chunk));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance past the end of a frame");
        self.remaining -= count;
        while let Some(first) = self.chunks.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_hands_out_its_chunks_in_order_behind_their_size() {
        let mut frame =
            Frame::new([Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")].into());
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(frame.chunks_vectored(&mut slices), 3);
        assert_eq!(frame.remaining(), 9);
        frame.advance(5);
        assert_eq!(frame.chunk(), b"b");
        assert_eq!(frame.copy_to_bytes(4), Bytes::from_static(b"bcde"));
        assert!(!frame.has_remaining());
    }
}
