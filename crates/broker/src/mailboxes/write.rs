//! Writing into mailboxes: what is decided goes into the log with what it changes, in one batch, and is answered once that is safe.
//!
//! Whoever writes has its mailbox's turn from before it is decided until it is appended, and not while it waits for the disk.

use super::{
    Mailboxes, TRIES, denied,
    desk::{Desk, Standing, State},
    end, is_json, marks, place, told, undone, values,
};
use crate::{
    acks::{Acks, AllSettled},
    partition::{Ends, Refused},
};
use bytes::Bytes;
use gateway::{Address, Author, Denied, NewRecords, Taken, Token};
use mailbox::{Append, Appended, ForkId, Life, Refusal};
use marks::{Mark, News, Seen};
use model::Offset;
use records::{Checked, Decompressor, Invalid, Unchecked};

/// What was appended and is not known to be safe.
pub(super) struct Pending {
    settled: AllSettled,
    /// The offset of the first record.
    pub(super) first: Offset,
    /// The offset of the last record.
    pub(super) last: Offset,
}

/// Why nothing was appended.
pub(super) enum Stop {
    /// Others have written since it was decided.
    Overtaken,
    Denied(Denied),
}

/// What becomes of a mailbox without a record being appended for readers.
pub(super) enum Change {
    Nothing,
    /// This is known of it from now on.
    Life(Box<Life>),
    /// It is gone.
    End,
}

/// What becomes of a POST.
enum Decided {
    /// It is there already.
    Again(Option<u64>),
    New(Box<New>),
}

/// What is appended.
struct New {
    values: Vec<Option<Bytes>>,
    news: News,
    /// What the mailbox is then.
    after: Life,
}

impl Change {
    pub(super) fn life(life: Life) -> Self {
        Self::Life(Box::new(life))
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        Stop::Denied(denied)
    }
}

impl Mailboxes {
    pub(super) async fn do_append(&self, at: &Address, new: NewRecords) -> Result<Taken, Denied> {
        let desk = self.desk(at)?;
        let producer = new.sent.as_ref().map(|sent| sent.id.as_str());
        let turn = desk.turn(&at.key).await;
        for _ in 0..TRIES {
            let state = desk.state(&at.key, producer).await.map_err(denied)?;
            let standing = self.standing(&desk, at, &state.known)?;
            let decided = self.decide(&desk, &new, &state, standing.as_ref());
            let (Ok(Decided::New(made)), Some(standing)) = (&decided, &standing) else {
                drop(turn);
                self.until_safe(&desk, state.known.upto()).await?;
                let seq = match decided? {
                    Decided::Again(seq) => seq,
                    Decided::New(_) => None,
                };
                let mut standing = standing.ok_or(Denied::Refused(Refusal::NotFound, None))?;
                // Who asks again hears what was told then.
                let is_once = new.sent.as_ref().is_some_and(|sent| sent.is_once() && !new.body.is_empty());
                if let Some((at, _)) = state.producer.as_ref().filter(|_| is_once) {
                    standing.last = Some(*at);
                }
                return Ok(Taken { is_new: false, seq, standing: told(&standing) });
            };
            let New { values, news, after } = &**made;
            // Nothing that Kafka's producers write changes another decision than this one.
            let only_at = new.expected.map(|_| state.upto);
            match self.put(&desk, at, values, news, only_at).await {
                Err(Stop::Overtaken) => {}
                Err(Stop::Denied(denied)) => return Err(denied),
                Ok(pending) => {
                    drop(turn);
                    let last = if values.is_empty() { standing.last } else { Some(pending.last) };
                    self.safe(pending).await?;
                    let standing = Standing { life: after.clone(), last, ..standing.clone() };
                    let seq = new.sent.as_ref().map(|sent| sent.seq);
                    return Ok(Taken { is_new: true, seq, standing: told(&standing) });
                }
            }
        }
        Err(overtaken())
    }

    fn decide(
        &self,
        desk: &Desk,
        new: &NewRecords,
        state: &State,
        standing: Option<&Standing>,
    ) -> Result<Decided, Denied> {
        let end = standing.map(end);
        let request = Append {
            content_type: new.content_type.as_deref(),
            has_body: !new.body.is_empty(),
            seq: new.seq.as_deref(),
            closes: new.closes,
            sent: new.sent.as_ref(),
            expected: new.expected.zip(end).map(expected),
        };
        let life = standing.map(|standing| &standing.life);
        let producer = state.producer.as_ref().map(|(_, producer)| producer);
        let appended = mailbox::append(life, producer, self.now_ms(), &request)
            .map_err(|refusal| Denied::Refused(refusal, end))?;
        let (life, producer, standing) = match (appended, standing) {
            (Appended::Again { seq, .. }, _) => return Ok(Decided::Again(seq)),
            (Appended::New { life, producer }, Some(standing)) => (life, producer, standing),
            (Appended::New { .. }, None) => return Err(Denied::Refused(Refusal::NotFound, None)),
        };
        let values = values(&standing.life, &new.body)?;
        if values.is_empty() && !new.body.is_empty() {
            return Err(Denied::NotJson("an empty array has nothing to append".to_owned()));
        }
        let ends = desk.ends().map_err(denied)?;
        let is_told = life.is_some() || must_bear(desk, standing, &ends);
        let after = life.map_or_else(|| standing.life.clone(), |life| *life);
        let life = is_told.then(|| Some((after.clone(), Some(standing.begin))));
        let values = values.into_iter().map(Some).collect();
        let author = new.author.clone();
        Ok(Decided::New(Box::new(New { values, news: News { life, producer, author }, after })))
    }

