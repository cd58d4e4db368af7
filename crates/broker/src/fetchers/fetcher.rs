//! The task that copies from one leader: it asks for all its partitions at once, waits at the leader for news, hands
//! records to the partitions, waits until they are as safe as their topics ask, and asks for what comes next.
//!
//! To ask from an offset on acknowledges everything before it. So the next request goes out only after the group commit
//! of the last answer; the leader writes and syncs at the same time, and appends meanwhile come with the next answer.

use super::{
    Key, Settings,
    followed::{Followed, Following},
    session::Session,
};
use crate::{
    Broker,
    acks::{Acks, Settled},
    log_dir::LogDir,
    partition::{Cut, Fetched, Partition},
    upkeep,
};
use bytes::Bytes;
use client::{Config, Connect, Link};
use env::Nanos;
use futures_util::future::join_all;
use model::{LeaderEpoch, NodeId, Offset, limits};
use parking_lot::Mutex;
use replica::Answer;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;
use wire::{
    ErrorCode, FetchResponse, ListOffsetsRequest,
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// How long a request that waits at the leader is left there when another partition is to be followed: others may come
/// right behind.
const GATHER_MS: i64 = 5;
/// The first pause after a connection has failed; each further one doubles it.
const RECONNECT_MS_FIRST: i64 = 20;
/// In ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// One fetcher.
pub(super) struct Fetcher {
    leader: NodeId,
    settings: Settings,
    connect: Arc<dyn Connect>,
    followed: Mutex<Followed>,
    news: Notify,
    /// Since when the leader cannot be asked; 0 while it can.
    broken_since: AtomicU64,
}

/// What is open at the leader.
struct Open {
    link: Link,
    session: Session,
}

/// What became of one partition of an answer.
enum Fate {
    GoesOn,
    Fails(String),
    IsCut(Cut),
    IsOutOfRange,
}

/// A partition whose answer is being worked on.
struct Worked {
    key: Key,
    following: Following,
    fate: Fate,
}

impl Fetcher {
    pub(super) fn new(leader: NodeId, settings: Settings, connect: Arc<dyn Connect>) -> Self {
        Self {
            leader,
            settings,
            connect,
            followed: Mutex::default(),
            news: Notify::new(),
            broken_since: AtomicU64::new(0),
        }
    }

    /// Since when the leader cannot be asked, if it cannot.
    pub(super) fn broken_since(&self) -> Option<Nanos> {
        Some(self.broken_since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    pub(super) fn add_partition(&self, key: Key, partition: Arc<Partition>, epoch: LeaderEpoch) {
        self.followed.lock().add(key, partition, epoch);
        self.news.notify_one();
    }

    pub(super) fn drop_partition(&self, key: Key) {
        self.followed.lock().leave(key);
    }

    /// Works until the broker has gone.
    pub(super) async fn run(self: Arc<Self>, broker: Weak<Broker>) {
        let mut open: Option<Open> = None;
        let mut failures = 0;
        while let Some(broker) = broker.upgrade() {
            let world = broker.world.clone();
            self.hold_back(&broker);
            if open.as_ref().is_none_or(|open| open.session.is_empty()) && !self.has_due(world.clock.now()) {
                let pause_ends = self.followed.lock().next_pause_ends();
                drop(broker);
                tokio::select! {
                    biased;
                    () = self.news.notified() => {}
                    () = world.clock.sleep_until(pause_ends) => {}
                }
                continue;
            }
            match self.round(&broker, &mut open).await {
                Ok(()) => {
                    failures = 0;
                    self.broken_since.store(0, Ordering::Relaxed);
                }
                Err(why) => {
                    if failures == 0 {
                        self.broken_since.store(world.clock.now().max(1), Ordering::Relaxed);
                    }
                    let level_is_new = failures == 0;
                    if level_is_new {
                        tracing::warn!(leader = self.leader, %why, "fetching has failed; it is tried again");
                    }
                    open = None;
                    // Nothing else may become due for as long as nobody writes.
                    self.followed.lock().begin_anew();
                    let pause_ms = RECONNECT_MS_FIRST.checked_shl(failures).unwrap_or(i64::MAX);
                    let pause_ms = pause_ms.min(self.settings.backoff_ms.max(1));
                    failures = (failures + 1).min(30);
                    drop(broker);
                    world.clock.sleep_until(world.clock.after_millis(pause_ms)).await;
                }
            }
        }
    }

    /// Throttled partitions that are not in sync are left out while too much was copied of such (KIP-73).
    fn hold_back(&self, broker: &Broker) {
        let (throttle, now) = (&broker.throttles.follower, broker.world.clock.now());
        if throttle.is_used() && throttle.is_exceeded(now) {
            let is_throttled =
                |partition: &Partition| throttle.is_throttled(partition.topic(), partition.index());
            self.followed.lock().hold_back(now, self.settings.backoff_ms, is_throttled);
        }
    }

    fn has_due(&self, now: u64) -> bool {
        let followed = self.followed.lock();
        followed.is_due() || followed.next_pause_ends() <= now
    }

    /// One request and what follows from its answer.
    async fn round(&self, broker: &Arc<Broker>, open: &mut Option<Open>) -> Result<(), String> {
        let mut at = match open.take() {
            Some(at) => at,
            None => {
                let opened = self.open(broker).await?;
                // It has answered.
                self.broken_since.store(0, Ordering::Relaxed);
                opened
            }
        };
        let (due, left) = self.followed.lock().take(broker.world.clock.now());
        let mut places = Vec::with_capacity(due.len());
        for (key, following) in due {
            match following.partition.place(following.epoch) {
                Ok(place) => places.push((key, following.epoch, place)),
                Err(refused) => self.fail(broker, key, &following, &refused.to_string()),
            }
        }
        let image = broker.image();
        let broker_epoch = image.broker(self.settings.node).map_or(-1, |node| node.epoch);
        let request = at.session.request(&self.settings, broker_epoch, &places, &left);
        if at.session.is_empty() {
            // The next request tells the leader; there is nothing to wait for.
            *open = None;
            return Ok(());
        }
        let wait_ms = i64::from(request.max_wait_ms);
        let sent = at.link.send(&request, wait_ms).await.map_err(|error| error.to_string())?;
        let response = tokio::select! {
            biased;
            response = sent.wait() => response.map_err(|error| error.to_string())?,
            () = self.interrupted(broker) => return Ok(()),
        };
        if let Some(error) =
            ErrorCode::from_i16(response.error_code).filter(|error| *error != ErrorCode::None)
        {
            return self.on_refusal(error, at, open);
        }
        at.session.on_answer(response.session_id, response.responses.is_empty());
        self.work(broker, &mut at, response).await?;
        *open = Some(at);
        Ok(())
    }

    /// Ends when there is something to ask that cannot wait until the leader answers: another connection asks it then.
    async fn interrupted(&self, broker: &Arc<Broker>) {
        let clock = &broker.world.clock;
        loop {
            let pause_ends = self.followed.lock().next_hasty_pause_ends();
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                () = clock.sleep_until(pause_ends) => {}
            }
            clock.sleep_until(clock.after_millis(GATHER_MS)).await;
            let followed = self.followed.lock();
            if followed.is_due() || followed.next_hasty_pause_ends() <= clock.now() {
                return;
            }
        }
    }

    /// The session is not the one that the leader knows: a new one begins.
    fn on_refusal(&self, error: ErrorCode, at: Open, open: &mut Option<Open>) -> Result<(), String> {
        match error {
            ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError => {
                self.followed.lock().begin_anew();
                *open = Some(Open { link: at.link, session: Session::default() });
                Ok(())
            }
            error => Err(format!("the leader refuses the request: {error}")),
        }
    }

    async fn open(&self, broker: &Arc<Broker>) -> Result<Open, String> {
        self.followed.lock().begin_anew();
        let image = broker.image();
        let node = image.broker(self.leader).ok_or("the leader is not registered")?;
        let named = node.endpoint(&self.settings.listener);
        let endpoint =
            named.ok_or_else(|| format!("the leader has no listener {}", self.settings.listener))?;
        let addr = match endpoint.host.contains(':') {
            true => format!("[{}]:{}", endpoint.host, endpoint.port),
            false => format!("{}:{}", endpoint.host, endpoint.port),
        };
        let config = Config {
            client_id: format!("broker-{}-fetcher-0", self.settings.node),
            connect_timeout_ms: self.settings.socket_timeout_ms,
            request_timeout_ms: self.settings.socket_timeout_ms,
            ..Config::new(Vec::new())
        };
        let link = Link::open(&broker.world, &*self.connect, &config, &addr).await;
        Ok(Open { link: link.map_err(|error| error.to_string())?, session: Session::default() })
    }

    /// Hands the answer to its partitions, and waits until what was appended is safe.
    async fn work(&self, broker: &Arc<Broker>, at: &mut Open, response: FetchResponse) -> Result<(), String> {
        let acks = Acks::new();
        let now = broker.world.clock.wall();
        let mut worked = Vec::new();
        let answers = response.responses.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |data| ((topic.topic_id, data.partition_index), data))
        });
        let answers: Vec<_> = answers.collect();
        let frame_bytes: usize =
            answers.iter().map(|(_, data)| data.records.as_ref().map_or(0, |records| records.len())).sum();
        for (key, data) in answers {
            let following = self.followed.lock().get(key).cloned();
            // Whoever was asked in another epoch answers nobody any more.
            let Some(following) = following.filter(|it| at.session.epoch_of(key) == Some(it.epoch)) else {
                continue;
            };
            let slot = worked.len();
            let bytes = data.records.as_ref().map_or(0, |records| records.len());
            let high_watermark = data.high_watermark;
            let fate = take(now, &following, data, frame_bytes, (&acks, slot));
            if matches!(fate, Fate::GoesOn) {
                self.count(broker, &following, bytes);
                let end = following.partition.offsets().map_or(0, |offsets| offsets.end);
                self.followed.lock().set_in_sync(key, high_watermark <= end);
            }
            worked.push(Worked { key, following, fate });
        }
        for (slot, _) in acks.wait().await {
            if let Some(worked) = worked.get_mut(slot).filter(|worked| matches!(worked.fate, Fate::GoesOn)) {
                worked.fate = Fate::Fails("the records could not be made durable".into());
            }
        }
        self.ask_offsets(at, &mut worked).await?;
        self.cut(broker, &mut worked).await;
        for Worked { key, following, fate } in worked {
            match fate {
                Fate::Fails(why) => self.fail(broker, key, &following, &why),
                _ => self.followed.lock().goes_on(key, following.epoch),
            }
        }
        Ok(())
    }

    /// What is copied of throttled partitions counts, whether they are in sync or not.
    fn count(&self, broker: &Broker, following: &Following, bytes: usize) {
        let (throttle, partition) = (&broker.throttles.follower, &following.partition);
        if bytes > 0 && throttle.is_used() && throttle.is_throttled(partition.topic(), partition.index()) {
            throttle.record(broker.world.clock.now(), bytes);
        }
    }

    fn fail(&self, broker: &Broker, key: Key, following: &Following, why: &str) {
        let now = broker.world.clock.now();
        let is_first = self.followed.lock().failed(now, key, following.epoch, self.settings.backoff_ms);
        if is_first {
            let (partition, leader) = (&following.partition, self.leader);
            tracing::info!(%partition, leader, why, "the partition is not copied for now; it is tried again");
        }
    }

    /// Asks the leader where the logs begin and end that it could not read at the follower's place.
    async fn ask_offsets(&self, at: &Open, worked: &mut [Worked]) -> Result<(), String> {
        if !worked.iter().any(|worked| matches!(worked.fate, Fate::IsOutOfRange)) {
            return Ok(());
        }
        let mut found: Vec<BTreeMap<(String, i32), Offset>> = Vec::new();
        for timestamp in [EARLIEST, LATEST] {
            let asked = worked.iter().filter(|worked| matches!(worked.fate, Fate::IsOutOfRange));
            let topics = asked.map(|Worked { following, .. }| ListOffsetsTopic {
                name: following.partition.topic().to_string(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: following.partition.index(),
                    current_leader_epoch: following.epoch,
                    timestamp,
                }],
            });
            let request = ListOffsetsRequest {
                replica_id: self.settings.node,
                topics: topics.collect(),
                ..ListOffsetsRequest::default()
            };
            let response = at.link.call(&request).await.map_err(|error| error.to_string())?;
            let offsets = response.topics.into_iter().flat_map(|topic| {
                let known = topic.partitions.into_iter().filter(|partition| partition.error_code == 0);
                known
                    .map(move |partition| ((topic.name.clone(), partition.partition_index), partition.offset))
            });
            found.push(offsets.collect());
        }
        for worked in worked.iter_mut().filter(|worked| matches!(worked.fate, Fate::IsOutOfRange)) {
            let partition = &worked.following.partition;
            let name = (partition.topic().to_string(), partition.index());
            let mut offsets = found.iter().map(|found| found.get(&name).copied());
            worked.fate = match (offsets.next().flatten(), offsets.next().flatten()) {
                (Some(start_offset), Some(end_offset)) => {
                    let cut = partition.cut_after(|_| Answer::OutOfRange { start_offset, end_offset });
                    let again =
                        || Fate::Fails("its end is out of the leader's range, and yet within it".into());
                    cut.map_or_else(again, Fate::IsCut)
                }
                _ => Fate::Fails("the leader does not say where its log begins and ends".into()),
            };
        }
        Ok(())
    }

    /// Cuts the logs that must be, all at once: the checkpoints are written before, and once for all.
    async fn cut(&self, broker: &Arc<Broker>, worked: &mut [Worked]) {
        let mut cuts = Vec::new();
        for worked in worked.iter_mut() {
            if let Fate::IsCut(cut) = worked.fate {
                worked.following.partition.announce_cut(cut);
                cuts.push((worked, cut));
            }
        }
        if cuts.is_empty() {
            return;
        }
        let mut written: Vec<(Arc<LogDir>, Result<(), String>)> = Vec::new();
        for (worked, _) in &cuts {
            // The checkpoints that count are those of the directory in which it is cut.
            worked.following.partition.settled().await;
            let dir = worked.following.partition.dir();
            if !written.iter().any(|(known, _)| Arc::ptr_eq(known, &dir)) {
                let result = upkeep::write_checkpoints(broker, &dir).await;
                written.push((dir, result.map_err(|error| error.to_string())));
            }
        }
        // What is wrong with one directory concerns the logs in it.
        cuts.retain_mut(|(worked, _)| {
            let partition = &worked.following.partition;
            let result = written.iter().find(|(dir, _)| partition.is_in(dir)).map(|(_, result)| result);
            if let Some(Ok(())) = result {
                return true;
            }
            partition.call_cut_off();
            let why =
                result.and_then(|result| result.as_ref().err()).map_or("it is being moved", String::as_str);
            worked.fate = Fate::Fails(format!("the checkpoints could not be written: {why}"));
            false
        });
        let cutting = cuts.into_iter().map(|(worked, cut)| async move {
            let Following { partition, epoch, .. } = &worked.following;
            if let Err(refused) = partition.cut(*epoch, cut).await {
                worked.fate = Fate::Fails(refused.to_string());
            }
        });
        join_all(cutting).await;
    }
}

