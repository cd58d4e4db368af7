//! One connection to a broker: requests go out in the order of the calls, and answers come back in the same order.
//!
//! It repeats nothing and knows no cluster; `client` keeps the links. A task owns the stream and ends with it. The
//! stream is not read while a request is written: a link never carries large requests and large answers at once,
//! because produced records, fetches and groups have links of their own.

use crate::{Config, Connect, Error, versions, versions::Versions};
use bytes::{Bytes, BytesMut};
use env::{Connection, Deadline, World};
use std::{
    collections::VecDeque,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};
use stdx::Parts;
use tokio::sync::{Notify, mpsc, oneshot};
use wire::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, Decoder, ErrorCode, Message, Request, frame, header,
};

/// Requests that wait for their answers at once; a further one waits to be sent.
const IN_FLIGHT_MAX: usize = 64;
/// Requests that wait to be sent.
const CALLS_MAX: usize = 16;
/// No answer is longer. Fetches ask for at most half of it.
pub(crate) const RESPONSE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Room for reading before anything is known.
const READ_BYTES: usize = 16 * 1024;

/// A handle of a connection. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    calls: mpsc::Sender<Call>,
    versions: Arc<Versions>,
}

struct Shared {
    world: World,
    addr: String,
    client_id: String,
    request_timeout_ms: i64,
    correlation_id: AtomicI32,
    broken: AtomicBool,
    wake: Notify,
}

struct Call {
    correlation_id: i32,
    frame: Parts,
    answer: Option<oneshot::Sender<Result<Bytes, Error>>>,
}

type Waiting = VecDeque<(i32, oneshot::Sender<Result<Bytes, Error>>)>;

/// An answer that is to come.
pub struct Answer<R> {
    link: Link,
    frame: oneshot::Receiver<Result<Bytes, Error>>,
    version: i16,
    deadline: Deadline,
    waited_ms: i64,
    request: PhantomData<fn() -> R>,
}

impl Link {
    /// Connects and agrees on versions.
    pub async fn open(
        world: &World,
        connect: &dyn Connect,
        config: &Config,
        addr: &str,
    ) -> Result<Self, Error> {
        let refused = |why: String| Error::Connect { addr: addr.into(), why };
        let deadline = world.clock.after_millis(config.connect_timeout_ms);
        let connection = tokio::select! {
            biased;
            connection = connect.connect(addr) => connection.map_err(|error| refused(error.to_string()))?,
            () = world.clock.sleep_until(deadline) => {
                return Err(refused(format!("no connection within {} ms", config.connect_timeout_ms)));
            }
        };
        let (calls, queue) = mpsc::channel(CALLS_MAX);
        let shared = Arc::new(Shared {
            world: world.clone(),
            addr: addr.into(),
            client_id: config.client_id.clone(),
            request_timeout_ms: config.request_timeout_ms,
            correlation_id: AtomicI32::new(0),
            broken: AtomicBool::new(false),
            wake: Notify::new(),
        });
        world.tasks.spawn(Box::pin(run(connection, queue, shared.clone())));
        let mut link = Self { shared, calls, versions: Arc::default() };
        link.versions = Arc::new(link.ask_versions().await?);
        Ok(link)
    }

