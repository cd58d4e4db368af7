//! Follows the committed metadata log: replays it into the image, publishes that, and writes snapshots so that the log
//! need not be kept.
//!
//! It decides nothing and never looks at what is not committed. It brings no partitions in line, `replicas` does: a disk
//! that hangs there must not keep the node from knowing. Every node has one, whether it leads the quorum or not, so that
//! what a leader decides reaches its own broker in the same way as all others.

use crate::{
    Broker,
    images::Images,
    metadata_records::{self, Unreadable},
    partition::on_lane,
    remote_log::{Fetched, RemoteLog},
    unsupported::Unsupported,
};
use bytes::Bytes;
use env::{Nanos, World};
use metadata::{Image, Position, Record, features};
use model::Offset;
use quorum::{Committed, Quorum, RaftQuorum, SnapshotId};
use records::{Batch, BatchBuilder, Decompressor};
use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, Weak},
};

/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
/// How large the plain contents of a metadata batch can be.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// Records in one batch of a snapshot, as in Kafka.
const SNAPSHOT_BATCH_RECORDS: usize = 1024;
/// How long after a failed read the log is read again.
const RETRY_MS: i64 = 1000;
/// The same where controllers are asked, of whom there are several.
const REMOTE_RETRY_MS: i64 = 50;
/// How long a voter's watermark rests, with a leader known, before what is committed there is taken for all there is.
const REST_MS: u64 = 5000;
/// How long a voter doubts at most, where the watermark never rests.
const DOUBT_MS: u64 = 60_000;

/// When a snapshot is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub(crate) bytes_max: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0: their age does not count.
    pub(crate) interval_ms: i64,
}

/// See the head of the file.
pub(crate) struct Follower {
    world: World,
    quorum: Arc<RaftQuorum>,
    images: Arc<Images>,
    policy: SnapshotPolicy,
    /// The offset behind what was replayed.
    next: Offset,
    /// Bytes replayed since the last snapshot.
    bytes: u64,
    /// When the first of them was replayed.
    since: Option<Nanos>,
    /// Set while it meets levels of features that it cannot work with.
    doubt: Option<Doubt>,
}

/// A voter that was down knows of less than what is committed: there a level may be in force that was lowered since. It is
/// believed once nothing newer comes from a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    since: Nanos,
    /// The watermark, and since when it is there.
    end: Offset,
    rests_since: Nanos,
}

impl Doubt {
    /// What remains of it at this time, where the watermark is at `end` and a leader is known; `None`: no doubt is left.
    fn at(before: Option<Doubt>, end: Offset, now: Nanos) -> Option<Doubt> {
        let Some(mut doubt) = before else { return Some(Doubt { since: now, end, rests_since: now }) };
        if doubt.end != end {
            (doubt.end, doubt.rests_since) = (end, now);
        }
        let has_passed = |since: Nanos, ms: u64| now.saturating_sub(since) >= ms * 1_000_000;
        let is_over = has_passed(doubt.rests_since, REST_MS) || has_passed(doubt.since, DOUBT_MS);
        (!is_over).then_some(doubt)
    }
}