/// Takes over what the leader says of one partition.
fn take(
    now: i64,
    following: &Following,
    data: PartitionData,
    frame_bytes: usize,
    (acks, slot): (&Arc<Acks>, usize),
) -> Fate {
    let Following { partition, epoch, .. } = following;
    match ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange => return Fate::IsOutOfRange,
        error => return Fate::Fails(format!("the leader answers {error}")),
    }
    let diverging = &data.diverging_epoch;
    if diverging.epoch >= 0 || diverging.end_offset >= 0 {
        let (theirs, end_offset) = (diverging.epoch, diverging.end_offset);
        let cut = partition.cut_after(|log| {
            let own = log.epochs().end_offset_for(theirs, log.end_offset());
            Answer::Diverging { epoch: theirs, end_offset, local: (own.1 >= 0).then_some(own) }
        });
        return cut.map_or(Fate::GoesOn, Fate::IsCut);
    }
    let records = data.records.and_then(|records| records.to_bytes()).unwrap_or_default();
    let fetched = Fetched {
        records: unpinned(records, frame_bytes),
        high_watermark: data.high_watermark,
        start_offset: data.log_start_offset,
    };
    acks.open(slot);
    match partition.follow(now, *epoch, fetched, (acks.clone() as Arc<dyn Settled>, slot)) {
        Ok(()) => Fate::GoesOn,
        Err(refused) => Fate::Fails(refused.to_string()),
    }
}

/// The records in memory of their own if they are a small part of the answer: the tail that will keep them counts them
/// and not the answer.
fn unpinned(records: Bytes, frame_bytes: usize) -> Bytes {
    let is_small = records.len().saturating_mul(limits::FRAME_BYTES_PER_BATCH_BYTE_MAX) < frame_bytes;
    if is_small { Bytes::copy_from_slice(&records) } else { records }
}