    pub(super) async fn do_delete(&self, at: &Address, author: &Author) -> Result<(), Denied> {
        let deleted = self.change(at, (true, author.clone()), |life, now| match mailbox::delete(life, now) {
            // Its time is over, and its source does not know that.
            Err(Refusal::NotFound) if life.is_some_and(|life| life.origin.is_some()) => Ok(Change::End),
            deleted => Ok(deleted?.map_or(Change::End, Change::life)),
        });
        let now = self.now_ms();
        let (change, standing) = deleted.await?;
        let Some(Standing { life, .. }) = standing else { return Ok(()) };
        if let Change::End = change {
            self.leave_source(at, &life).await;
        }
        match life.is_expired(now) {
            true => Err(Denied::Refused(Refusal::NotFound, None)),
            false => Ok(()),
        }
    }

    /// What a mailbox was forked from is kept for its forks, and perhaps for nothing else: it hears that this one is gone.
    pub(super) async fn leave_source(&self, gone: &Address, life: &Life) {
        let (mut gone, mut origin) = (gone.clone(), life.origin.clone());
        while let Some(source) = origin.as_ref().and_then(|origin| Address::from_path(&origin.path)) {
            match self.change(&source, (true, Author::default()), release(fork_id(&gone))).await {
                Ok((Change::End, Some(Standing { life, .. }))) => (gone, origin) = (source, life.origin),
                Ok(_) => return,
                Err(why) => {
                    // What was asked for is done. Without this the source is kept for longer than it must be.
                    tracing::warn!(source = %source.path(), ?why, "a stream is not told that a fork of it is gone");
                    return;
                }
            }
        }
    }

    /// Changes what is known of a mailbox for somebody; what it was before. `is_awaited`: until that is safe.
    pub(super) async fn change(
        &self,
        at: &Address,
        (is_awaited, author): (bool, Author),
        decide: impl Fn(Option<&Life>, i64) -> Result<Change, Refusal> + Send,
    ) -> Result<(Change, Option<Standing>), Denied> {
        let desk = self.desk(at)?;
        let turn = desk.turn(&at.key).await;
        let state = desk.state(&at.key, None).await.map_err(denied)?;
        let standing = self.standing(&desk, at, &state.known)?;
        let begin = standing.as_ref().map_or(0, |standing| standing.begin);
        let change = decide(standing.as_ref().map(|standing| &standing.life), self.now_ms());
        let put = match &change {
            Ok(Change::Life(life)) => {
                let life = Some(Some((Life::clone(life), Some(begin))));
                let news = News { life, ..News::default() };
                self.put(&desk, at, &[], &news, None).await
            }
            Ok(Change::End) => {
                let news = News { life: Some(None), producer: None, author };
                self.put(&desk, at, &[None], &news, None).await
            }
            Ok(Change::Nothing) | Err(_) => {
                drop(turn);
                if is_awaited {
                    self.until_safe(&desk, state.known.upto()).await?;
                }
                let change = change.map_err(|refusal| Denied::Refused(refusal, None))?;
                return Ok((change, standing));
            }
        };
        drop(turn);
        match put {
            Ok(pending) if is_awaited => self.safe(pending).await?,
            Ok(_) => {}
            Err(Stop::Overtaken) => return Err(overtaken()),
            Err(Stop::Denied(denied)) => return Err(denied),
        }
        let change = change.map_err(|refusal| Denied::Refused(refusal, None))?;
        Ok((change, standing))
    }

    /// Appends records with what is new beside them, or this alone; `only_at`: only if the log ends there.
    pub(super) async fn put(
        &self,
        desk: &Desk,
        at: &Address,
        values: &[Option<Bytes>],
        news: &News,
        only_at: Option<Offset>,
    ) -> Result<Pending, Stop> {
        let ground = desk.ground();
        let now = self.now_ms();
        let checked = self.checked(desk, at, values, news).await?;
        let acks = Acks::new();
        acks.open(0);
        let appended = ground.partition.append_if(now, (ground.epoch, only_at), checked, acks.clone());
        let appended = match appended {
            Ok(appended) => appended,
            Err(Refused::Overtaken) => return Err(Stop::Overtaken),
            Err(refused) => return Err(Stop::Denied(denied(refused))),
        };
        let (first, last) = (appended.base_offset, appended.last_offset);
        desk.on_seen(first, last.saturating_add(1), &seen(&at.key, values.len(), news, (first, last)));
        Ok(Pending { settled: acks.wait(), first, last })
    }