/// Why what is committed was not replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// It could not be read; later it may be.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// This program will never be able to.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl Follower {
    pub(crate) fn new(
        world: World,
        quorum: Arc<RaftQuorum>,
        images: Arc<Images>,
        policy: SnapshotPolicy,
    ) -> Self {
        Self { world, quorum, images, policy, next: 0, bytes: 0, since: None, doubt: None }
    }

    /// Replays what is committed and was not replayed.
    pub(crate) async fn catch_up(&mut self) -> Result<(), FollowError> {
        loop {
            let end = self.quorum.leadership().borrow().high_watermark;
            if self.next >= end {
                return Ok(());
            }
            let before = self.next;
            match self.quorum.read(self.next, READ_BYTES).await? {
                Committed::Batches(batches) => self.replay(&batches, end)?,
                Committed::InSnapshot(_) => self.load_snapshot(end).await?,
            }
            if self.next == before {
                let why = format!("no metadata could be read at offset {before}");
                return Err(io::Error::other(why).into());
            }
        }
    }

    /// Follows until the quorum has stopped.
    pub(crate) async fn run(mut self, broker: Weak<Broker>) {
        let mut leadership = self.quorum.leadership();
        loop {
            let _ = *leadership.borrow_and_update();
            if !self.quorum.is_founded()
                && let Some(remote) = broker.upgrade().map(|broker| broker.remote.clone())
            {
                if self.follow_remote(&remote).await.is_break() {
                    return;
                }
                continue;
            }
            if broker.strong_count() == 0 {
                return;
            }
            let caught_up = self.catch_up().await;
            match &caught_up {
                Ok(()) => self.doubt = None,
                Err(FollowError::Unsupported(why)) if !self.may_change(why) => {
                    return self.give_up(why.clone());
                }
                Err(FollowError::Unsupported(why)) => {
                    tracing::info!(%why, "waiting for whether newer metadata say otherwise");
                }
                Err(FollowError::Io(error)) => {
                    tracing::error!(%error, "the metadata cannot be followed; trying again");
                }
            }
            self.snapshot_if_due().await;
            let wake = match (caught_up.is_err(), self.due_at()) {
                (true, _) => self.world.clock.after_millis(RETRY_MS),
                (false, due) => due.unwrap_or(Nanos::MAX),
            };
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return },
                () = self.world.clock.sleep_until(wake) => {}
            }
        }
    }

    /// Whether a voter may yet hear of something newer that makes up for this.
    fn may_change(&mut self, why: &Unsupported) -> bool {
        let known = *self.quorum.leadership().borrow();
        // A leader that decides knows all there is.
        let is_all = known.is_active && self.doubt.is_some_and(|doubt| doubt.end == known.high_watermark);
        if is_all || !matches!(why, Unsupported::Feature(_)) {
            return false;
        }
        self.doubt = match known.leader {
            None => None,
            Some(_) => {
                let doubt = Doubt::at(self.doubt, known.high_watermark, self.world.clock.now());
                if doubt.is_none() {
                    return false;
                }
                doubt
            }
        };
        true
    }

    /// Takes what the controllers have, for a node whose own log is empty because it has no vote.
    async fn follow_remote(&mut self, remote: &RemoteLog) -> ControlFlow<()> {
        let followed = match remote.fetch(self.next).await {
            Ok(Fetched::Batches { batches, end }) => self.replay(&batches, end),
            // Whether there is more behind it the next fetch tells.
            Ok(Fetched::Snapshot(id, batches)) => self.begin_with(id, &batches, Offset::MAX),
            Err(error) => Err(error.into()),
        };
        match followed {
            Ok(()) => {}
            Err(FollowError::Unsupported(why)) => {
                self.give_up(why);
                return ControlFlow::Break(());
            }
            Err(FollowError::Io(error)) => {
                tracing::debug!(%error, "the metadata cannot be fetched; trying again");
                self.world.clock.sleep_until(self.world.clock.after_millis(REMOTE_RETRY_MS)).await;
            }
        }
        ControlFlow::Continue(())
    }

    /// Nobody may go on from what this program does not understand. Whoever runs the node hears of it.
    fn give_up(&self, why: Unsupported) {
        tracing::error!(error = %why, "the cluster's metadata cannot be followed by this program");
        self.images.give_up(why);
    }

    /// Replays batches of a log that is committed up to `end`.
    fn replay(&mut self, batches: &[Batch], end: Offset) -> Result<(), FollowError> {
        if batches.is_empty() {
            // Of a snapshot it was not known whether more comes behind it.
            return Ok(check_features(&self.images.newest(), self.next, end)?);
        }
        let mut image = Image::clone(&self.images.newest());
        let (mut news, mut decompressor) = (Vec::new(), Decompressor::default());
        let mut next = self.next;
        for batch in batches {
            apply(&mut image, batch, next, &mut news, &mut decompressor)?;
            next = batch.header.next_offset();
            let epoch = batch.header.leader_epoch;
            image.place(Position { offset: batch.header.last_offset(), epoch });
        }
        check_features(&image, next, end)?;
        self.bytes += batches.iter().map(|batch| batch.bytes.len() as u64).sum::<u64>();
        self.next = next;
        let now = self.world.clock.now();
        self.since.get_or_insert(now);
        self.images.publish_now(image, &news, now);
        Ok(())
    }

    /// Begins anew with the newest snapshot.
    async fn load_snapshot(&mut self, end: Offset) -> Result<(), FollowError> {
        let snapshot = self.quorum.snapshot().ok_or_else(|| io::Error::other("there is no snapshot"))?;
        let id = snapshot.id();
        let batches = on_lane(&self.world, move || snapshot.batches()).await;
        self.begin_with(id, &batches.ok_or_else(|| io::Error::other("the node stops"))??, end)
    }

    fn begin_with(&mut self, id: SnapshotId, batches: &[Batch], end: Offset) -> Result<(), FollowError> {
        let mut image = Image::new(self.images.newest().cluster_id());
        let (mut news, mut decompressor) = (Vec::new(), Decompressor::default());
        batches.iter().try_for_each(|batch| apply(&mut image, batch, 0, &mut news, &mut decompressor))?;
        image.place(Position { offset: id.end_offset - 1, epoch: id.epoch });
        check_features(&image, id.end_offset, end)?;
        (self.next, self.bytes, self.since) = (id.end_offset, 0, None);
        self.images.publish(image, &news);
        Ok(())
    }

    fn due_at(&self) -> Option<Nanos> {
        let since = self.since.filter(|_| self.policy.interval_ms > 0)?;
        Some(since.saturating_add((self.policy.interval_ms as u64).saturating_mul(1_000_000)))
    }

    async fn snapshot_if_due(&mut self) {
        let is_old = self.due_at().is_some_and(|due| due <= self.world.clock.now());
        if self.bytes < self.policy.bytes_max && !is_old {
            return;
        }
        // Whether it succeeds or not, the next is due later.
        (self.bytes, self.since) = (0, None);
        let (image, now) = (self.images.newest(), self.world.clock.wall());
        let batches = on_lane(&self.world, move || to_batches(&image, now)).await;
        let written = match batches {
            Some(Ok(batches)) => self.quorum.write_snapshot(self.next, batches).await,
            Some(Err(error)) => Err(error),
            None => return,
        };
        match written {
            Ok(id) => tracing::info!(end_offset = id.end_offset, "wrote a snapshot of the metadata"),
            Err(error) => tracing::error!(%error, "no snapshot of the metadata could be written"),
        }
    }
}

