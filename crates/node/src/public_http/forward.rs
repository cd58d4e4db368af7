//! Handing a request on to the node that leads the partition of its key, once, and its answer back as it comes.
//!
//! Nodes speak HTTP/1.0 for that: a connection for each request, whose end is the end of the answer, so that one that follows a stream
//! is passed on like any other. What a request means is not looked at.

use bytes::{Bytes, BytesMut};
use env::{BoxFuture, Clock};
use gateway::{Problem, Reach};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame},
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// How long the other node may take to begin its answer: what a long poll may wait, and more than an append may take.
const ANSWER_MS_MAX: i64 = 330_000;
/// ... and to accept the connection.
const CONNECT_MS_MAX: i64 = 3_000;
/// How long it may say nothing in the midst of an answer: more than passes between two signs of life of one that follows a stream.
const QUIET_MS_MAX: i64 = 60_000;
/// The head of its answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// So much of its answer is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What concerns one connection only (RFC 9110, section 7.6.1), and what is written anew.
const OWN_HEADERS: [&str; 7] =
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"];

/// The rest of an answer.
pub(crate) struct Passing {
    stream: TcpStream,
    /// What was read beyond the head.
    rest: Bytes,
    clock: Arc<dyn Clock>,
    /// Ends when nothing has come for too long; there while nothing comes.
    quiet: Option<BoxFuture<'static, ()>>,
}

/// Asks another node.
pub(super) async fn forward(
    to: &Reach,
    head: &Parts,
    body: &Bytes,
    clock: &Arc<dyn Clock>,
) -> Result<Response<Passing>, Problem> {
    let failed = |why: &str| {
        let text = format!("the node that leads the partition, at {}:{}, {why}", to.host, to.port);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
    };
    let connecting = TcpStream::connect((to.host.as_str(), to.port));
    let mut stream = tokio::select! {
        biased;
        connected = connecting => connected.map_err(|error| failed(&format!("is not reached: {error}")))?,
        () = clock.sleep_until(clock.after_millis(CONNECT_MS_MAX)) => return Err(failed("is not reached")),
    };
    let answered = async {
        stream.write_all(&request(head, body.len())).await?;
        stream.write_all(body).await?;
        answer(&mut stream).await
    };
    let answered = tokio::select! {
        biased;
        answered = answered => answered.map_err(|error| failed(&format!("has not answered: {error}")))?,
        () = clock.sleep_until(clock.after_millis(ANSWER_MS_MAX)) => return Err(failed("has not answered")),
    };
    Ok(answered.map(|rest| Passing { stream, rest, clock: clock.clone(), quiet: None }))
}

/// The head of the request. [`gateway::FORWARDED`] keeps it from going round in circles.
fn request(head: &Parts, length: usize) -> Vec<u8> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let out = format!(
        "{} {path} HTTP/1.0\r\n{}: 1\r\ncontent-length: {length}\r\n",
        head.method,
        gateway::FORWARDED
    );
    let mut bytes = out.into_bytes();
    for (name, value) in head.headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(&name.as_str())) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The head of the answer, and what was read behind it.
async fn answer(stream: &mut TcpStream) -> io::Result<Response<Bytes>> {
    let mut read = BytesMut::with_capacity(PIECE_BYTES);
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if read.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of its answer is too large"));
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = read.split_to(end);
    let rest = read.split_off(4.min(read.len())).freeze();
    parse(&head, rest).ok_or_else(|| io::Error::other("its answer is not HTTP"))
}

fn parse(head: &[u8], rest: Bytes) -> Option<Response<Bytes>> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let status = lines.next()?.split(|byte| *byte == b' ').nth(1)?;
    let mut response = Response::new(rest);
    *response.status_mut() = StatusCode::from_bytes(status).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
        // Of a HEAD its length is not that of what follows, but that is told as it is.
        if !OWN_HEADERS.contains(&name.as_str()) || name == header::CONTENT_LENGTH {
            headers.append(name, value);
        }
    }
    *response.headers_mut() = headers;
    Some(response)
}

impl Body for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut buffer = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                // A node without power ends no connection.
                let Self { clock, quiet, .. } = &mut *self;
                let quiet = quiet.get_or_insert_with(|| clock.sleep_until(clock.after_millis(QUIET_MS_MAX)));
                ready!(quiet.as_mut().poll(context));
                return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
            }
        }
        self.quiet = None;
        let length = buffer.filled().len();
        piece.truncate(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece.into()))))
    }
}
