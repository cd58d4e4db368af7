//! One ShareFetch over its partitions: read from where each share partition says, let it choose, wait if that gave nothing.
//!
//! Nobody owns a partition while it is read: two members may read the same records, and only one gets them. What is read is
//! copied into memory, because the batches must be known before it is known which of them are sent.

use crate::{
    Broker, failure_code,
    fetch_sessions::Wanted,
    fetch_wait::FetchWait,
    partition::{Isolation, Partition, READ_TRIES, Read, Reader, Records, Refused, Watch},
    share_partition::{ShareHost, Stage},
};
use bytes::Bytes;
use model::{GroupId, Offset, ProducerId};
use share::{Acquired, Batch, MemberId, Mode, PartitionKey, Wish};
use std::{collections::BTreeSet, sync::Arc};
use stdx::{Map, Parts};
use wire::ErrorCode;

/// What a member asks for.
pub(crate) struct Asked {
    pub(crate) group: GroupId,
    pub(crate) member: MemberId,
    pub(crate) isolation: Isolation,
    pub(crate) mode: Mode,
    pub(crate) bytes_max: usize,
    pub(crate) bytes_min: usize,
    pub(crate) records_max: i64,
    pub(crate) batch_size: i64,
    pub(crate) deadline: env::Deadline,
}

/// So much is read of a partition to choose from, if it is not one batch: a member takes a few hundred records of it.
const PEEK_BYTES_MAX: usize = 1 << 20;

/// What a member gets of one partition.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) records: Parts,
    pub(crate) acquired: Vec<Acquired>,
}

/// What became of one partition of the request.
pub(crate) type Outcome = Result<Given, ErrorCode>;

/// Something that was read and of which nobody has chosen yet.
struct Peeked {
    place: usize,
    from: Offset,
    bytes: Bytes,
    aborted: Vec<(ProducerId, Offset)>,
    upto: Offset,
}

/// Gives a member records of these partitions, those of the first ones first; waits as long as it has none.
pub(crate) async fn fetch(broker: &Arc<Broker>, asked: &Asked, partitions: &[PartitionKey]) -> Vec<Outcome> {
    let mut before: Vec<Result<Arc<ShareHost>, ErrorCode>> = Vec::new();
    loop {
        // One that has ended meanwhile says why: begun anew it might end as fast, again and again.
        let open = |(place, key): (usize, &PartitionKey)| match before.get(place).map(|host| host.as_ref()) {
            Some(Ok(host)) => match host.stage() {
                Stage::Ended(code) => Err(code),
                Stage::Loading | Stage::Active => Ok(host.clone()),
            },
            _ => broker.shares.open(broker, &asked.group, *key),
        };
        let hosts: Vec<_> = partitions.iter().enumerate().map(open).collect();
        let mut outcomes: Vec<Outcome> =
            hosts.iter().map(|host| host.as_ref().map(|_| Given::default()).map_err(|code| *code)).collect();
        let waiting = Waiting::new(&hosts);
        let peeked = peek(broker, asked, &hosts, &mut outcomes).await;
        let has_failed = outcomes.iter().any(Result::is_err);
        let bytes: usize = peeked.iter().map(|one| one.bytes.len()).sum();
        let is_late = broker.world.clock.now() >= asked.deadline;
        if is_late || has_failed || bytes >= asked.bytes_min.clamp(1, PEEK_BYTES_MAX) {
            choose(asked, &hosts, &peeked, &mut outcomes);
            let has_any = outcomes.iter().flatten().any(|given| !given.acquired.is_empty());
            if is_late || has_any || outcomes.iter().any(Result::is_err) {
                return outcomes;
            }
            // Others were faster; what they left lies further on.
            let has_moved = |one: &Peeked| {
                let next = hosts.get(one.place).and_then(|host| host.as_ref().ok()?.next_offset());
                next.is_some_and(|next| next != one.from)
            };
            if peeked.iter().any(has_moved) {
                tokio::task::yield_now().await;
                before = hosts;
                continue;
            }
        }
        // While it waits it keeps nothing of what it has read.
        let peeked: Vec<_> = peeked.into_iter().map(|one| Peeked { bytes: Bytes::new(), ..one }).collect();
        waiting.wait(broker, asked, &peeked, bytes).await;
        before = hosts;
    }
}