/// What was raised and lowered again before `end` does not matter: only the levels at the end are in force.
fn check_features(image: &Image, next: Offset, end: Offset) -> Result<(), Unsupported> {
    match features::unsupported(image) {
        Some(why) if next >= end => Err(why.into()),
        _ => Ok(()),
    }
}

/// Applies the records of a batch from `from` on; those about brokers are told.
fn apply(
    image: &mut Image,
    batch: &Batch,
    from: Offset,
    news: &mut Vec<(Record, Offset)>,
    decompressor: &mut Decompressor,
) -> Result<(), FollowError> {
    if batch.header.attributes.is_control() {
        return Ok(());
    }
    let records = batch.records(BATCH_BYTES_MAX, decompressor).map_err(io::Error::other)?;
    for record in records.into_iter().filter(|record| record.offset >= from) {
        let value = record.value.unwrap_or_default();
        let change = metadata_records::decode(&value).map_err(|why| to_follow_error(why, record.offset))?;
        if matches!(
            change,
            Record::RegisterBroker(_) | Record::UnregisterBroker { .. } | Record::BrokerChange { .. }
        ) {
            news.push((change.clone(), record.offset));
        }
        image.apply(change);
    }
    Ok(())
}

fn to_follow_error(why: Unreadable, offset: Offset) -> FollowError {
    match why {
        Unreadable::Malformed { .. } => io::Error::other(format!("at offset {offset}: {why}")).into(),
        Unreadable::Type { kind } => Unsupported::Type { offset, kind }.into(),
        Unreadable::Version { what, version, known } => {
            Unsupported::Version { offset, what, version, min: *known.start(), max: *known.end() }.into()
        }
    }
}

/// An image as the batches of a snapshot.
fn to_batches(image: &Image, now: i64) -> io::Result<Vec<Bytes>> {
    let mut records = image.to_records().peekable();
    let mut batches = Vec::new();
    while records.peek().is_some() {
        let mut builder = BatchBuilder::new();
        for record in records.by_ref().take(SNAPSHOT_BATCH_RECORDS) {
            builder.push(now, None, Some(&metadata_records::encode(&record)), &[]);
        }
        batches.push(builder.build()?.bytes);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn levels_are_believed_once_the_watermark_rests() {
        let first = Doubt::at(None, 7, 100 * MS);
        let nearly = Doubt::at(first, 7, 100 * MS + REST_MS * MS - 1);
        assert_eq!(nearly, first, "nothing newer came, but it has not rested for long enough");
        assert_eq!(Doubt::at(nearly, 7, 100 * MS + REST_MS * MS), None);
        let moved = Doubt::at(nearly, 8, 100 * MS + REST_MS * MS);
        assert!(moved.is_some_and(|doubt| doubt.end == 8), "{moved:?}: something newer came");
    }

    #[test]
    fn a_watermark_that_never_rests_does_not_put_it_off_for_ever() {
        let mut doubt = Doubt::at(None, 0, 0);
        let mut seconds = 0;
        while doubt.is_some() {
            seconds += 1;
            doubt = Doubt::at(doubt, seconds, seconds as u64 * 1000 * MS);
        }
        assert_eq!(seconds as u64 * 1000, DOUBT_MS);
    }
}
