//! A connection of the public port, plain or under TLS, while a task serves it ([`Wire`]) and while nobody does ([`Held`]).
//!
//! What is held is sent to by whoever has something for it, without waiting. Under TLS what was taken is encrypted at once, and what of
//! that has no room stays in the TLS session, up to [`PENDING_BYTES_MAX`].

use std::{
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// So much of what was taken may wait encrypted for room.
pub(super) const PENDING_BYTES_MAX: usize = 16 * 1024;

/// See the head of the file.
pub(super) enum Wire {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// See the head of the file.
pub(super) enum Held {
    Plain(std::net::TcpStream),
    /// Its session knows what is yet to be sent, and what was read beyond the request.
    Secure(Box<TlsStream<TcpStream>>),
}

/// How much of something a connection took.
pub(super) enum Took {
    All,
    /// Where this is all that was given, some of it waits encrypted: nothing more is taken before.
    Part(usize),
    Broken,
}

impl Wire {
    /// Under TLS, whose handshake is over.
    pub(super) fn secure(mut stream: TlsStream<TcpStream>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(PENDING_BYTES_MAX));
        Self::Secure(Box::new(stream))
    }

    /// Whether the client asked for HTTP/2 (ALPN, RFC 7301).
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// The same, which no task serves.
    pub(super) fn hold(self) -> io::Result<Held> {
        Ok(match self {
            Self::Plain(stream) => Held::Plain(stream.into_std()?),
            Self::Secure(stream) => Held::Secure(stream),
        })
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Both> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream),
            Self::Secure(stream) => Pin::new(stream.as_mut()),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl Both for TcpStream {}
impl Both for TlsStream<TcpStream> {}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

impl Held {
    /// The same, for a task that serves it.
    pub(super) fn serve(self) -> io::Result<Wire> {
        Ok(match self {
            Self::Plain(stream) => Wire::Plain(TcpStream::from_std(stream)?),
            Self::Secure(stream) => Wire::Secure(stream),
        })
    }

    /// Sends what there is room for; nothing: what waits encrypted.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Took {
        let secure = match self {
            Self::Plain(stream) => return send(stream, bytes),
            Self::Secure(stream) => stream,
        };
        let (stream, session) = secure.get_mut();
        let mut socket = Socket(stream);
        let mut rest = bytes;
        loop {
            while session.wants_write() {
                match session.write_tls(&mut socket) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Took::Part(bytes.len() - rest.len());
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => return Took::Broken,
                }
            }
            if rest.is_empty() {
                return Took::All;
            }
            match session.writer().write(rest) {
                Ok(count @ 1..) => rest = rest.get(count..).unwrap_or_default(),
                Ok(0) | Err(_) => return Took::Broken,
            }
        }
    }

    /// Ends it: under TLS the peer is told that nothing was cut off, if there is room.
    pub(super) fn end(mut self) {
        if let Self::Secure(stream) = &mut self {
            stream.get_mut().1.send_close_notify();
            self.send(&[]);
        }
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Secure(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

fn send(mut stream: &std::net::TcpStream, bytes: &[u8]) -> Took {
    loop {
        match stream.write(bytes) {
            Ok(count) if count == bytes.len() => return Took::All,
            Ok(0) => return Took::Broken,
            Ok(count) => return Took::Part(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Took::Part(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Took::Broken,
        }
    }
}

/// Writes past the runtime, which takes a socket for full until it is told otherwise; whoever holds this one is told first.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
        Ok(rustix::net::send(self.0, bytes, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
