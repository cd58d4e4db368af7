//! The last value of a key, over transactions, deletions, forks and restarts, with a key index and without.

use crate::{
    harness::Transactional,
    mailboxes::{Ground, TEXT, at, post, stream},
};
use bytes::Bytes;
use gateway::{Author, Denied, NewStream, Token};
use tokio::time::{Duration, timeout};

impl Ground {
    async fn latest(&self, key: &str) -> Option<(Token, String)> {
        let latest = self.boxes().latest(&at(key)).await.unwrap()?;
        assert_eq!(latest.content_type, TEXT);
        Some((latest.at, String::from_utf8(latest.value.to_vec()).unwrap()))
    }
}

fn found(offset: u64, value: &str) -> Option<(Token, String)> {
    Some((Token::new(0, offset), value.to_owned()))
}

const TYPED: (&str, &str) = ("odradek.stream.content.type", TEXT);

#[tokio::test(start_paused = true)]
async fn the_last_value_is_the_last_that_counts_whoever_wrote_it() {
    for is_indexed in ["false", "true"] {
        let mut ground =
            Ground::with(&[TYPED, ("odradek.key.index", is_indexed), ("segment.ms", "1000")]).await;
        assert_eq!(ground.latest("key").await, None);
        ground.produce("key", &["one", "two"]).await;
        assert_eq!(ground.latest("key").await, found(1, "two"));
        let mut client = ground.node.client();
        let mut txn = Transactional::init(&mut client, "txn").await;
        for (value, is_committed) in [("lost", false), ("three", true), ("lost", false)] {
            assert_eq!(txn.send(&mut client, 12, &ground.topic, &[value]).await.error_code, 0);
            let before = ground.latest("key").await;
            assert!(before.is_some_and(|(_, found)| found != value), "{value} is not committed");
            txn.end_patiently(&mut client, 5, is_committed).await;
            ground.node.pass(1500).await;
        }
        for _ in 0..2 {
            assert_eq!(ground.latest("key").await, found(4, "three"));
            ground.produce("other", &["x"]).await;
            ground.node.pass(5000).await;
            // A new leader knows nothing yet.
            ground = ground.again(true).await;
        }
        ground.append("key", post("four")).await.unwrap();
        assert_eq!(ground.latest("key").await.map(|(_, value)| value), Some("four".to_owned()));
        ground.boxes().delete(&at("key"), &Author::default()).await.unwrap();
        assert_eq!(ground.latest("key").await, None);
        ground.boxes().create(&at("key"), stream()).await.unwrap();
        assert_eq!(ground.latest("key").await, None, "another stream, with nothing in it");
        ground.node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_has_written_nothing_has_the_last_value_of_its_source_where_it_left_it() {
    let ground = Ground::with(&[TYPED]).await;
    let new = NewStream { body: Bytes::from_static(b"one"), ..stream() };
    let (_, created) = ground.boxes().create(&at("a"), new).await.unwrap();
    ground.append("a", post("two")).await.unwrap();
    let fork = |from: &str, offset| NewStream { fork: Some((at(from), offset, 0)), ..NewStream::default() };
    ground.boxes().create(&at("b"), fork("a", Some(created.end))).await.unwrap();
    ground.boxes().create(&at("c"), fork("b", None)).await.unwrap();
    for key in ["b", "c"] {
        assert_eq!(ground.latest(key).await, found(0, "one"), "{key}");
    }
    let own = ground.append("b", post("own")).await.unwrap().standing.end;
    let (at, value) = ground.latest("b").await.unwrap();
    assert_eq!((at.0.generation, at.0.offset + 1, &*value), (1, own.0.offset, "own"));
    assert_eq!(ground.latest("c").await, found(0, "one"), "it was forked before");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_value_is_woken_by_one_that_counts() {
    let mut ground = Ground::with(&[TYPED]).await;
    let (boxes, address) = (ground.boxes(), at("key"));
    let mut seen = None;
    for value in ["one", "two"] {
        let mut waiting = boxes.latest_changed(&address, seen);
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
        ground.produce("other", &["x"]).await;
        let mut client = ground.node.client();
        let mut txn = Transactional::init(&mut client, value).await;
        assert_eq!(txn.send(&mut client, 12, &ground.topic, &["lost"]).await.error_code, 0);
        txn.end_patiently(&mut client, 5, false).await;
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err(), "nothing that counts");
        assert_eq!(txn.send(&mut client, 12, &ground.topic, &[value]).await.error_code, 0);
        // One begins to wait while it is open, too.
        let mut late = boxes.latest_changed(&address, seen);
        assert!(timeout(Duration::from_secs(5), &mut late).await.is_err(), "it is not committed");
        txn.end_patiently(&mut client, 5, true).await;
        for waiting in [waiting, late] {
            assert!(timeout(Duration::from_secs(1), waiting).await.is_ok(), "{value}");
        }
        seen = ground.latest("key").await.map(|(at, _)| at);
    }
    let mut waiting = boxes.latest_changed(&address, seen);
    assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
    ground.boxes().delete(&address, &Author::default()).await.unwrap();
    assert!(timeout(Duration::from_secs(1), waiting).await.is_ok());
    let unknown = gateway::Address { topic: model::TopicName::new("none").unwrap(), ..address };
    assert!(matches!(boxes.latest(&unknown).await, Err(Denied::UnknownTopic)));
}
