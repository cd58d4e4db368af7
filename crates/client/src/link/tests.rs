use super::*;
use crate::connect::Connect;
use env::{BoxFuture, Clock, Random, Tasks};
use std::{io, net::SocketAddr, sync::Mutex};
use stdx::Parts;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use wire::{
    HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse, RequestHeader,
    api_versions_response::ApiVersion,
};

/// A clock that stands until a test moves it, random numbers that are none, and tasks of the test's runtime.
struct Still {
    now: tokio::sync::watch::Sender<u64>,
}

impl Clock for Still {
    fn wall(&self) -> i64 {
        0
    }
    fn now(&self) -> u64 {
        *self.now.borrow()
    }
    fn sleep_until(&self, deadline: u64) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // The clock may go before those who wait by it.
            let _ = now.wait_for(|now| *now >= deadline).await;
        })
    }
}

impl Random for Still {
    fn next_u64(&self) -> u64 {
        0
    }
}

impl Tasks for Still {
    #[allow(clippy::disallowed_methods, reason = "a test's runtime is the world")]
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        tokio::spawn(future);
    }
    fn run_on_lane(&self, job: env::Job) {
        job();
    }
    fn run_on_worker(&self, job: env::Job) {
        job();
    }
}

impl env::Disk for Still {
    fn open(&self, _: &std::path::Path, _: env::Open) -> io::Result<Arc<dyn env::File>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, _: &std::path::Path) -> io::Result<Vec<env::Entry>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn create_dir_all(&self, _: &std::path::Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, _: &std::path::Path, _: &std::path::Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove_file(&self, _: &std::path::Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove_dir_all(&self, _: &std::path::Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_dir(&self, _: &std::path::Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn lock(&self, _: &std::path::Path) -> io::Result<Box<dyn env::Lock>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn space(&self, _: &std::path::Path) -> io::Result<(u64, u64)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The client's end of a stream: what it writes goes to the script, what the script sends is read.
struct Pipe {
    out: Sender<Bytes>,
    inn: Receiver<Bytes>,
    left: Bytes,
}

impl Connection for Pipe {
    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 9092).into()
    }
    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            if self.left.is_empty() {
                match self.inn.recv().await {
                    Some(bytes) => self.left = bytes,
                    None => return Ok(0),
                }
            }
            let count = self.left.len().min(buffer.capacity() - buffer.len());
            assert!(count > 0, "read without room");
            buffer.extend_from_slice(&self.left.split_to(count));
            Ok(count)
        })
    }
    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let bytes = parts.to_bytes().unwrap();
            self.out.send(bytes).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}

/// The broker's end.
struct Script {
    requests: Receiver<Bytes>,
    answers: Sender<Bytes>,
}

struct Once(Mutex<Option<Pipe>>);

impl Connect for Once {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        let pipe = self.0.lock().unwrap().take();
        Box::pin(async move {
            pipe.map(|pipe| Box::new(pipe) as Box<dyn Connection>)
                .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        })
    }
}

impl Script {
    async fn request<R: Request>(&mut self) -> (RequestHeader, R) {
        let frame = self.requests.recv().await.unwrap();
        let mut decoder = Decoder::with_default_budget(frame.slice(4..));
        let (key, header) = header::decode_request(&mut decoder).unwrap();
        assert_eq!(key, R::KEY);
        let request = R::decode(&mut decoder, header.request_api_version).unwrap();
        (header, request)
    }

    async fn answer<M: wire::Response>(&self, correlation_id: i32, version: i16, response: &M) {
        let frame = header::encode_response(correlation_id, M::KEY, version, response).unwrap();
        self.answers.send(frame.to_bytes().unwrap()).await.unwrap();
    }

    /// Answers the question for versions: heartbeats of version 0 to 3, metadata from 1 to 12.
    async fn hello(&mut self) {
        let (header, request) = self.request::<ApiVersionsRequest>().await;
        assert_eq!((header.request_api_version, request.client_software_name.as_str()), (4, "odradek"));
        let row = |key: ApiKey, min_version, max_version| ApiVersion {
            api_key: key.to_i16(),
            min_version,
            max_version,
        };
        let api_keys =
            vec![row(ApiKey::ApiVersions, 0, 4), row(ApiKey::Heartbeat, 0, 3), row(ApiKey::Metadata, 1, 12)];
        let response = ApiVersionsResponse { api_keys, ..Default::default() };
        self.answer(header.correlation_id, 4, &response).await;
    }
}

fn start() -> (World, Arc<Still>, Once, Script, Config) {
    let still = Arc::new(Still { now: tokio::sync::watch::channel(0).0 });
    let (clock, disk, random, tasks) = (still.clone(), still.clone(), still.clone(), still.clone());
    let ((out, requests), (answers, inn)) = (channel(64), channel(64));
    let connect = Once(Mutex::new(Some(Pipe { out, inn, left: Bytes::new() })));
    let world = World { clock, disk, random, tasks };
    (world, still, connect, Script { requests, answers }, Config::new(vec!["b:1".into()]))
}

async fn linked() -> (Link, Script, Arc<Still>) {
    let (world, still, connect, mut script, config) = start();
    let (link, ()) = tokio::join!(Link::open(&world, &connect, &config, "b:1"), script.hello());
    (link.unwrap(), script, still)
}