/// Reads what members may have; nobody gets it yet. Where nothing can be read, the outcome says why.
async fn peek(
    broker: &Arc<Broker>,
    asked: &Asked,
    hosts: &[Result<Arc<ShareHost>, ErrorCode>],
    outcomes: &mut [Outcome],
) -> Vec<Peeked> {
    let mut left = asked.bytes_max;
    let mut all = Vec::new();
    for (place, (host, outcome)) in hosts.iter().zip(outcomes).enumerate() {
        let Ok(host) = host else { continue };
        match host.stage() {
            Stage::Active => {}
            // It is read meanwhile; that breaks the wait off.
            Stage::Loading => continue,
            Stage::Ended(code) => {
                *outcome = Err(code);
                continue;
            }
        }
        let Some(from) = host.next_offset() else { continue };
        if left == 0 && !all.is_empty() {
            continue;
        }
        match read(broker, asked.isolation, host, from, (left.min(PEEK_BYTES_MAX), all.is_empty())).await {
            Ok(Some((bytes, aborted, upto))) => {
                left = left.saturating_sub(bytes.len());
                all.push(Peeked { place, from, bytes, aborted, upto });
            }
            // The log begins later by now.
            Ok(None) => {}
            Err(code) => {
                if matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
                    broker.shares.remove(host);
                }
                *outcome = Err(code);
            }
        }
    }
    all
}

type Batches = (Bytes, Vec<(ProducerId, Offset)>, Offset);

/// Reads batches of a share partition from an offset on, with the transactions that were aborted among them, and how far could
/// be seen. Nothing, if the log begins later by now.
pub(crate) async fn read(
    broker: &Arc<Broker>,
    isolation: Isolation,
    host: &Arc<ShareHost>,
    from: Offset,
    (bytes_max, at_least_one): (usize, bool),
) -> Result<Option<Batches>, ErrorCode> {
    let reader = Reader::Consumer { isolation, leader_only: true };
    let wanted = Wanted {
        offset: from,
        bytes_max: i32::try_from(bytes_max).unwrap_or(i32::MAX),
        current_leader_epoch: host.leader_epoch(),
        last_fetched_epoch: -1,
        start_offset: -1,
    };
    for tries_left in (0..READ_TRIES).rev() {
        let read = match host.partition().read(&wanted, &reader, bytes_max, at_least_one) {
            Ok(read) => read,
            // Behind the end there may be something later; members know no answer for it.
            Err(Refused::OffsetOutOfRange { start_offset, .. }) => {
                if start_offset > from {
                    host.on_log_start(start_offset);
                }
                return Ok(None);
            }
            Err(refused) => return Err(failure_code::of_partition(&refused)),
        };
        let Read { records, aborted, upto, .. } = read;
        let cold = match records {
            Records::Memory(parts) => {
                let bytes = parts.to_bytes().unwrap_or_default();
                return Ok(Some((bytes, aborted.unwrap_or_default(), upto)));
            }
            Records::File(cold) => cold,
        };
        let (of, partition) = (cold.of, host.partition().clone());
        match broker.on_lane(move || cold.load()).await {
            Some(Ok(bytes)) => return Ok(Some((bytes, aborted.unwrap_or_default(), upto))),
            // The segment was deleted meanwhile: the next read finds the new start.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // Or compacted: it is read where it is now.
            Some(Err(error)) if tries_left > 0 && log::is_moved(&error) => partition.written().await,
            Some(Err(error)) => {
                partition.on_read_error(&error, of);
                return Err(ErrorCode::KafkaStorageError);
            }
            None => return Err(ErrorCode::KafkaStorageError),
        }
    }
    Ok(None)
}

/// Lets the share partitions choose from what was read.
fn choose(
    asked: &Asked,
    hosts: &[Result<Arc<ShareHost>, ErrorCode>],
    peeked: &[Peeked],
    outcomes: &mut [Outcome],
) {
    let mut left = asked.records_max;
    for one in peeked.iter().filter(|one| !one.bytes.is_empty()) {
        let (Some(Ok(host)), Some(outcome)) = (hosts.get(one.place), outcomes.get_mut(one.place)) else {
            continue;
        };
        let (batches, regions) = batches_of(one);
        let wish = Wish {
            member: &asked.member,
            records_max: left,
            batch_size: asked.batch_size,
            mode: asked.mode,
            from: one.from,
        };
        *outcome = host.acquire(wish, &batches).map(|acquired| {
            left -= acquired.iter().map(|one| one.last - one.first + 1).sum::<i64>();
            Given { records: cut(&one.bytes, &regions, &acquired), acquired }
        });
    }
}

