//! Partitions record by record: what the gateway reads of them and appends to them, beside Kafka's clients.

use crate::{
    harness::{BatchSpec, Cluster, Transactional, batch_of},
    mailboxes::{Ground, TEXT, at, post, stream},
    replication,
};
use broker::GATEWAY_LISTENER;
use bytes::Bytes;
use gateway::{Author, Denied, From, NewRecord, Reach, Records, Shape, Token};
use mailbox::Refusal;
use metadata::Endpoint;
use model::{TopicName, TopicPartition};
use records::{Codec, Header};
use tokio::time::{Duration, timeout};

fn of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition }
}

fn record(value: &'static str) -> NewRecord {
    NewRecord { value: Some(Bytes::from_static(value.as_bytes())), ..NewRecord::default() }
}

fn values(read: &Records) -> Vec<(i64, String)> {
    let value = |record: &records::Record| {
        let value = record.value.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value));
        (record.offset, value.into_owned())
    };
    read.records.iter().map(value).collect()
}

impl Ground {
    async fn records(&self, from: From) -> Result<Records, Denied> {
        self.boxes().read_records(&of("t", 0), from, 1 << 20).await
    }

    /// The same piece by piece.
    async fn all(&self, bytes_max: usize) -> Vec<(i64, String)> {
        let (mut all, mut from) = (Vec::new(), From::Begin);
        loop {
            let read = self.boxes().read_records(&of("t", 0), from, bytes_max).await.unwrap();
            all.extend(values(&read));
            if read.is_up_to_date {
                return all;
            }
            assert!(From::At(read.next) != from, "it does not go on");
            from = From::At(read.next);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_is_read_as_it_was_written_from_any_place() {
    let mut ground = Ground::with(&[]).await;
    for codec in [Codec::None, Codec::Zstd] {
        let spec =
            BatchSpec { key: Some("k"), values: &["one", "two", "three"], codec, ..BatchSpec::default() };
        assert_eq!(ground.client.produce(&ground.topic, batch_of(&spec)).await.error_code, 0);
    }
    let headers = vec![Header { key: Bytes::from_static(b"h"), value: None }];
    let own = NewRecord { key: Some(Bytes::from_static(b"own")), headers: headers.clone(), ..record("four") };
    let next = ground.boxes().append_records(&of("t", 0), vec![own, record("five")], None).await.unwrap();
    assert_eq!(next, Token::new(0, 8));
    let expected: Vec<(i64, String)> = ["one", "two", "three", "one", "two", "three", "four", "five"]
        .iter()
        .enumerate()
        .map(|(offset, value)| (offset as i64, (*value).to_owned()))
        .collect();
    for is_restarted in [false, true] {
        if is_restarted {
            ground = ground.again(true).await;
        }
        for bytes_max in [1, 5, 9, 1 << 20] {
            assert_eq!(ground.all(bytes_max).await, expected, "{bytes_max}");
        }
        for offset in 0..=8 {
            let read = ground.records(From::At(Token::new(0, offset))).await.unwrap();
            assert_eq!(values(&read), expected[offset as usize..]);
            assert_eq!((read.next, read.is_up_to_date), (next, true));
        }
        let read = ground.records(From::Begin).await.unwrap().records;
        assert_eq!((read[6].key.as_deref(), &read[6].headers), (Some(&b"own"[..]), &headers));
        assert!(read[6].timestamp > 0 && read[7].key.is_none());
        assert_eq!(ground.records(From::End).await.unwrap().next, next);
    }
    assert_eq!(ground.client.read_all(&ground.topic).await.len(), 8, "Kafka's consumers read the same");
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_streams_of_keys_write_about_themselves_is_no_record() {
    let ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    ground.append("a", post("one")).await.unwrap();
    ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
    assert_eq!(ground.all(1).await, [(1, "one".to_owned()), (2, "-".to_owned())]);
    assert_eq!(
        ground.boxes().shape(&at("a").topic),
        Some(Shape { partitions: 1, content_type: TEXT.into() })
    );
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_partition_see_what_is_committed_and_are_woken_by_it() {
    let mut ground = Ground::with(&[]).await;
    ground.produce("k", &["one"]).await;
    let mut client = ground.node.client();
    let mut txn = Transactional::init(&mut client, "txn").await;
    let (boxes, partition) = (ground.boxes(), of("t", 0));
    let mut seen = ground.records(From::End).await.unwrap().next;
    for (value, is_committed) in [("lost", false), ("two", true)] {
        assert_eq!(txn.send(&mut client, 12, &ground.topic, &[value]).await.error_code, 0);
        let open = ground.records(From::At(seen)).await.unwrap();
        assert_eq!((values(&open), open.is_up_to_date), (vec![], true));
        let mut waiting = boxes.records_changed(&partition, seen);
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
        txn.end_patiently(&mut client, 5, is_committed).await;
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
        let ended = ground.records(From::At(seen)).await.unwrap();
        assert_eq!(values(&ended).len(), usize::from(is_committed));
        assert!(ended.next > seen && ended.is_up_to_date);
        seen = ended.next;
    }
    assert_eq!(ground.all(1).await.iter().map(|(_, value)| &**value).collect::<Vec<_>>(), ["one", "two"]);
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_retention_has_taken_is_gone_and_the_earliest_is_told() {
    let mut ground = Ground::with(&[("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")]).await;
    let large: &'static str = "x".repeat(400_000).leak();
    for _ in 0..8 {
        ground.boxes().append_records(&of("t", 0), vec![record(large)], None).await.unwrap();
    }
    ground.client.delete_before(&ground.topic, 5).await;
    let gone = |read: Result<Records, Denied>| match read {
        Err(Denied::Gone(earliest)) => earliest,
        other => panic!("{:?}", other.map(|read| read.records.len())),
    };
    for token in [Token::new(0, 4), Token::new(0, 99), Token::new(1, 6)] {
        assert_eq!(gone(ground.records(From::At(token)).await), Token::new(0, 5), "{token}");
    }
    for from in [From::Begin, From::At(Token::BEGIN), From::At(Token::new(0, 5))] {
        let read = ground.boxes().read_records(&of("t", 0), from, 10 << 20).await.unwrap();
        assert_eq!(read.records.first().map(|record| record.offset), Some(5));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_topic_does_not_take_is_refused() {
    let ground = Ground::with(&[("max.message.bytes", "2000")]).await;
    let boxes = ground.boxes();
    let large: &'static str = "x".repeat(3000).leak();
    let partition = of("t", 0);
    let put = |value, expected| boxes.append_records(&partition, vec![record(value)], expected);
    assert!(matches!(put(large, None).await, Err(Denied::TooLarge(2000))));
    let end = put("one", Some(Token::BEGIN)).await.unwrap();
    for stale in [Token::BEGIN, Token::new(1, 1)] {
        let refused = put("two", Some(stale)).await;
        let is_told = matches!(refused, Err(Denied::Refused(Refusal::OtherOffset { end: 1 }, Some(told))) if told == end);
        assert!(is_told, "{refused:?}");
    }
    for (topic, partition) in [("none", 0), ("__consumer_offsets", 0)] {
        let of = of(topic, partition);
        assert_eq!(boxes.shape(&of.topic), None);
        assert!(
            matches!(boxes.read_records(&of, From::Begin, 1).await, Err(Denied::UnknownTopic)),
            "{topic}"
        );
        let put = boxes.append_records(&of, vec![record("x")], None).await;
        assert!(matches!(put, Err(Denied::UnknownTopic)), "{topic}");
    }
    for partition in [1, -1] {
        let read = boxes.read_records(&of("t", partition), From::Begin, 1).await;
        assert!(matches!(read, Err(Denied::UnknownPartition(1))), "{read:?}");
    }
    let compacted = Ground::with(&[("cleanup.policy", "compact")]).await;
    let put = compacted.boxes().append_records(&partition, vec![record("x")], None).await;
    assert!(matches!(put, Err(Denied::NotTaken(_))), "a compacted topic wants keys: {put:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_served_by_its_leader() {
    let cluster = Cluster::new(&[]);
    let host = |node: i32| format!("topics{node}");
    let starting = [1, 2, 3].map(|node| {
        cluster.start_as(node, node, &[1, 2, 3], |config| {
            let name = GATEWAY_LISTENER.to_owned();
            config.endpoints.push(Endpoint { name, host: host(node), port: 8080, security: 0 });
        })
    });
    for start in starting {
        start.await.unwrap().unwrap();
    }
    replication::create(&cluster, "t", &[&[1, 2], &[2, 3]], &[]).await;
    let boxes = |node| cluster.broker(node).mailboxes();
    let reach = |node| Some(Reach { host: host(node), port: 8080 });
    for (partition, leader) in [(0, 1), (1, 2)] {
        let of = of("t", partition);
        for node in [1, 2, 3] {
            let expected = if node == leader { None } else { reach(leader) };
            assert_eq!(boxes(node).partition_elsewhere(&of), expected, "{partition} at {node}");
            assert_eq!(boxes(node).is_here(&of), node == leader);
            let put = boxes(node).append_records(&of, vec![record("x")], None).await;
            assert_eq!(put.is_ok(), node == leader, "{put:?}");
            let read = boxes(node).read_records(&of, From::Begin, 100).await;
            assert!(node == leader || matches!(read, Err(Denied::Unavailable(_))), "{read:?}");
        }
        let read = boxes(leader).read_records(&of, From::Begin, 100).await.unwrap();
        assert_eq!(values(&read), [(0, "x".to_owned())]);
    }
    let places = [1, 2, 3].map(|node| boxes(node).partition_of(&of("t", 0).topic, b"u42"));
    assert!(places[0].is_some() && places.iter().all(|place| *place == places[0]));
    cluster.assert_sound();
}
