//! The desk of one partition in one leader epoch: what is known of its mailboxes up to the end of the log, whose turn it is to write
//! into which, and who waits for what comes.
//!
//! It writes nothing; `write` does. It learns of each record once, whoever wrote it, and lasts as long as the epoch: another epoch has
//! another desk, which knows nothing.

use super::{
    cache::{Cache, Entry, Known, Name},
    find::Finder,
    indexed::Indexed,
    marks::{Mark, Seen},
    waiting::Waiting,
    walk::Ground,
};
use crate::partition::{Ends, Isolation, Refused};
use bytes::Bytes;
use mailbox::{Life, Producer};
use model::{LeaderEpoch, Offset, limits};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Who writes into a mailbox has its turn alone; mailboxes whose hashes meet take turns, too.
const TURNS: usize = 64;

/// See the head of the file.
pub(crate) struct Desk {
    pub(super) finder: Finder,
    cache: Arc<Mutex<Cache>>,
    /// Of the names in the cache.
    number: AtomicU64,
    numbers: Arc<AtomicU64>,
    /// All records before this offset were seen.
    upto: Mutex<Offset>,
    /// Held by whoever looks at what has come since.
    looking: tokio::sync::Mutex<()>,
    turns: [tokio::sync::Mutex<()>; TURNS],
    pub(super) waiting: Waiting,
}

/// What is known of one mailbox, and what of its producer that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) known: Known,
    /// ... and the offset of the record that says so.
    pub(crate) producer: Option<(Offset, Producer)>,
    /// Everything before was looked at.
    pub(crate) upto: Offset,
}

/// A mailbox that is there.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) life: Life,
    /// Where it begins.
    pub(crate) begin: Offset,
    /// Which record says what it is; none of one into which only Kafka's producers have written.
    pub(crate) marked_at: Option<Offset>,
    /// Its newest record.
    pub(crate) last: Option<Offset>,
}

impl Desk {
    /// Nothing is known.
    pub(crate) fn new(
        ground: Ground,
        (cache, numbers): (Arc<Mutex<Cache>>, Arc<AtomicU64>),
    ) -> Result<Self, Refused> {
        let ends = ground.partition.ends(ground.epoch)?;
        Ok(Self {
            finder: Finder { index: Indexed(ground.partition.clone()), ground },
            cache,
            number: AtomicU64::new(numbers.fetch_add(1, Ordering::Relaxed)),
            numbers,
            upto: Mutex::new(ends.end),
            looking: tokio::sync::Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            waiting: Waiting::default(),
        })
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.finder.ground
    }