/// The first and last offset of a batch, and where it begins and ends in the bytes.
type Region = (Offset, Offset, usize, usize);

/// The batches that were read, and where each lies in the bytes.
fn batches_of(one: &Peeked) -> (Vec<Batch>, Vec<Region>) {
    let (mut rest, mut at) = (one.bytes.clone(), 0);
    let (mut batches, mut regions) = (Vec::new(), Vec::new());
    let mut transactions = one.aborted.clone();
    transactions.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
    let mut aborted = BTreeSet::new();
    while let Some(batch) = records::Batch::split_off(&mut rest) {
        let header = &batch.header;
        let (first, last) = (header.base_offset, header.last_offset());
        while let Some((producer, _)) = transactions.pop_if(|(_, begins)| *begins <= last) {
            aborted.insert(producer);
        }
        let is_marker = header.attributes.is_control();
        if is_marker {
            let is_abort = records::EndTxnMarker::from_batch(&batch).is_some_and(|marker| !marker.committed);
            if is_abort {
                aborted.remove(&header.producer_id);
            }
        }
        let is_transactional = header.attributes.is_transactional() && !is_marker;
        let is_aborted = is_transactional && aborted.contains(&header.producer_id);
        batches.push(Batch { first, last, is_aborted });
        regions.push((first, last, at, at + batch.bytes.len()));
        at += batch.bytes.len();
    }
    (batches, regions)
}

/// The bytes of the batches from the first to the last record that is given.
fn cut(bytes: &Bytes, regions: &[Region], acquired: &[Acquired]) -> Parts {
    let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Parts::new() };
    let mut needed = regions.iter().filter(|(begin, end, ..)| *end >= first.first && *begin <= last.last);
    let Some((_, _, begin, end)) = needed.next() else { return Parts::new() };
    let end = needed.next_back().map_or(*end, |(.., end)| *end);
    Parts::from(bytes.slice(*begin..end))
}

/// A fetch on the lists of those whom it may wait for; dropping it leaves them all, however the wait ended.
struct Waiting {
    wait: Arc<FetchWait>,
    hosts: Vec<(Arc<ShareHost>, usize)>,
}

impl Waiting {
    /// Before anything is read: what comes back meanwhile is not missed.
    fn new(hosts: &[Result<Arc<ShareHost>, ErrorCode>]) -> Self {
        // One byte is missing; a wait that is broken off ends at once.
        let wait = FetchWait::new(usize::MAX);
        let hosts = hosts.iter().flatten().map(|host| (host.clone(), host.watch(wait.clone())));
        Self { hosts: hosts.collect(), wait }
    }

    /// Waits until records come or come back, or the time is up.
    async fn wait(self, broker: &Arc<Broker>, asked: &Asked, peeked: &[Peeked], bytes: usize) {
        let reader = Reader::Consumer { isolation: asked.isolation, leader_only: true };
        let missing = FetchWait::new(asked.bytes_min.saturating_sub(bytes).max(1));
        let seen: Map<usize, Offset> = peeked.iter().map(|one| (one.place, one.upto)).collect();
        let mut watched = Watched(Vec::new());
        for (place, (host, _)) in self.hosts.iter().enumerate() {
            // Where all locks are taken nothing new may be had, and what is not read yet says so itself.
            if let Some(upto) = seen.get(&place) {
                let partition = host.partition().clone();
                let at = partition.watch(missing.clone(), &reader, *upto);
                watched.0.push((partition, at));
            }
        }
        tokio::select! {
            biased;
            () = self.wait.enough() => {}
            () = missing.enough() => {}
            () = broker.world.clock.sleep_until(asked.deadline) => {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for (host, place) in &self.hosts {
            host.unwatch(*place);
        }
    }
}

/// Places on the wake lists of partitions.
struct Watched(Vec<(Arc<Partition>, Watch)>);

impl Drop for Watched {
    fn drop(&mut self) {
        for (partition, place) in &self.0 {
            partition.unwatch(*place);
        }
    }
}
