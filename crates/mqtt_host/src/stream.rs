//! The bytes of one client, whatever carries them.

use bytes::{Buf, BytesMut};
use std::{future::poll_fn, io, pin::Pin, task::Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream: TCP, TLS, the binary messages of a WebSocket one behind the other.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// What has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Something came in.
    Read,
    /// The client has closed its side.
    End,
    /// Something went out.
    Written,
}

/// Writes what is in `out`, and reads if that is wanted; ends with the first that moves. May be cancelled.
pub(crate) async fn drive(
    stream: &mut dyn Stream,
    input: &mut BytesMut,
    out: &mut BytesMut,
    may_read: bool,
) -> io::Result<Moved> {
    poll_fn(|context| {
        if !out.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, out)
        {
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => out.advance(written),
            }
            if out.is_empty() {
                *out = BytesMut::new();
            }
            return Poll::Ready(Ok(Moved::Written));
        }
        if out.is_empty()
            && let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(context)
        {
            return Poll::Ready(Err(error));
        }
        if !may_read {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *stream).poll_read(context, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Ok(Moved::End)),
            Poll::Ready(Ok(())) => {
                input.extend_from_slice(read.filled());
                Poll::Ready(Ok(Moved::Read))
            }
        }
    })
    .await
}
