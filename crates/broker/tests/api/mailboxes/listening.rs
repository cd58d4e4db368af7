//! Bells at streams: they ring for their key alone, each time, and for the last time when nothing can be told any more.

use super::{Ground, at, post, stream};
use gateway::{Author, Bell, Bells, Hook, Token};
use std::sync::{Arc, Mutex};
use tokio::time::{Duration, sleep};
use wire::DeleteTopicsRequest;

#[derive(Default)]
struct Rung(Mutex<Vec<(u64, bool)>>);

impl Bells for Rung {
    fn ring(&self, place: u64, is_last: bool) {
        self.0.lock().unwrap().push((place, is_last));
    }
}

impl Rung {
    /// What has rung by now.
    async fn heard(&self) -> Vec<(u64, bool)> {
        sleep(Duration::from_secs(5)).await;
        let mut heard = std::mem::take(&mut *self.0.lock().unwrap());
        heard.dedup();
        heard
    }
}

impl Ground {
    async fn listen(&self, rung: &Arc<Rung>, key: &str, place: u64, seen: Token) -> Hook {
        let bell = Bell { bells: rung.clone(), place };
        self.boxes().listen(&at(key), seen, bell).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn who_listens_hears_each_time_of_its_key_alone() {
    let mut ground = Ground::new().await;
    let rung = Arc::new(Rung::default());
    ground.boxes().create(&at("a"), stream()).await.unwrap();
    let end = ground.boxes().look(&at("a")).await.unwrap().end;
    let first = ground.listen(&rung, "a", 1, end).await;
    let second = ground.listen(&rung, "a", 2, end).await;
    ground.produce("b", &["x"]).await;
    assert_eq!(rung.heard().await, []);
    ground.append("a", post("one")).await.unwrap();
    assert_eq!(rung.heard().await, [(1, false), (2, false)]);
    drop(second);
    ground.produce("a", &["two"]).await;
    assert_eq!(rung.heard().await, [(1, false)], "also of what Kafka's producers write");
    let _third = ground.listen(&rung, "a", 3, end).await;
    assert_eq!(rung.heard().await, [(3, false)], "there is something behind what it has seen");
    ground.boxes().delete(&at("a"), &Author::default()).await.unwrap();
    assert_eq!(rung.heard().await, [(1, false), (3, false)]);
    drop(first);
    ground.node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn where_the_partition_goes_a_bell_rings_for_the_last_time() {
    let mut ground = Ground::new().await;
    let rung = Arc::new(Rung::default());
    ground.produce("a", &["one"]).await;
    let end = ground.boxes().look(&at("a")).await.unwrap().end;
    let _hook = ground.listen(&rung, "a", 1, end).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    let deleted = ground.client.call(5, &request).await;
    assert_eq!(deleted.responses[0].error_code, 0);
    assert_eq!(rung.heard().await, [(1, true)]);
    let nobody = Bell { bells: rung.clone(), place: 2 };
    assert!(ground.boxes().listen(&at("a"), end, nobody).await.is_none());
}