    /// The epoch in which it was opened.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.ground().epoch
    }

    /// Where the partition ends now; refused once this broker leads it no more, or in another epoch.
    pub(crate) fn ends(&self) -> Result<Ends, Refused> {
        self.ground().partition.ends(self.epoch())
    }

    /// Waits for the turn to write into a mailbox.
    pub(crate) async fn turn(&self, key: &[u8]) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let turn = self.turns.get(client::murmur2(key) as usize % TURNS)?;
        Some(turn.lock().await)
    }

    /// Looks at what was appended since it was done last; up to where everything is known.
    pub(crate) async fn look(&self) -> Result<Offset, Refused> {
        let end = self.ends()?.end;
        if *self.upto.lock() >= end {
            return Ok(end);
        }
        let _looking = self.looking.lock().await;
        loop {
            let (from, ends) = (*self.upto.lock(), self.ends()?);
            if from >= ends.end {
                return Ok(from);
            }
            if ends.end - from > limits::MAILBOX_CATCH_UP_RECORDS_MAX || from < ends.start {
                self.forget(ends.end);
                continue;
            }
            let piece = self.ground().walk((from, ends.end), Isolation::LogEnd, |_| true).await?;
            self.on_seen(from, piece.next, &piece.seen);
        }
    }

    /// These records lie from one offset to before another one.
    pub(super) fn on_seen(&self, from: Offset, next: Offset, seen: &[Seen]) {
        {
            let mut upto = self.upto.lock();
            let (mut cache, number) = (self.cache.lock(), self.number());
            seen.iter().for_each(|seen| cache.on_record(number, seen));
            // What was written here may lie behind something that was not looked at yet.
            if *upto >= from {
                *upto = next.max(*upto);
            }
        }
        self.waiting.on_seen(seen);
    }

    fn forget(&self, end: Offset) {
        let mut upto = self.upto.lock();
        self.number.store(self.numbers.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        *upto = end;
        self.waiting.wake_all();
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// What is known of a mailbox and of one of its producers at the end of the log.
    pub(crate) async fn state(&self, key: &Bytes, producer: Option<&str>) -> Result<State, Refused> {
        loop {
            self.look().await?;
            if let Some(state) = self.known(key, producer) {
                return Ok(state);
            }
            let mut names = vec![Name { desk: 0, key: key.clone(), producer: None }];
            names.extend(producer.map(|id| Name {
                desk: 0,
                key: key.clone(),
                producer: Some(id.to_owned()),
            }));
            for mut name in names {
                let start = self.ends()?.start;
                let (number, from, upto) = {
                    let (upto, mut cache) = (self.upto.lock(), self.cache.lock());
                    name.desk = self.number();
                    if cache.get(&name).is_some() {
                        continue;
                    }
                    // What a producer has said to a mailbox lies behind the beginning of that.
                    let mailbox = name.producer.is_some().then(|| Name { producer: None, ..name.clone() });
                    let from = match mailbox.and_then(|mailbox| cache.get(&mailbox)) {
                        Some(Entry::Key(known)) => known.begin(start),
                        _ => 0,
                    };
                    cache.expect(&name, *upto);
                    (name.desk, from, *upto)
                };
                let found = self.finder.find(&name, (from, upto)).await?;
                let _upto = self.upto.lock();
                if number == self.number() {
                    self.cache.lock().complete(&name, found, upto);
                }
            }
        }
    }

    /// The same, if nothing must be looked up.
    fn known(&self, key: &Bytes, producer: Option<&str>) -> Option<State> {
        let (upto, mut cache) = (self.upto.lock(), self.cache.lock());
        let mut name = Name { desk: self.number(), key: key.clone(), producer: None };
        let Some(Entry::Key(known)) = cache.get(&name) else { return None };
        let mut state = State { known, producer: None, upto: *upto };
        if let Some(id) = producer {
            name.producer = Some(id.to_owned());
            let Some(Entry::Producer(producer)) = cache.get(&name) else { return None };
            // One that the log has let go of is not known any more, whether it is in memory or not; nor is one of a mailbox that
            // was there before.
            let start = self.ends().ok()?.start;
            let from = start.max(state.known.begin(start));
            state.producer = producer.filter(|(at, _)| *at >= from);
        }
        Some(state)
    }
}

impl Known {
    /// Where the mailbox begins, if there is one: what lies before is not its own.
    fn begin(&self, start: Offset) -> Offset {
        match self.mark.as_ref().filter(|mark| mark.at >= start) {
            Some(Mark { life: Some(_), begin, .. }) => *begin,
            Some(ended) => ended.at.saturating_add(1),
            None => 0,
        }
    }

    /// The mailbox, if there is one: where the log begins, and what the topic's content type is.
    pub(crate) fn standing(&self, start: Offset, content_type: impl FnOnce() -> String) -> Option<Standing> {
        let mark = self.mark.as_ref().filter(|mark| mark.at >= start);
        let begin = self.begin(start);
        let last = self.last.filter(|last| *last >= begin.max(start));
        match mark {
            Some(Mark { at, life: Some(life), .. }) => {
                Some(Standing { life: life.clone(), begin, marked_at: Some(*at), last })
            }
            _ => {
                let last = Some(last?);
                Some(Standing { life: Life::implied(&content_type()), begin, marked_at: None, last })
            }
        }
    }
}
