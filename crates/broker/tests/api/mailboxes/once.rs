//! Requests that are to be taken once (docs/decisions/0024): over restarts, power cuts, another leader, and beside each other.

use super::{Ground, at, post, refused, stream};
use crate::{harness::Cluster, replication};
use bytes::Bytes;
use futures_util::future::join_all;
use gateway::{NewRecord, NewRecords};
use mailbox::{Refusal, Sent};
use model::{TopicName, TopicPartition};
use std::time::Duration;
use tokio::time::timeout;

fn once(body: &'static str, name: &str, fingerprint: u64) -> NewRecords {
    NewRecords { sent: Some(Sent::once(name, fingerprint)), ..post(body) }
}

fn event(value: &'static str) -> Vec<NewRecord> {
    let (key, value) = (Some(Bytes::from_static(b"k")), Some(Bytes::from_static(value.as_bytes())));
    vec![NewRecord { key, value, headers: Vec::new() }]
}

fn of() -> TopicPartition {
    TopicPartition { topic: TopicName::new("t").unwrap(), partition: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_taken_once_over_restarts_and_told_the_same_place() {
    for configs in [&[][..], &[("odradek.key.index", "true")]] {
        let mut ground = Ground::with(configs).await;
        ground.boxes().create(&at("a"), stream()).await.unwrap();
        let first = ground.append("a", once("one", "k1", 7)).await.unwrap();
        let told = ground.boxes().append_once(&of(), event("event"), Sent::once("k1", 9)).await.unwrap();
        assert!(first.is_new && told.1);
        ground.append("a", once("two", "k2", 7)).await.unwrap();
        for is_power_cut in [false, true] {
            let again = ground.append("a", once("one", "k1", 7)).await.unwrap();
            assert_eq!((again.is_new, again.standing.end), (false, first.standing.end));
            assert_eq!(refused(ground.append("a", once("other", "k1", 8)).await), Refusal::OtherRequest);
            let event_again = ground.boxes().append_once(&of(), event("event"), Sent::once("k1", 9)).await;
            assert_eq!(event_again.unwrap(), (told.0, false));
            let other = ground.boxes().append_once(&of(), event("other"), Sent::once("k1", 10)).await;
            assert_eq!(refused(other), Refusal::OtherRequest);
            ground = ground.again(is_power_cut).await;
            ground.node.pass(20_000).await;
        }
        assert_eq!(ground.texts("a").await, ["one", "two"]);
        assert_eq!(ground.texts("k").await, ["event"]);
        ground.node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn of_requests_that_come_at_once_one_is_new_and_all_hear_of_it() {
    let ground = Ground::new().await;
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let taken = join_all((0..8).map(|_| ground.append("a", once("one", "k", 7)))).await;
    let ends: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
    assert_eq!(ends.iter().filter(|taken| taken.is_new).count(), 1);
    assert!(ends.iter().all(|taken| taken.standing.end == ends[0].standing.end));
    let boxes = ground.boxes();
    let events = join_all(
        (0..8).map(|_| async { boxes.append_once(&of(), event("event"), Sent::once("k", 9)).await.unwrap() }),
    );
    assert_eq!(events.await.iter().filter(|(_, is_new)| *is_new).count(), 1);
    assert_eq!((ground.texts("a").await.len(), ground.texts("k").await.len()), (1, 1));
    let unkeyed = vec![NewRecord { key: None, ..event("x").remove(0) }];
    assert!(boxes.append_once(&of(), unkeyed, Sent::once("k", 9)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn another_leader_knows_what_was_taken() {
    let cluster = Cluster::new(&[]);
    let starting = [1, 2, 3].map(|node| cluster.start_as(node, node, &[1, 2, 3], |_| {}));
    for start in starting {
        start.await.unwrap().unwrap();
    }
    replication::create(&cluster, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]).await;
    let boxes = |node| cluster.broker(node).mailboxes();
    boxes(1).create(&at("a"), stream()).await.unwrap();
    let first = boxes(1).append(&at("a"), once("one", "k", 7)).await.unwrap();
    let told = boxes(1).append_once(&of(), event("event"), Sent::once("k", 9)).await.unwrap();
    cluster.kill(1);
    let leader = async {
        loop {
            cluster.pass(100).await;
            if let Some(node) = [2, 3].into_iter().find(|node| boxes(*node).is_here(&of())) {
                return node;
            }
        }
    };
    let leader = timeout(Duration::from_secs(60), leader).await.unwrap();
    let again = boxes(leader).append(&at("a"), once("one", "k", 7)).await.unwrap();
    assert_eq!((again.is_new, again.standing.end), (false, first.standing.end));
    let event_again = boxes(leader).append_once(&of(), event("event"), Sent::once("k", 9)).await.unwrap();
    assert_eq!(event_again, (told.0, false));
    cluster.assert_sound();
}