    /// The batch, as the topic wants it.
    async fn checked(
        &self,
        desk: &Desk,
        at: &Address,
        values: &[Option<Bytes>],
        news: &News,
    ) -> Result<Checked, Denied> {
        let now = self.now_ms();
        let rules = desk.ground().partition.rules(now, true);
        let too_large = || Denied::TooLarge(rules.batch_bytes_max);
        let unbuilt = |error: std::io::Error| {
            Denied::Unavailable(format!("the records could not be written down: {error}"))
        };
        if values.is_empty() {
            let batch = news.alone(now, &at.key).map_err(unbuilt)?;
            return match batch.bytes.len() > rules.batch_bytes_max {
                true => Err(too_large()),
                false => Ok(Checked::trusted(batch)),
            };
        }
        let built = news.beside(now, &at.key, values, rules.batch_bytes_max).ok_or_else(too_large)?;
        let batch = built.map_err(unbuilt)?;
        let check = move || Unchecked::new(batch.bytes, true)?.check(&rules, &mut Decompressor::new());
        let checked = match rules.compression {
            None => check(),
            Some(_) => self
                .0
                .on_worker(check)
                .await
                .ok_or_else(|| unbuilt(std::io::Error::other("the node stops")))?,
        };
        checked.map_err(|invalid| match invalid {
            Invalid::TooLarge { .. } => too_large(),
            other => Denied::Unavailable(format!("the topic does not take such records: {other}")),
        })
    }

    /// Waits until all replicas in sync have what was appended.
    pub(super) async fn safe(&self, pending: Pending) -> Result<(), Denied> {
        self.settled(pending.settled).await
    }

    pub(super) async fn settled(&self, mut settled: AllSettled) -> Result<(), Denied> {
        let clock = &self.0.world.clock;
        let open = tokio::select! {
            biased;
            open = &mut settled => open,
            () = clock.sleep_until(clock.after_millis(super::SAFE_MS_MAX)) => settled.undone(),
        };
        match open.first() {
            None => Ok(()),
            Some((_, why)) => Err(undone(*why)),
        }
    }
}

/// Which fork of its source a stream is: a hash of where it is (FNV-1a of 128 bits).
pub(super) fn fork_id(at: &Address) -> ForkId {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = at.path().bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    hash.to_be_bytes()
}

/// A fork of it is gone.
pub(super) fn release(fork: ForkId) -> impl Fn(Option<&Life>, i64) -> Result<Change, Refusal> {
    move |life, now| {
        Ok(match life {
            None => Change::Nothing,
            Some(life) => mailbox::release(life, now, &fork).map_or(Change::End, Change::life),
        })
    }
}

pub(super) fn overtaken() -> Denied {
    Denied::Unavailable("others write into the partition so fast that nothing could be decided".to_owned())
}

/// An offset that is expected, and the one that is there. Places of different generations are never the same.
fn expected((expected, end): (Token, Token)) -> (u64, u64) {
    match expected.0.generation == end.0.generation {
        true => (expected.0.offset, end.0.offset),
        false => (u64::MAX, end.0.offset),
    }
}

/// Whether a record must say again what its mailbox is: retention takes away whole segments, and compaction all records but the last,
/// and a mailbox lasts as long as any record that was appended here.
fn must_bear(desk: &Desk, standing: &Standing, ends: &Ends) -> bool {
    let is_compacted = desk.ground().partition.config().cleanup_compact;
    standing.marked_at.is_some_and(|at| is_compacted || at < ends.active)
}

/// What was appended, as the desk would read it.
fn seen(key: &Bytes, count: usize, news: &News, (first, last): (Offset, Offset)) -> Vec<Seen> {
    let mark = news.life.as_ref().map(|life| {
        let begin = life.as_ref().and_then(|(_, begin)| *begin).unwrap_or(first);
        Mark { at: last, begin, life: life.as_ref().map(|(life, _)| life.clone()) }
    });
    // Only the last one says anything.
    vec![Seen {
        offset: last,
        key: key.clone(),
        is_record: count > 0,
        value: None,
        mark,
        producer: news.producer.clone(),
    }]
}

/// So many messages of these, or bytes; `None`: there are fewer.
pub(super) fn head(life: &Life, values: Vec<Bytes>, count: u64) -> Option<Vec<Bytes>> {
    let count = usize::try_from(count).ok()?;
    match is_json(life) {
        true => Some(values.get(..count)?.to_vec()),
        false => Some(vec![Bytes::copy_from_slice(values.concat().get(..count)?)]),
    }
}

/// The place of a log's offset in a stream of this generation.
pub(super) fn token(generation: u16, offset: Offset) -> Token {
    Token::new(generation, place(offset))
}