fn error_text<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().to_string()
}

#[tokio::test]
async fn requests_are_pipelined_and_answers_come_back_in_their_order() {
    let (link, mut script, _) = linked().await;
    let beats = [1, 2, 3].map(|generation_id| HeartbeatRequest { generation_id, ..Default::default() });
    let mut pending = Vec::new();
    for beat in &beats {
        pending.push(link.send(beat, 0).await.unwrap());
    }
    let mut asked = Vec::new();
    for generation_id in 1..4 {
        let (header, beat) = script.request::<HeartbeatRequest>().await;
        assert_eq!((header.request_api_version, beat.generation_id), (3, generation_id));
        asked.push(header.correlation_id);
    }
    for (index, id) in asked.into_iter().enumerate() {
        let response = HeartbeatResponse { error_code: index as i16, ..Default::default() };
        script.answer(id, 3, &response).await;
    }
    for (index, answer) in pending.into_iter().enumerate() {
        assert_eq!(answer.wait().await.unwrap().error_code, index as i16);
    }
}

#[tokio::test]
async fn an_answer_in_many_pieces_is_put_together() {
    let (link, mut script, _) = linked().await;
    let answer = link.send(&MetadataRequest::default(), 0).await.unwrap();
    let (header, _) = script.request::<MetadataRequest>().await;
    let cluster_id = Some("x".repeat(30_000));
    let response = MetadataResponse { cluster_id: cluster_id.clone(), ..Default::default() };
    let frame = header::encode_response(header.correlation_id, ApiKey::Metadata, 12, &response).unwrap();
    let mut bytes = frame.to_bytes().unwrap();
    for size in [1, 2, 3, 20_000] {
        script.answers.send(bytes.split_to(size)).await.unwrap();
    }
    script.answers.send(bytes).await.unwrap();
    assert_eq!(answer.wait().await.unwrap().cluster_id, cluster_id);
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_its_own_version() {
    let (world, _, connect, mut script, config) = start();
    let broker = async {
        let (header, _) = script.request::<ApiVersionsRequest>().await;
        let row = ApiVersion { api_key: 18, min_version: 0, max_version: 2 };
        let refusal = ApiVersionsResponse { error_code: 35, api_keys: vec![row], ..Default::default() };
        script.answer(header.correlation_id, 0, &refusal).await;
        let (header, _) = script.request::<ApiVersionsRequest>().await;
        assert_eq!(header.request_api_version, 2);
        script.answer(header.correlation_id, 2, &ApiVersionsResponse::default()).await;
    };
    let (link, ()) = tokio::join!(Link::open(&world, &connect, &config, "b:1"), broker);
    let beat = link.unwrap().call(&HeartbeatRequest::default()).await;
    assert_eq!(
        error_text(beat),
        "b:1 cannot do Heartbeat: it supports versions none, this client 0 to 4. Use a newer broker or client"
    );
}

#[tokio::test]
async fn an_answer_to_another_request_ends_the_connection() {
    let (link, mut script, _) = linked().await;
    let beat = HeartbeatRequest::default();
    let first = link.send(&beat, 0).await.unwrap();
    let second = link.send(&beat, 0).await.unwrap();
    let (header, _) = script.request::<HeartbeatRequest>().await;
    script.answer(header.correlation_id + 1, 3, &HeartbeatResponse::default()).await;
    assert!(error_text(first.wait().await).contains("where 1 was next"));
    assert!(error_text(second.wait().await).contains("where 1 was next"));
    assert!(link.is_broken());
    assert!(link.call(&beat).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn a_length_that_no_answer_has_ends_the_connection_before_memory_is_taken() {
    let (link, mut script, _) = linked().await;
    let answer = link.send(&HeartbeatRequest::default(), 0).await.unwrap();
    script.request::<HeartbeatRequest>().await;
    script.answers.send(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff])).await.unwrap();
    assert!(error_text(answer.wait().await).contains("2147483647"));
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_the_connection_after_its_time() {
    let (link, mut script, still) = linked().await;
    let answer = link.send(&HeartbeatRequest::default(), 5_000).await.unwrap();
    script.request::<HeartbeatRequest>().await;
    let late = async {
        still.now.send(34_999 * 1_000_000).unwrap();
        tokio::task::yield_now().await;
        assert!(!link.is_broken());
        still.now.send(35_000 * 1_000_000).unwrap();
    };
    let (outcome, ()) = tokio::join!(answer.wait(), late);
    assert!(error_text(outcome).contains("did not answer Heartbeat within 35000 ms"));
    assert!(link.is_broken());
}

#[tokio::test]
async fn a_broker_that_hangs_up_or_is_not_there_is_told_apart() {
    let (link, script, _) = linked().await;
    let answer = link.send(&HeartbeatRequest::default(), 0).await.unwrap();
    drop(script);
    assert!(matches!(answer.wait().await, Err(Error::Closed { .. })));
    let (world, _, _, _, config) = start();
    let nobody = Once(Mutex::new(None));
    let outcome = Link::open(&world, &nobody, &config, "b:1").await;
    assert!(error_text(outcome).contains("no broker answers at b:1"));
}
