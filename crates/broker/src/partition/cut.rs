//! Cutting a follower's log off, or dropping it whole: on a lane, with nobody else at the files.
//!
//! Where to cut `replica` says. Before the files are touched no checkpoint may promise more than the cut leaves, or a
//! crash would look like damage: [`Partition::announce_cut`], then the checkpoints, then [`Partition::cut`].

use super::{Offline, Partition, Refused, State, append::settle, is_damage, on_lane};
use crate::acks::Undone;
use log::{Files, LogConfig, OpenError, OpenOptions, Opened};
use model::{LeaderEpoch, Offset};
use std::{io, sync::Arc};
use tokio::sync::oneshot;

/// How often it is tried to have everything synced before a cut.
const TRIES: usize = 3;

/// How a log is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the batch that holds this offset.
    At(Offset),
    /// All of it goes; what comes next begins here.
    StartOver(Offset),
}

impl Partition {
    /// From now on, until it is cut, checkpoints say no more of the log than what a cut leaves.
    pub(crate) fn announce_cut(&self, cut: Cut) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.recovery_point_max = Some(match cut {
                Cut::At(offset) => online.log.recovery_point_for_cut(offset),
                Cut::StartOver(_) => 0,
            });
        }
    }

    /// It will not be cut after all.
    pub(crate) fn call_cut_off(&self) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.recovery_point_max = None;
        }
    }

    /// Cuts the log, unless it no longer follows the leader of `epoch`.
    pub(crate) async fn cut(self: &Arc<Self>, epoch: LeaderEpoch, cut: Cut) -> Result<(), Refused> {
        self.uncleaned().await;
        let (files, options, ended) = match self.take_files(epoch, cut).await {
            Ok(taken) => taken,
            Err(refused) => {
                self.call_cut_off();
                return Err(refused);
            }
        };
        let disk = self.shared.world.disk.clone();
        let opened = on_lane(&self.shared.world, move || {
            // Whoever deletes the topic waits for this, for it works by the names of the files.
            let _ended = ended;
            match cut {
                Cut::At(offset) => files.truncate(&*disk, offset, options),
                Cut::StartOver(_) => files.start_over(&*disk, options),
            }
        });
        let opened = opened.await.unwrap_or_else(|| Err(OpenError::Io(io::Error::other("the broker stops"))));
        match opened {
            Ok(opened) => self.put_back(opened, cut),
            Err(error) => Err(self.on_failed_cut(&error, cut)),
        }
    }

    /// Where only room or descriptors were missing, what is left is a first part of the log, as after a crash: it is opened
    /// once that passes, and its leader has it cut again. Damage is this partition's alone.
    fn on_failed_cut(self: &Arc<Self>, error: &OpenError, cut: Cut) -> Refused {
        let why = format!("it could not be cut off: {error}");
        match error {
            OpenError::Io(io) if log::is_scarcity(io) => self.wait_for_room(&why, cut),
            OpenError::Io(io) if !is_damage(io) => self.fail(&io::Error::other(why)),
            OpenError::Io(_) | OpenError::Damaged(_) | OpenError::Foreign { .. } => self.on_own_damage(&why),
        }
        Refused::Offline(error.to_string().into())
    }

    fn wait_for_room(&self, why: &str, cut: Cut) {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return };
        tracing::error!(partition = %self, why, "the partition is offline for now");
        let why = format!("{why}; free some, and it is opened again without a restart");
        let mut offline = Offline::after(online, why.into(), false);
        let start_offset = match cut {
            Cut::At(_) => online.log.start_offset(),
            Cut::StartOver(offset) => offset,
        };
        let recovery_point = online.offsets().recovery_point;
        let options = self.options(self.config.load_full(), start_offset);
        offline.again = Some(Box::new(OpenOptions { clean: false, recovery_point, ..options }));
        let before = std::mem::replace(&mut *state, State::Offline(Box::new(offline)));
        drop(state);
        self.end(before, Undone::NotLeader);
    }

    /// Ends when no step of upkeep is at work in the directory. None begins once a cut is announced.
    async fn uncleaned(&self) {
        let steps: Vec<_> = match &mut *self.state.lock() {
            State::Online(online) => online.upkeep.steps().collect(),
            State::Offline(_) | State::Deleted => Vec::new(),
        };
        for step in steps {
            let _ = step.await;
        }
    }

    /// Ends when the log is not being cut.
    pub(super) async fn uncut(&self) {
        let receiver = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            if !online.is_cutting {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            online.waiting.push((online.jobs, sender));
            receiver
        };
        let _ = receiver.await;
    }

    /// The files, once everything is synced and no lane is at work.
    async fn take_files(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        cut: Cut,
    ) -> Result<(Files, OpenOptions, oneshot::Sender<()>), Refused> {
        for _ in 0..TRIES {
            let job = {
                let mut state = self.state.lock();
                let online = state.online()?;
                online.check_not_closed()?;
                if !online.role.follows(epoch) || online.is_cutting {
                    return Err(Refused::NotLeader);
                }
                if let Some(why) = &online.stuck {
                    return Err(Refused::Stuck(why.clone()));
                }
                let is_synced =
                    online.pending.is_empty() && online.log.recovery_point() >= online.log.end_offset();
                if is_synced && let Some(files) = online.files.take() {
                    online.is_cutting = true;
                    online.jobs += 1;
                    online.cuts += 1;
                    let (ended, job) = oneshot::channel();
                    online.job = Some(job);
                    let start_offset = match cut {
                        Cut::At(_) => online.log.start_offset(),
                        Cut::StartOver(offset) => offset,
                    };
                    let end = online.log.end_offset();
                    let options = self.options(self.config.load_full(), start_offset);
                    return Ok((files, OpenOptions { recovery_point: end, ..options }, ended));
                }
                online.sync_wanted |= !is_synced;
                self.flush_soon(online, self.shared.world.clock.wall())
            };
            self.hand_over(job);
            self.written().await;
        }
        Err(Refused::Stuck("it is written all the time".into()))
    }

    fn options(&self, config: Arc<LogConfig>, start_offset: Offset) -> OpenOptions {
        OpenOptions {
            topic_id: self.topic_id,
            is_new: false,
            config,
            clean: true,
            recovery_point: 0,
            start_offset,
            now: self.shared.world.clock.wall(),
        }
    }

    fn put_back(&self, opened: Opened, cut: Cut) -> Result<(), Refused> {
        let mut due = Vec::new();
        let tail_bytes;
        {
            let mut state = self.state.lock();
            let online = state.online()?;
            let (from, upto) = (online.log.end_offset(), opened.log.end_offset());
            tracing::info!(partition = %self, from, upto, ?cut, "the log was cut off, as its leader has it");
            tail_bytes = online.log.tail_bytes();
            online.log = opened.log;
            online.log.configure(self.config.load_full());
            online.files = Some(opened.files);
            online.is_cutting = false;
            online.recovery_point_max = None;
            online.high_watermark = match cut {
                Cut::At(_) => online.high_watermark.min(upto),
                Cut::StartOver(offset) => offset,
            };
            online.upkeep.clean_upto = match cut {
                Cut::At(offset) => online.upkeep.clean_upto.map(|clean| clean.min(offset).min(upto)),
                Cut::StartOver(_) => None,
            };
            online.invisible.clear();
            due.extend(online.own_acks.drain(..).map(|ack| (ack, Err(Undone::NotLeader))));
            online.tell_waiting();
            online.break_off_reads();
        }
        self.shared.tail.on_end(tail_bytes);
        settle(due);
        Ok(())
    }
}
