//! Streams of keys: what the gateway's host writes into logs and finds there again, beside Kafka's clients.

mod listening;
mod once;

use crate::{
    harness::{BatchSpec, Client, Cluster, Node, Topic, Transactional, batch_of, bytes_of},
    replication,
};
use broker::GATEWAY_LISTENER;
use bytes::Bytes;
use gateway::{Address, Author, Chunk, Denied, From, Mailboxes, NewRecords, NewStream, Reach, Taken, Token};
use mailbox::{Lifetime, Refusal, Sent};
use metadata::Endpoint;
use model::{TopicName, limits};
use records::{Batch, Decompressor, Record};
use std::sync::Arc;
use tokio::time::{Duration, timeout};
use wire::DeleteTopicsRequest;

pub(crate) const TEXT: &str = "text/plain";

pub(crate) struct Ground {
    pub(crate) node: Node,
    pub(crate) topic: Topic,
    pub(crate) client: Client,
}

pub(crate) fn at(key: &str) -> Address {
    Address { topic: TopicName::new("t").unwrap(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

pub(crate) fn stream() -> NewStream {
    NewStream { content_type: Some(TEXT.into()), ..NewStream::default() }
}

pub(crate) fn post(body: &'static str) -> NewRecords {
    NewRecords {
        content_type: Some(TEXT.into()),
        body: Bytes::from_static(body.as_bytes()),
        ..NewRecords::default()
    }
}

fn from_producer(body: &'static str, epoch: u64, seq: u64) -> NewRecords {
    NewRecords { sent: Some(Sent { id: "phone".into(), epoch, seq }), ..post(body) }
}

fn text(chunk: &Chunk) -> Vec<String> {
    let value = |value: &Option<Bytes>| match value {
        Some(value) => String::from_utf8(value.to_vec()).unwrap(),
        None => "-".to_owned(),
    };
    chunk.records.iter().map(|(_, one)| value(one)).collect()
}

impl Ground {
    pub(crate) async fn with(configs: &[(&str, &str)]) -> Self {
        let node = Node::start().await;
        let mut client = node.client();
        let topic = client.create("t", 1, configs).await;
        Self { node, topic, client }
    }

    pub(crate) async fn new() -> Self {
        Self::with(&[("odradek.stream.content.type", TEXT)]).await
    }

    pub(crate) fn boxes(&self) -> Arc<dyn Mailboxes> {
        self.node.broker.mailboxes()
    }

    pub(crate) async fn append(&self, key: &str, new: NewRecords) -> Result<Taken, Denied> {
        self.boxes().append(&at(key), new).await
    }

    async fn read(&self, key: &str) -> Result<Chunk, Denied> {
        self.boxes().read(&at(key), From::Begin, 1 << 20).await
    }

    async fn texts(&self, key: &str) -> Vec<String> {
        text(&self.read(key).await.unwrap())
    }

    /// What one of Kafka's producers does.
    pub(crate) async fn produce(&mut self, key: &str, values: &[&str]) {
        let batch = batch_of(&BatchSpec { key: Some(key), values, ..BatchSpec::default() });
        assert_eq!(self.client.produce(&self.topic, batch).await.error_code, 0);
    }

    pub(crate) async fn again(self, is_power_cut: bool) -> Self {
        let node = if is_power_cut { self.node.cut_power().await } else { self.node.restart().await };
        let client = node.client();
        Self { node, client, ..self }
    }

    /// All batches of the topic, and the records of those that consumers are given.
    async fn log(&mut self) -> (Vec<Batch>, Vec<Record>) {
        let mut bytes = bytes_of(&self.client.fetch(&self.topic, 0).await);
        let (mut batches, mut records) = (Vec::new(), Vec::new());
        while let Some(batch) = Batch::split_off(&mut bytes) {
            if !batch.header.attributes.is_control() {
                records.extend(batch.records(1 << 20, &mut Decompressor::new()).unwrap());
            }
            batches.push(batch);
        }
        (batches, records)
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Denied>) -> Refusal {
    match result {
        Err(Denied::Refused(refusal, _)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn consumers_read_who_has_posted_a_record() {
    let mut ground = Ground::new().await;
    let author = Author { subject: Some("u42".into()), issuer: Some("https://id.example".into()) };
    let created = NewStream { body: Bytes::from_static(b"one"), author: author.clone(), ..stream() };
    ground.boxes().create(&at("a"), created).await.unwrap();
    ground.append("a", NewRecords { author: author.clone(), ..from_producer("two", 1, 0) }).await.unwrap();
    ground.append("a", post("three")).await.unwrap();
    ground.boxes().delete(&at("a"), &author).await.unwrap();
    let (_, records) = ground.log().await;
    let said = |record: &Record, name: &str| {
        let found = record.headers.iter().find(|header| header.key[..] == *name.as_bytes());
        found.and_then(|header| header.value.clone()).map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    let subjects: Vec<_> = records.iter().map(|record| said(record, "od-sub")).collect();
    let u42 = || Some("u42".to_owned());
    assert_eq!(subjects, [u42(), u42(), None, u42()], "the last one is the tombstone");
    assert_eq!(said(&records[0], "od-iss").as_deref(), Some("https://id.example"));
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_is_what_kafkas_consumers_read() {
    let mut ground = Ground::new().await;
    let (is_new, created) = ground.boxes().create(&at("a"), stream()).await.unwrap();
    assert!(is_new);
    assert!(!ground.boxes().create(&at("a"), stream()).await.unwrap().0);
    let taken = ground.append("a", post("one")).await.unwrap();
    assert!(taken.is_new && taken.standing.end > created.end);
    ground.append("b", post("x")).await.unwrap_err();
    ground.append("a", from_producer("two", 1, 0)).await.unwrap();
    assert_eq!(ground.texts("a").await, ["one", "two"]);
    let (batches, records) = ground.log().await;
    assert!(batches[0].header.attributes.is_control(), "created without a record");
    let read =
        |record: &Record| (record.key.clone().unwrap(), record.value.clone().unwrap(), record.headers.len());
    let all: Vec<_> = records.iter().map(read).collect();
    let (key, one, two) = (Bytes::from_static(b"a"), Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    assert_eq!(all, [(key.clone(), one, 0), (key, two, 1)]);
    assert_eq!(&records[1].headers[0].key[..], b"od.producer");
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_kafkas_producers_write_is_the_stream_too() {
    let mut ground = Ground::new().await;
    assert_eq!(refused(ground.read("a").await), Refusal::NotFound);
    ground.produce("a", &["one", "two"]).await;
    ground.produce("b", &["other"]).await;
    let chunk = ground.read("a").await.unwrap();
    assert_eq!((text(&chunk), chunk.is_up_to_date), (vec!["one".to_owned(), "two".to_owned()], true));
    assert_eq!(chunk.standing.life.content_type, TEXT);
    ground.append("a", post("three")).await.unwrap();
    ground.produce("a", &["four"]).await;
    let rest = ground.boxes().read(&at("a"), From::At(chunk.next), 1 << 20).await.unwrap();
    assert_eq!(text(&rest), ["three", "four"]);
    let end = ground.boxes().look(&at("a")).await.unwrap().end;
    assert_eq!(rest.next, end);
    let stale = NewRecords { expected: Some(chunk.next), ..post("five") };
    assert!(matches!(refused(ground.append("a", stale).await), Refusal::OtherOffset { .. }));
    let right = NewRecords { expected: Some(end), ..post("five") };
    assert!(ground.append("a", right).await.unwrap().is_new);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_what_a_stream_is_and_what_its_producers_said() {
    for is_power_cut in [false, true] {
        let ground = Ground::new().await;
        let lifetime = Some(Lifetime::Idle(3600));
        ground.boxes().create(&at("a"), NewStream { lifetime: lifetime.clone(), ..stream() }).await.unwrap();
        for seq in 0..3 {
            ground.append("a", from_producer("x", 1, seq)).await.unwrap();
        }
        ground.append("a", NewRecords { seq: Some("m".into()), ..post("y") }).await.unwrap();
        let before = ground.boxes().look(&at("a")).await.unwrap();
        let ground = ground.again(is_power_cut).await;
        let after = ground.boxes().look(&at("a")).await.unwrap();
        assert_eq!((&after.life, after.end), (&before.life, before.end));
        let again = ground.append("a", from_producer("x", 1, 2)).await.unwrap();
        assert_eq!((again.is_new, again.seq), (false, Some(2)));
        assert!(matches!(
            refused(ground.append("a", from_producer("x", 1, 4)).await),
            Refusal::Gap { expected: 3, .. }
        ));
        let low = NewRecords { seq: Some("b".into()), ..post("z") };
        assert!(matches!(refused(ground.append("a", low).await), Refusal::SeqNotHigher(_)));
        assert_eq!(ground.texts("a").await, ["x", "x", "x", "y"]);
        let closing = NewRecords { closes: true, ..NewRecords::default() };
        ground.append("a", closing).await.unwrap();
        let ground = ground.again(is_power_cut).await;
        assert_eq!(refused(ground.append("a", post("late")).await), Refusal::Closed);
        let chunk = ground.read("a").await.unwrap();
        assert!(chunk.standing.life.is_closed && chunk.records.len() == 4);
        ground.node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_finds_what_the_log_says_of_each_stream() {
    let mut ground = Ground::with(&[("odradek.key.index", "true"), ("segment.bytes", "1048576")]).await;
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        ground.boxes().create(&at(key), stream()).await.unwrap();
        ground.append(key, from_producer("one", 3, 0)).await.unwrap();
    }
    let filler = NewRecords { body: vec![b'x'; 400_000].into(), ..post("") };
    for _ in 0..6 {
        ground.append("key-0", filler.clone()).await.unwrap();
    }
    ground.boxes().delete(&at("key-7"), &Author::default()).await.unwrap();
    ground.node.pass(20_000).await;
    ground = ground.again(true).await;
    ground.node.pass(20_000).await;
    ground.produce("key-9", &["two"]).await;
    for key in keys.iter().skip(1) {
        if key == "key-7" {
            assert_eq!(refused(ground.read(key).await), Refusal::NotFound);
            continue;
        }
        let expected: &[&str] = if key == "key-9" { &["one", "two"] } else { &["one"] };
        assert_eq!(ground.texts(key).await, expected, "{key}");
        let again = ground.append(key, from_producer("one", 3, 0)).await.unwrap();
        assert!(!again.is_new && again.standing.life.content_type == TEXT, "{key}");
        assert!(ground.append(key, from_producer("next", 3, 1)).await.unwrap().is_new);
    }
    assert_eq!(ground.boxes().read(&at("key-0"), From::Begin, 10 << 20).await.unwrap().records.len(), 7);
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_is_a_tombstone_and_a_new_stream_begins_behind_it() {
    let mut ground = Ground::new().await;
    ground
        .boxes()
        .create(&at("a"), NewStream { body: Bytes::from_static(b"old"), ..stream() })
        .await
        .unwrap();
    ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
    assert_eq!(refused(ground.boxes().delete(&at("a"), &Author::default()).await), Refusal::NotFound);
    let (_, records) = ground.log().await;
    assert_eq!(records.last().unwrap().value, None);
    for _ in 0..2 {
        assert_eq!(refused(ground.read("a").await), Refusal::NotFound);
        assert_eq!(refused(ground.append("a", post("x")).await), Refusal::NotFound);
        ground = ground.again(true).await;
    }
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    ground.append("a", post("new")).await.unwrap();
    assert_eq!(ground.texts("a").await, ["new"]);
    let ground = ground.again(true).await;
    assert_eq!(ground.texts("a").await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_unless_it_is_used() {
    let ground = Ground::new().await;
    let idle = || NewStream { lifetime: Some(Lifetime::Idle(60)), ..stream() };
    ground.boxes().create(&at("a"), idle()).await.unwrap();
    ground.append("a", post("one")).await.unwrap();
    for _ in 0..3 {
        ground.node.pass(40_000).await;
        assert_eq!(ground.texts("a").await, ["one"]);
    }
    // That it was read is written down, and nobody waits for that.
    ground.node.pass(100).await;
    let ground = ground.again(true).await;
    ground.node.pass(58_900).await;
    ground.boxes().look(&at("a")).await.unwrap();
    ground.node.pass(1_000).await;
    assert_eq!(refused(ground.boxes().look(&at("a")).await), Refusal::NotFound);
    assert!(ground.boxes().create(&at("a"), idle()).await.unwrap().0, "its path is free");
    assert_eq!(ground.texts("a").await, [""; 0]);
}

/// On threads of their own: between two looks at the log others write.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_while_others_write_is_told_everything_once() {
    const APPENDS: usize = 3000;
    let ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let boxes = ground.boxes();
    let writing = tokio::spawn(async move {
        for _ in 0..APPENDS {
            boxes.append(&at("a"), post("x")).await.unwrap();
        }
    });
    let (mut seen, mut next) = (Vec::<Token>::new(), From::Begin);
    while seen.len() < APPENDS {
        let chunk = ground.boxes().read(&at("a"), next, 1 << 20).await.unwrap();
        for (token, _) in &chunk.records {
            assert!(seen.last().is_none_or(|last| last < token), "{token:?} is told again");
            seen.push(*token);
        }
        assert!(seen.last().is_none_or(|last| *last <= chunk.next), "{:?} lies before {seen:?}", chunk.next);
        next = From::At(chunk.next);
    }
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn json_is_one_batch_and_one_answer() {
    let mut ground = Ground::new().await;
    let json = || Some("application/json".to_owned());
    let new = NewStream {
        content_type: json(),
        body: Bytes::from_static(b"[1, {\"a\": 2}]"),
        ..NewStream::default()
    };
    ground.boxes().create(&at("a"), new).await.unwrap();
    assert_eq!(ground.texts("a").await, ["1", "{\"a\": 2}"]);
    let (batches, _) = ground.log().await;
    assert_eq!((batches.len(), batches[0].header.record_count), (1, 2));
    let body = |body: &'static [u8]| NewRecords {
        content_type: json(),
        body: Bytes::from_static(body),
        ..NewRecords::default()
    };
    assert!(matches!(ground.append("a", body(b"[1")).await, Err(Denied::NotJson(_))));
    assert!(matches!(ground.append("a", body(b"[]")).await, Err(Denied::NotJson(_))));
    let many = format!("[{}]", vec!["1"; 400_000].join(","));
    let many = NewRecords { content_type: json(), body: many.into(), ..NewRecords::default() };
    assert!(matches!(ground.append("a", many).await, Err(Denied::TooLarge(_))), "headers of records count");
}

#[tokio::test(start_paused = true)]
async fn a_fork_has_what_was_there_and_keeps_its_source() {
    let ground = Ground::new().await;
    ground
        .boxes()
        .create(&at("a"), NewStream { body: Bytes::from_static(b"one"), ..stream() })
        .await
        .unwrap();
    let middle = ground.append("a", post("two")).await.unwrap().standing.end;
    ground.append("a", post("three")).await.unwrap();
    let fork = |from: &str, offset| NewStream { fork: Some((at(from), offset, 0)), ..NewStream::default() };
    ground.boxes().create(&at("b"), fork("a", Some(middle))).await.unwrap();
    ground.append("b", post("own")).await.unwrap();
    ground.boxes().create(&at("c"), fork("b", None)).await.unwrap();
    ground.append("c", post("deep")).await.unwrap();
    ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
    let ground = ground.again(true).await;
    assert_eq!(ground.texts("b").await, ["one", "two", "own"]);
    assert_eq!(ground.texts("c").await, ["one", "two", "own", "deep"]);
    assert_eq!(refused(ground.read("a").await), Refusal::Deleted);
    assert_eq!(refused(ground.boxes().create(&at("a"), stream()).await), Refusal::InUse);
    // Piece by piece, and on from any token.
    let (mut next, mut pieces) = (Token::BEGIN, Vec::new());
    loop {
        let piece = ground.boxes().read(&at("c"), From::At(next), 1).await.unwrap();
        pieces.extend(text(&piece));
        next = piece.next;
        if piece.is_up_to_date {
            break;
        }
    }
    assert_eq!(pieces, ["one", "two", "own", "deep"]);
    ground.boxes().delete(&at("b"), &Author::default()).await.unwrap();
    ground.boxes().delete(&at("c"), &Author::default()).await.unwrap();
    for key in ["a", "b", "c"] {
        assert_eq!(refused(ground.read(key).await), Refusal::NotFound, "{key}: nobody needs it");
    }
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_its_key_alone_whoever_writes() {
    let mut ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let boxes = ground.boxes();
    let (mut seen, address) = (boxes.look(&at("a")).await.unwrap().end, at("a"));
    for round in 0..4 {
        let mut waiting = boxes.changed(&address, seen);
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "{round}");
        ground.produce("b", &["x"]).await;
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "another key");
        match round {
            0 => drop(ground.append("a", post("one")).await.unwrap()),
            1 => ground.produce("a", &["two"]).await,
            2 => {
                drop(ground.append("a", NewRecords { closes: true, ..NewRecords::default() }).await.unwrap())
            }
            _ => boxes.delete(&at("a"), &Author::default()).await.unwrap(),
        }
        if round < 2 {
            assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok(), "{round}");
            seen = boxes.look(&at("a")).await.unwrap().end;
        } else {
            assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok(), "{round}");
            break;
        }
    }
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn readers_see_transactions_once_they_are_committed() {
    let mut ground = Ground::new().await;
    ground.produce("key", &["one"]).await;
    for (is_committed, value) in [(false, "lost"), (true, "two")] {
        let mut client = ground.node.client();
        let mut txn = Transactional::init(&mut client, &format!("txn-{is_committed}")).await;
        let before = ground.read("key").await.unwrap();
        let sent = txn.send(&mut client, 12, &ground.topic, &[value]).await;
        assert_eq!(sent.error_code, 0);
        let open = ground.read("key").await.unwrap();
        assert_eq!((text(&open), open.is_up_to_date), (text(&before), true));
        txn.end_patiently(&mut client, 5, is_committed).await;
        ground.node.pass(1000).await;
        let rest = ground.boxes().read(&at("key"), From::At(open.next), 1 << 20).await.unwrap();
        assert_eq!(text(&rest), if is_committed { vec![value.to_owned()] } else { vec![] });
    }
    assert_eq!(ground.texts("key").await, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_segment_that_says_what_it_is() {
    let configs = [("segment.bytes", "1048576"), ("retention.ms", "3600000"), ("file.delete.delay.ms", "0")];
    let ground = Ground::with(&configs).await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let large = || NewRecords { body: vec![b'x'; 500_000].into(), ..post("") };
    let first = ground.append("a", large()).await.unwrap().standing.end;
    for _ in 0..5 {
        ground.node.pass(1_000_000).await;
        ground.append("a", large()).await.unwrap();
    }
    ground.node.pass(2_000_000).await;
    let ground = ground.again(true).await;
    let chunk = ground.boxes().read(&at("a"), From::Begin, 10 << 20).await.unwrap();
    assert_eq!(chunk.standing.life.content_type, TEXT);
    assert!((1..6).contains(&chunk.records.len()), "{}", chunk.records.len());
    let gone = ground.boxes().read(&at("a"), From::At(first), 1 << 20).await;
    assert!(matches!(gone, Err(Denied::Gone(_))), "{gone:?}");
    ground.node.pass(20_000_000).await;
    assert_eq!(refused(ground.read("a").await), Refusal::NotFound, "with all of its records it is gone");
}

#[tokio::test(start_paused = true)]
async fn many_write_at_once_and_each_append_is_taken_once() {
    let ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let boxes = ground.boxes();
    let one = |seq: u64| {
        let boxes = boxes.clone();
        async move {
            loop {
                match boxes.append(&at("a"), from_producer("x", 1, seq)).await {
                    Ok(taken) => return taken.is_new,
                    Err(Denied::Refused(Refusal::Gap { .. }, _)) => {
                        tokio::time::sleep(Duration::from_millis(1)).await
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    };
    // Each is sent twice.
    let sent = futures_util::future::join_all((0..40).map(|number| one(number / 2))).await;
    assert_eq!(sent.iter().filter(|is_new| **is_new).count(), 20);
    assert_eq!(ground.texts("a").await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_is_nobodys_stream_is_refused() {
    let ground = Ground::new().await;
    let boxes = ground.boxes();
    for topic in ["none", "__consumer_offsets", "__share_group_state"] {
        let at = Address { topic: TopicName::new(topic).unwrap(), key: Bytes::from_static(b"k") };
        assert!(matches!(boxes.create(&at, stream()).await, Err(Denied::UnknownTopic)), "{topic}");
        assert_eq!(boxes.body_bytes_max(&at.topic), None);
    }
    assert_eq!(boxes.body_bytes_max(&at("a").topic), Some(1_048_588));
    let large = NewStream { body: vec![0; 1_100_000].into(), ..stream() };
    assert!(matches!(boxes.create(&at("a"), large).await, Err(Denied::TooLarge(1_048_588))));
    assert_eq!(refused(boxes.look(&at("a")).await), Refusal::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_knows_what_the_old_one_had_acknowledged() {
    let cluster = Cluster::new(&[]);
    let host = |node: i32| format!("streams{node}");
    let starting = [1, 2, 3].map(|node| {
        cluster.start_as(node, node, &[1, 2, 3], |config| {
            let name = GATEWAY_LISTENER.to_owned();
            config.endpoints.push(Endpoint { name, host: host(node), port: 8080, security: 0 });
        })
    });
    for start in starting {
        start.await.unwrap().unwrap();
    }
    replication::create(&cluster, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]).await;
    let boxes = |node| cluster.broker(node).mailboxes();
    boxes(1).create(&at("a"), stream()).await.unwrap();
    for seq in 0..3 {
        boxes(1).append(&at("a"), from_producer("x", 1, seq)).await.unwrap();
    }
    let reach = |node| Some(Reach { host: host(node), port: 8080 });
    assert_eq!((boxes(1).elsewhere(&at("a")), boxes(2).elsewhere(&at("a"))), (None, reach(1)));
    let elsewhere = boxes(2).append(&at("a"), post("x")).await;
    assert!(matches!(elsewhere, Err(Denied::Unavailable(_))), "{elsewhere:?}");
    let seen = boxes(1).look(&at("a")).await.unwrap().end;
    cluster.kill(1);
    let leader = async {
        loop {
            cluster.pass(100).await;
            let leads = |node: &i32| boxes(*node).elsewhere(&at("a")).is_none();
            if let Some(node) = [2, 3].iter().find(|node| leads(node)) {
                return *node;
            }
        }
    };
    let leader = timeout(Duration::from_secs(60), leader).await.unwrap();
    let again = boxes(leader).append(&at("a"), from_producer("x", 1, 2)).await.unwrap();
    assert_eq!((again.is_new, again.seq, again.standing.end), (false, Some(2), seen));
    let gap = refused(boxes(leader).append(&at("a"), from_producer("x", 1, 4)).await);
    assert!(matches!(gap, Refusal::Gap { expected: 3, .. }));
    assert!(boxes(leader).append(&at("a"), from_producer("y", 1, 3)).await.unwrap().is_new);
    let chunk = boxes(leader).read(&at("a"), From::Begin, 1 << 20).await.unwrap();
    assert_eq!(text(&chunk), ["x", "x", "x", "y"]);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_new_stream_knows_nothing_of_the_producers_of_the_one_before() {
    let mut ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    for seq in 0..3 {
        ground.append("a", from_producer("old", 4, seq)).await.unwrap();
    }
    for is_restarted in [false, true] {
        ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
        ground.boxes().create(&at("a"), stream()).await.unwrap();
        if is_restarted {
            ground = ground.again(true).await;
        }
        assert!(ground.append("a", from_producer("new", 1, 0)).await.unwrap().is_new);
        assert!(!ground.append("a", from_producer("new", 1, 0)).await.unwrap().is_new);
        assert_eq!(ground.texts("a").await, ["new"]);
    }
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_for_readers_once_they_see_all_of_it() {
    let ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let mut client = ground.node.client();
    let mut txn = Transactional::init(&mut client, "txn").await;
    assert_eq!(txn.send(&mut client, 12, &ground.topic, &["other"]).await.error_code, 0);
    ground.append("a", NewRecords { closes: true, ..post("last") }).await.unwrap();
    let hidden = ground.read("a").await.unwrap();
    assert_eq!((text(&hidden), hidden.standing.life.is_closed), (vec![], false));
    let (boxes, address) = (ground.boxes(), at("a"));
    let mut waiting = boxes.changed(&address, hidden.next);
    assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "there is nothing to be seen");
    txn.end_patiently(&mut client, 5, true).await;
    assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
    let all = ground.boxes().read(&at("a"), From::At(hidden.next), 1 << 20).await.unwrap();
    assert_eq!((text(&all), all.standing.life.is_closed), (vec!["last".to_owned()], true));
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_wait_while_a_transaction_is_open_is_woken_when_it_ends() {
    let mut ground = Ground::new().await;
    ground.produce("a", &["one"]).await;
    let mut client = ground.node.client();
    let mut txn = Transactional::init(&mut client, "txn").await;
    assert_eq!(txn.send(&mut client, 12, &ground.topic, &["other"]).await.error_code, 0);
    ground.append("a", post("two")).await.unwrap();
    let open = ground.read("a").await.unwrap();
    assert_eq!(text(&open), ["one"]);
    let (boxes, address) = (ground.boxes(), at("a"));
    let mut waiting = boxes.changed(&address, open.next);
    assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
    txn.end_patiently(&mut client, 5, true).await;
    assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fork_whose_time_is_over_lets_its_source_go_with_its_path() {
    let ground = Ground::new().await;
    let fork = |from: &str| NewStream {
        fork: Some((at(from), None, 0)),
        lifetime: Some(Lifetime::Idle(60)),
        ..NewStream::default()
    };
    for is_created_again in [false, true] {
        ground.boxes().create(&at("a"), stream()).await.unwrap();
        ground.boxes().create(&at("b"), fork("a")).await.unwrap();
        ground.boxes().create(&at("c"), fork("b")).await.unwrap();
        ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
        ground.node.pass(61_000).await;
        assert_eq!(refused(ground.boxes().create(&at("a"), stream()).await), Refusal::InUse);
        for key in ["c", "b"] {
            if is_created_again {
                assert!(ground.boxes().create(&at(key), stream()).await.unwrap().0);
                ground.boxes().delete(&at(key), &Author::default()).await.unwrap();
            } else {
                let deleted = refused(ground.boxes().delete(&at(key), &Author::default()).await);
                assert!(matches!(deleted, Refusal::NotFound), "{key}: {deleted:?}");
            }
        }
        assert!(ground.boxes().create(&at("a"), stream()).await.unwrap().0, "nobody needs what was there");
        ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
    }
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "what takes time is at work and does not wait")]
async fn an_indexed_batch_of_many_records_is_looked_into_once() {
    let ground = Ground::with(&[("odradek.key.index", "true")]).await;
    let json = || Some("application/json".to_owned());
    let body = format!("[{}]", vec!["1"; 8000].join(","));
    let new = NewStream { content_type: json(), body: body.into(), ..NewStream::default() };
    ground.boxes().create(&at("a"), new).await.unwrap();
    let filler = NewRecords { content_type: json(), body: "[2]".into(), ..NewRecords::default() };
    ground.append("a", filler).await.unwrap();
    ground.node.pass(20_000).await;
    let begun = std::time::Instant::now();
    assert_eq!(ground.read("a").await.unwrap().records.len(), 8001);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_this_log_has_never_given_out_is_gone() {
    let mut ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let mut seen = Token::BEGIN;
    for _ in 0..3 {
        seen = ground.append("a", post("old")).await.unwrap().standing.end;
    }
    assert!(ground.boxes().read(&at("a"), From::At(seen), 1 << 20).await.unwrap().is_up_to_date);
    // The topic is made anew, and its offsets begin anew, too.
    let gone = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(ground.client.call(5, &gone).await.responses[0].error_code, 0);
    ground.topic = ground.client.create("t", 1, &[]).await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let first = ground.append("a", post("new")).await.unwrap().standing.end;
    for token in [seen, Token::new(1, 0)] {
        let gone = ground.boxes().read(&at("a"), From::At(token), 1 << 20).await;
        let Err(Denied::Gone(earliest)) = gone else { panic!("{token}: {gone:?}") };
        let chunk = ground.boxes().read(&at("a"), From::At(earliest), 1 << 20).await.unwrap();
        assert_eq!((text(&chunk), chunk.next), (vec!["new".to_owned()], first));
    }
}

#[tokio::test(start_paused = true)]
async fn many_that_are_looked_for_hold_no_more_than_a_few_reads() {
    let ground = Ground::new().await;
    let large = NewStream { body: vec![b'x'; 100_000].into(), ..stream() };
    ground.boxes().create(&at("a"), large).await.unwrap();
    let (boxes, tasks) = (ground.boxes(), ground.node.tasks.clone());
    tasks.keep_workers_busy();
    let addresses: Vec<_> = (0..100).map(|number| at(&format!("none-{number}"))).collect();
    let looks = futures_util::future::join_all(addresses.iter().map(|address| boxes.look(address)));
    let mut looks = std::pin::pin!(looks);
    assert!(timeout(Duration::from_secs(1), &mut looks).await.is_err());
    let waiting = tasks.free_workers();
    assert!((1..=limits::MAILBOX_READS_MAX).contains(&waiting), "{waiting}");
    for found in looks.await {
        assert_eq!(refused(found), Refusal::NotFound);
    }
}

#[tokio::test(start_paused = true)]
async fn what_retention_takes_from_under_a_reader_is_not_passed_over() {
    let configs = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    for is_begun in [false, true] {
        let ground = Ground::with(&configs).await;
        let (_, created) = ground.boxes().create(&at("a"), stream()).await.unwrap();
        let large = || NewRecords { body: vec![b'x'; 500_000].into(), ..post("") };
        let mut ends = vec![created.end];
        for _ in 0..8 {
            ends.push(ground.append("a", large()).await.unwrap().standing.end);
        }
        let mut ground = ground.again(false).await;
        let (boxes, address) = (ground.boxes(), at("a"));
        boxes.look(&address).await.unwrap();
        let tasks = ground.node.tasks.clone();
        tasks.hold_next_job();
        let from = if is_begun { From::Begin } else { From::At(ends[1]) };
        let mut reading = boxes.read(&address, from, 10 << 20);
        assert!(timeout(Duration::from_secs(1), &mut reading).await.is_err(), "the disk is slow");
        if is_begun {
            // What it begins with is read, and what comes next is not.
            tasks.release_and_hold_next_job();
            assert!(timeout(Duration::from_secs(1), &mut reading).await.is_err(), "the disk is slow");
        }
        ground.client.delete_before(&ground.topic, 7).await;
        tasks.release();
        let read = reading.await;
        if is_begun {
            let chunk = read.unwrap();
            assert!(chunk.records.len() < 7 && !chunk.is_up_to_date, "{}", chunk.records.len());
            assert_eq!(chunk.next, ends[chunk.records.len()]);
        } else {
            assert!(matches!(read, Err(Denied::Gone(_))), "{:?}", read.map(|chunk| chunk.records.len()));
        }
        ground.node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_found_enough_does_not_wait_for_more() {
    let ground = Ground::new().await;
    let large = || NewRecords { body: vec![b'x'; 700_000].into(), ..post("") };
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    for _ in 0..3 {
        ground.append("a", large()).await.unwrap();
    }
    let (boxes, tasks, address) = (ground.boxes(), ground.node.tasks.clone(), at("a"));
    boxes.look(&address).await.unwrap();
    tasks.keep_workers_busy();
    let mut reading = boxes.read(&address, From::Begin, 100_000);
    assert!(
        timeout(Duration::from_secs(1), &mut reading).await.is_err(),
        "what is large a worker looks into"
    );
    tasks.free_workers();
    tasks.keep_workers_busy();
    let chunk = timeout(Duration::from_secs(1), &mut reading).await.expect("it looks for more").unwrap();
    assert_eq!((chunk.records.len(), chunk.is_up_to_date), (1, false));
    tasks.free_workers();
}