    /// Whether the connection has ended.
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.send(request, 0).await?.wait().await
    }

    /// Puts a request into the line; the answer may take `extra_ms` longer than others. Requests of one caller leave
    /// in the order of its calls.
    pub async fn send<R: Request>(&self, request: &R, extra_ms: i64) -> Result<Answer<R>, Error> {
        let version = self.version(R::KEY)?;
        self.send_at(request, version, extra_ms).await
    }

    /// Sends a request that is never answered (Produce with acks=0).
    pub(crate) async fn send_unanswered<R: Request>(&self, request: &R) -> Result<(), Error> {
        let version = self.version(R::KEY)?;
        self.enqueue(request, version, None).await
    }

    async fn send_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        extra_ms: i64,
    ) -> Result<Answer<R>, Error> {
        let (answer, frame) = oneshot::channel();
        self.enqueue(request, version, Some(answer)).await?;
        let waited_ms = self.shared.request_timeout_ms.saturating_add(extra_ms);
        let deadline = self.shared.world.clock.after_millis(waited_ms);
        Ok(Answer { link: self.clone(), frame, version, deadline, waited_ms, request: PhantomData })
    }

    async fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        answer: Option<oneshot::Sender<Result<Bytes, Error>>>,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let correlation_id = shared.correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = header::encode_request(correlation_id, Some(&shared.client_id), version, request)
            .map_err(|error| Error::Invalid(format!("{} cannot be sent: {error}", R::KEY)))?;
        let call = Call { correlation_id, frame, answer };
        self.calls.send(call).await.map_err(|_| shared.closed("it had ended before the request"))
    }

    fn version(&self, key: ApiKey) -> Result<i16, Error> {
        self.versions.choose(key).map_err(|theirs| {
            let ours = versions::ours(key);
            let ours = format!("{} to {}", ours.start(), ours.end());
            Error::Unsupported { addr: self.shared.addr.clone(), api: key, theirs, ours }
        })
    }

    async fn ask_versions(&self) -> Result<Versions, Error> {
        let request = ApiVersionsRequest {
            client_software_name: "odradek".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let ours = versions::ours(ApiKey::ApiVersions);
        let mut version = *ours.end();
        loop {
            let (frame, _) = self.send_at(&request, version, 0).await?.wait_frame().await?;
            let malformed = |error: wire::DecodeError| self.shared.malformed(error.to_string());
            // A broker that does not know the version answers at version 0 (KIP-511); its first field is the code.
            let code = frame.rest().first_chunk().map_or(0, |code| i16::from_be_bytes(*code));
            let unsupported = code == ErrorCode::UnsupportedVersion.to_i16();
            let mut body = frame;
            let answer = ApiVersionsResponse::decode(&mut body, if unsupported { 0 } else { version })
                .map_err(malformed)?;
            if !unsupported {
                Error::from_code(answer.error_code, None, || format!("ApiVersions at {}", self.shared.addr))?;
                return Ok(Versions::of(&answer));
            }
            let next = Versions::of(&answer).choose(ApiKey::ApiVersions).unwrap_or(0);
            if next >= version {
                return Err(self.shared.malformed("it refuses the version that it offers".into()));
            }
            version = next;
        }
    }

    fn break_off(&self) {
        self.shared.broken.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl<R: Request> Answer<R> {
    /// Waits for the answer and reads it.
    pub async fn wait(self) -> Result<R::Response, Error> {
        let version = self.version;
        let (mut body, shared) = self.wait_frame().await?;
        R::Response::decode(&mut body, version)
            .map_err(|error| shared.malformed(format!("its answer to {} v{version}: {error}", R::KEY)))
    }

    /// Waits for the answer; the decoder stands behind its header.
    async fn wait_frame(self) -> Result<(Decoder, Arc<Shared>), Error> {
        let shared = self.link.shared.clone();
        let frame = tokio::select! {
            biased;
            frame = self.frame => frame.unwrap_or_else(|_| Err(shared.closed("the connection ended"))),
            () = shared.world.clock.sleep_until(self.deadline) => {
                // The answer may still come and would be taken for that of the next request by nobody, but what
                // waits behind a broker that hangs hangs too.
                self.link.break_off();
                let (addr, what) = (shared.addr.clone(), R::KEY.name());
                Err(Error::Timeout { addr, what, waited_ms: self.waited_ms })
            }
        }?;
        let mut decoder = Decoder::with_default_budget(frame);
        header::decode_response(&mut decoder, R::KEY, self.version)
            .map_err(|error| shared.malformed(error.to_string()))?;
        Ok((decoder, shared))
    }
}

impl Shared {
    fn closed(&self, why: &str) -> Error {
        Error::Closed { addr: self.addr.clone(), why: why.into() }
    }

    fn malformed(&self, why: String) -> Error {
        Error::Protocol { addr: self.addr.clone(), why }
    }
}

/// Owns the stream until it or the link ends; whoever waits then is told why.
async fn run(mut connection: Box<dyn Connection>, mut calls: mpsc::Receiver<Call>, shared: Arc<Shared>) {
    let mut waiting = Waiting::new();
    let error = carry(&mut *connection, &mut calls, &shared, &mut waiting).await;
    shared.broken.store(true, Ordering::Release);
    drop(connection);
    calls.close();
    for (_, answer) in waiting {
        let _ = answer.send(Err(error.clone()));
    }
    while let Some(call) = calls.recv().await {
        if let Some(answer) = call.answer {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

async fn carry(
    connection: &mut dyn Connection,
    calls: &mut mpsc::Receiver<Call>,
    shared: &Shared,
    waiting: &mut Waiting,
) -> Error {
    let mut buffer = BytesMut::new();
    loop {
        if let Err(error) = make_room(&mut buffer) {
            return shared.malformed(error.to_string());
        }
        let call = tokio::select! {
            biased;
            () = shared.wake.notified() => return shared.closed("an answer did not come in time"),
            read = connection.read(&mut buffer) => {
                match read {
                    Ok(0) => return shared.closed("end of stream"),
                    Ok(_) => {}
                    Err(error) => return shared.closed(&error.to_string()),
                }
                if let Err(error) = deliver(&mut buffer, waiting) {
                    return shared.malformed(error);
                }
                continue;
            }
            call = calls.recv(), if waiting.len() < IN_FLIGHT_MAX => call,
        };
        let Some(call) = call else { return Error::Ended };
        if let Some(answer) = call.answer {
            waiting.push_back((call.correlation_id, answer));
        }
        if let Err(error) = connection.write(call.frame).await {
            return shared.closed(&error.to_string());
        }
    }
}

/// Makes some room for reading: as much again as there is, but not beyond the frame that has begun.
fn make_room(buffer: &mut BytesMut) -> Result<(), frame::FrameError> {
    let needed = frame::needed(buffer, RESPONSE_BYTES_MAX)?.unwrap_or(0);
    if buffer.capacity() == buffer.len() {
        let missing = needed.saturating_sub(buffer.len()).max(READ_BYTES);
        buffer.reserve(missing.min(buffer.len().max(READ_BYTES)));
    }
    Ok(())
}

/// Hands every whole frame to whom it answers.
fn deliver(buffer: &mut BytesMut, waiting: &mut Waiting) -> Result<(), String> {
    while let Some(len) = frame::needed(buffer, RESPONSE_BYTES_MAX).map_err(|error| error.to_string())? {
        if buffer.len() < len {
            return Ok(());
        }
        let frame = buffer.split_to(len).freeze().slice(frame::PREFIX_BYTES..);
        let theirs = frame.first_chunk().map_or(-1, |id| i32::from_be_bytes(*id));
        let next = waiting.front().map(|(correlation_id, _)| *correlation_id);
        let Some((_, answer)) = waiting.pop_front_if(|(correlation_id, _)| *correlation_id == theirs) else {
            return Err(match next {
                Some(next) => format!("an answer to request {theirs} where {next} was next"),
                None => format!("an answer to request {theirs} that nobody made"),
            });
        };
        // The caller may have gone.
        let _ = answer.send(Ok(frame));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
