//! Readers that follow streams over real sockets, and are parked while they wait.

use super::*;
use gateway::Mailboxes;
use std::time::Instant;

const END: &str = "0\r\n\r\n";
pub(super) const PLAIN: &[u8] = b"GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n";

/// A clock that is so many times as fast.
pub(super) struct Fast(pub(super) Arc<dyn Clock>, pub(super) u64);

impl Clock for Fast {
    fn wall(&self) -> env::Millis {
        self.0.wall()
    }

    fn now(&self) -> env::Nanos {
        self.0.now() * self.1
    }

    fn sleep_until(&self, deadline: env::Deadline) -> env::BoxFuture<'static, ()> {
        self.0.sleep_until(deadline.div_ceil(self.1))
    }
}

async fn fast() -> Ground {
    let mut world = system::world();
    world.clock = Arc::new(Fast(world.clock, 10));
    Ground::of(world, settings()).await
}

impl Ground {
    /// A reader that has everything and is parked.
    async fn follow(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        until(&mut stream, "data:one\n").await;
        self.until("it is parked", || self.memory.listeners(&rides()) == 1).await;
        stream
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn is_nobody_there(&self) -> bool {
        self.memory.listeners(&rides()) == 0
    }

    async fn post(&self, body: &str) {
        let posted = self.ask(&request("POST", "/s/rides/u42", TEXT, body)).await;
        assert!(posted.starts_with("HTTP/1.1 204 "), "{posted}");
    }
}

async fn ground() -> Ground {
    let ground = Ground::new(400).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    ground
}

#[tokio::test]
async fn a_record_comes_to_all_who_follow() {
    let ground = ground().await;
    let mut readers = Vec::new();
    for number in 0..300 {
        readers.push(ground.follow(if number % 3 == 0 { PLAIN } else { FOLLOW }).await);
    }
    for text in ["two", "three"] {
        ground.post(text).await;
        for reader in &mut readers {
            until(reader, &format!("data:{text}\n")).await;
        }
    }
    drop(readers);
    ground.until("all are noticed to be gone", || ground.is_nobody_there()).await;
}

#[tokio::test]
async fn a_slow_reader_is_a_place_and_gets_everything_in_its_order() {
    let ground = ground().await;
    let (mut slow, mut quick) = (ground.follow(FOLLOW).await, ground.follow(FOLLOW).await);
    let count = 150;
    for number in 0..count {
        let text: &'static [u8] = format!("<{number}>{}", "x".repeat(100_000)).leak().as_bytes();
        ground.memory.produce(&rides(), Some(text));
        until(&mut quick, &format!("<{number}>")).await;
    }
    let left = answers::BUDGET_BYTES - (1 << 20);
    let held = ground.http.answers.hold(vec![0; left].into());
    assert!(held.is_some(), "what it has not taken is in the log, and not in memory");
    drop(held);
    let (mut read, mut buffer, last) = (Vec::new(), vec![0; 1 << 16], format!("<{}>", count - 1));
    while !read.ends_with(b"xxx")
        || !String::from_utf8_lossy(&read[read.len().saturating_sub(110_000)..]).contains(&last)
    {
        let taken = slow.read(&mut buffer).await.unwrap();
        assert!(taken > 0, "it ends too early");
        read.extend_from_slice(&buffer[..taken]);
    }
    let read = String::from_utf8(read).unwrap();
    let numbers: Vec<usize> = read
        .split('<')
        .skip(1)
        .filter_map(|text| text.split_once('>'))
        .filter_map(|(number, _)| number.replace(['\r', '\n'], "").parse().ok())
        .collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_closes_is_noticed_and_its_place_is_free() {
    let ground = Ground::new(2).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let (one, other) = (ground.follow(FOLLOW).await, ground.connect().await);
    drop(other);
    let half_closed = {
        let mut stream = one;
        stream.shutdown().await.unwrap();
        stream
    };
    ground.until("the reader is noticed to be gone", || ground.is_nobody_there()).await;
    let free = tokio::time::timeout(Duration::from_secs(20), ground.http.clients.until_none(2));
    free.await.expect("both may be served again");
    drop(half_closed);
}

#[tokio::test]
async fn a_node_that_stops_tells_who_follows_when_to_come_again() {
    let ground = ground().await;
    let (mut plain, mut reader) = (ground.follow(PLAIN).await, ground.follow(FOLLOW).await);
    ground.http.drain().await;
    let (mut told, mut rest) = (String::new(), String::new());
    plain.read_to_string(&mut told).await.unwrap();
    reader.read_to_string(&mut rest).await.unwrap();
    assert!(told.contains("\nretry: ") && told.ends_with(END), "{told}");
    assert!(rest.ends_with(END) && !rest.contains("retry"), "{rest}");
}

#[tokio::test]
async fn a_stream_that_is_deleted_or_closed_ends_and_its_connection_goes_on() {
    let ground = ground().await;
    let mut reader = ground.follow(FOLLOW).await;
    ground.ask(&request("DELETE", "/s/rides/u42", "", "")).await;
    until(&mut reader, END).await;
    reader.write_all(b"GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    until(&mut reader, "stream-not-found").await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    reader.write_all(FOLLOW).await.unwrap();
    until(&mut reader, "data:one\n").await;
    let closed = ground
        .ask(&request("POST", "/s/rides/u42", "stream-closed: true\r\ncontent-type: text/plain\r\n", "two"))
        .await;
    assert!(closed.starts_with("HTTP/1.1 204 "), "{closed}");
    let last = until(&mut reader, END).await;
    assert!(last.contains("data:two\n") && last.contains("\"streamClosed\":true"), "{last}");
    assert!(ground.is_nobody_there());
}

#[tokio::test]
async fn where_nobody_tells_of_news_any_more_it_is_asked_again() {
    let ground = ground().await;
    let mut reader = ground.follow(FOLLOW).await;
    ground.memory.silence();
    ground.until("it listens again", || !ground.is_nobody_there()).await;
    ground.post("two").await;
    until(&mut reader, "data:two\n").await;
}

#[tokio::test]
async fn what_a_reader_sends_meanwhile_is_answered_afterwards() {
    let ground = ground().await;
    let mut reader = ground.follow(FOLLOW).await;
    reader.write_all(b"GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    ground.post("two").await;
    until(&mut reader, "data:two\n").await;
    ground.ask(&request("POST", "/s/rides/u42", "stream-closed: true\r\n", "")).await;
    let rest = until(&mut reader, "onetwo").await;
    let (end, next) = rest.split_once(END).unwrap();
    assert!(end.contains("streamClosed") && next.starts_with("HTTP/1.1 200 "), "{rest}");
    // What came with the request was read already, and nobody has it afterwards.
    let mut hasty = ground.connect().await;
    hasty.write_all(&[FOLLOW, FOLLOW].concat()).await.unwrap();
    let mut all = String::new();
    hasty.read_to_string(&mut all).await.unwrap();
    assert!(all.contains("connection: close\r\n") && all.ends_with(END), "{all}");
    assert_eq!(all.matches("HTTP/1.1 200 ").count(), 1);
}

#[tokio::test]
async fn answers_before_it_are_sent_before_it() {
    let ground = ground().await;
    let mut stream = ground.connect().await;
    let get = b"GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\n\r\n";
    stream.write_all(&[&get.repeat(20)[..], PLAIN].concat()).await.unwrap();
    let all = until(&mut stream, "text/event-stream").await;
    let all = all + &until(&mut stream, "data:one\n").await;
    assert_eq!(all.matches("\r\n\r\none").count(), 20, "{all}");
    ground.post("two").await;
    until(&mut stream, "data:two\n").await;
}

#[tokio::test]
async fn who_speaks_http_1_0_is_sent_no_chunks() {
    let ground = ground().await;
    let mut reader = ground.follow(b"GET /s/rides/u42?offset=-1&live=sse HTTP/1.0\r\n\r\n").await;
    ground.post("two").await;
    let next = until(&mut reader, "data:two\n").await;
    assert!(next.starts_with("id: ") || next.contains("\n\nid: "), "{next}");
    ground.ask(&request("DELETE", "/s/rides/u42", "", "")).await;
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains(END), "{rest}");
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_is_alive_and_ends_after_a_minute() {
    let ground = fast().await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let mut reader = ground.follow(FOLLOW).await;
    let begun = ground.http.second();
    let signs = until(&mut reader, END).await;
    let seconds = ground.http.second() - begun;
    assert!((50..=66).contains(&seconds), "{seconds} s");
    assert_eq!(signs.matches("3\r\n:\n\n\r\n").count(), 2, "{signs}");
    reader.write_all(FOLLOW).await.unwrap();
    until(&mut reader, "data:one\n").await;
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let ground = fast().await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let reader = ground.follow(FOLLOW).await;
    let large: &'static [u8] = vec![b'x'; 1 << 20].leak();
    for _ in 0..32 {
        ground.memory.produce(&rides(), Some(large));
    }
    let begun = ground.http.second();
    ground.until("it is given up", || ground.is_nobody_there()).await;
    assert!(ground.http.second() - begun <= 50);
    drop(reader);
}

#[tokio::test]
async fn to_be_followed_is_a_use_of_a_stream() {
    let mut world = system::world();
    world.clock = Arc::new(Fast(world.clock, 10));
    let ground = Ground::of(world, settings()).await;
    let create = request("PUT", "/s/rides/u42", &format!("{TEXT}stream-ttl: 3600\r\n"), "one");
    ground.ask(&create).await;
    let used = async || ground.memory.look(&rides()).await.unwrap().life.used_ms;
    let _reader = ground.follow(FOLLOW).await;
    let before = used().await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if used().await > before {
            return;
        }
    }
    panic!("a sign of life reads it");
}
