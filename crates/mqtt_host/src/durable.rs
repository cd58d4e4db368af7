//! What a session wants to be durable, in its order: messages into topics, and the session itself into the topic of sessions.
//!
//! Messages are appended while earlier ones are not safe yet; a save waits for all messages before it, and those behind it wait for it.
//! Saves that wait become one. A publication that must be stored once has a bound: where its partition ended before it was first tried,
//! which is saved before that. When it is tried again by who does not know what became of it, it is looked for from there on.

use crate::{
    access::Grants,
    directory::{Directory, Saving, Seen},
    log::{Failure, Log, partition_of},
    message,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use env::{BoxFuture, World};
use futures_util::{StreamExt, stream::FuturesUnordered};
use model::{Offset, PartitionIndex, TopicPartition};
use mqtt::{
    codec::{Reason, Text},
    session::{Input, Publication, Sequence, Token},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;

/// While so many wait, nothing is read from the client.
const OPS_MAX: usize = 256;
const OP_BYTES_MAX: usize = 4 << 20;
/// Bytes that are read at once to find a publication again.
const FIND_BYTES: usize = 256 * 1024;
/// How long it is waited until a save is tried again.
const PAUSE_MS: i64 = 500;

/// An order.
#[derive(Debug)]
pub(crate) enum Op {
    /// Keep the session so; `sequences` are those of publications that may be tried again.
    Save { number: u64, state: Bytes, sequences: BTreeSet<u64> },
    /// Append.
    Store(Box<Publication>),
    /// There is no session any more.
    Discard,
}

/// Whose session it is, and by which claim this node has it.
#[derive(Clone)]
pub(crate) struct Holding {
    pub(crate) claim: u64,
    pub(crate) subject: String,
    pub(crate) seen: watch::Receiver<Seen>,
}

/// Where a partition ended before a publication was first tried.
type Bounds = BTreeMap<u64, (PartitionIndex, Offset)>;

/// For what a message was appended, its bytes, and what came of it.
type Stored = (Token, usize, Result<(), Reason>);

/// See the head of the file.
pub(crate) struct Durable {
    log: Arc<dyn Log>,
    directory: Arc<Directory>,
    world: World,
    client: Text,
    pub(crate) holding: Option<Holding>,
    ops: VecDeque<Op>,
    bytes: usize,
    stores: FuturesUnordered<BoxFuture<'static, Stored>>,
    saving: Option<BoxFuture<'static, Option<u64>>>,
    bounds: Bounds,
    /// What was tried before this node had the session.
    uncertain: BTreeSet<u64>,
    at_work: BTreeSet<u64>,
    done: BTreeSet<u64>,
    kept: Option<(u64, Bytes)>,
}

impl Durable {
    pub(crate) fn new(log: Arc<dyn Log>, directory: Arc<Directory>, world: World, client: Text) -> Self {
        Self {
            log,
            directory,
            world,
            client,
            holding: None,
            ops: VecDeque::new(),
            bytes: 0,
            stores: FuturesUnordered::new(),
            saving: None,
            bounds: Bounds::new(),
            uncertain: BTreeSet::new(),
            at_work: BTreeSet::new(),
            done: BTreeSet::new(),
            kept: None,
        }
    }

    /// The session is this node's now, as it was kept.
    pub(crate) fn hold(&mut self, holding: Holding, state: Option<Bytes>, bounds: &Bytes) {
        self.bounds = read_bounds(bounds);
        self.uncertain = self.bounds.keys().copied().collect();
        self.kept = state.map(|state| (0, state));
        self.holding = Some(holding);
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.bytes += size(&op);
        self.ops.push_back(op);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ops.len() + self.stores.len() >= OPS_MAX || self.bytes >= OP_BYTES_MAX
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.ops.is_empty() && self.stores.is_empty() && self.saving.is_none()
    }

    /// Forgets what was ordered: another node has the session.
    pub(crate) fn abandon(&mut self) {
        self.ops.clear();
        self.stores.clear();
        self.saving = None;
        self.holding = None;
    }

    /// Keeps it again as it was kept last.
    pub(crate) fn keep_again(&mut self) {
        if self.saving.is_none()
            && let Some((number, state)) = self.kept.clone()
        {
            self.save(number, state);
        }
    }

    /// Waits for the next thing that has become safe, or failed. May be cancelled. Waits for ever while nothing is at work.
    pub(crate) async fn next(&mut self) -> Option<Input> {
        let saving = async {
            match &mut self.saving {
                Some(saving) => saving.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            saved = saving => {
                self.saving = None;
                saved.map(Input::Saved)
            }
            Some((token, bytes, result)) = self.stores.next() => {
                self.bytes = self.bytes.saturating_sub(bytes);
                if let Token::Qos2(number) = token {
                    self.at_work.remove(&number);
                    if result.is_ok() {
                        self.done.insert(number);
                    }
                }
                Some(Input::Stored { token, result })
            }
            else => std::future::pending().await,
        }
    }

    /// Begins what may begin; what has an end at once is given.
    pub(crate) async fn advance(&mut self, grants: &Grants) -> Vec<Input> {
        let mut ended = Vec::new();
        while self.saving.is_none() {
            match self.ops.front() {
                None => break,
                Some(Op::Store(_)) => {
                    if let Some(Op::Store(publication)) = self.ops.pop_front() {
                        let bytes = publication.payload.len();
                        if publication.token == Token::Will {
                            self.bytes = self.bytes.saturating_sub(bytes);
                            self.leave_will(*publication, grants);
                            continue;
                        }
                        let (token, result) = (publication.token, self.store(*publication, grants).await);
                        if let Some(result) = result {
                            self.bytes = self.bytes.saturating_sub(bytes);
                            ended.push(Input::Stored { token, result });
                        }
                    }
                }
                Some(_) if !self.stores.is_empty() => break,
                Some(Op::Save { .. }) => self.begin_save().await,
                Some(Op::Discard) => {
                    self.ops.pop_front();
                    self.discard();
                }
            }
        }
        ended
    }

    /// Makes one save of all that may become one.
    async fn begin_save(&mut self) {
        let is_end = |op: &Op| match op {
            Op::Discard => true,
            Op::Store(publication) => publication.token == Token::Will,
            Op::Save { .. } => false,
        };
        let end = self.ops.iter().position(is_end).unwrap_or(self.ops.len());
        let mut rest = self.ops.split_off(end);
        let mut last = None;
        let mut stores = VecDeque::new();
        for op in self.ops.drain(..) {
            match op {
                Op::Save { number, state, sequences } => last = Some((number, state, sequences)),
                other => stores.push_back(other),
            }
        }
        stores.append(&mut rest);
        self.ops = stores;
        let Some((number, state, sequences)) = last else { return };
        self.bounds.retain(|number, _| sequences.contains(number));
        self.uncertain.retain(|number| sequences.contains(number));
        self.done.retain(|number| sequences.contains(number));
        let mut bounds = Vec::new();
        for op in self.ops.iter().take(end) {
            if let Op::Store(publication) = op
                && let Some(Sequence { number, .. }) = publication.sequence
                && !self.bounds.contains_key(&number)
                && let Ok(bound) = bound(self.log.clone(), &self.client, publication).await
            {
                bounds.push((number, bound));
            }
        }
        self.bounds.extend(bounds);
        self.kept = Some((number, state.clone()));
        self.save(number, state);
    }

    fn save(&mut self, number: u64, state: Bytes) {
        let Some(holding) = self.holding.clone() else {
            self.saving = Some(Box::pin(async move { Some(number) }));
            return;
        };
        let (directory, world, client) =
            (self.directory.clone(), self.world.clone(), self.client.bytes().clone());
        let bounds = write_bounds(&self.bounds);
        self.saving = Some(Box::pin(async move {
            let Holding { claim, subject, mut seen } = holding;
            loop {
                let (state, bounds) = (Some(state.clone()), bounds.clone());
                let saving =
                    Saving { client: &client, claim, save: number, subject: &subject, state, bounds };
                match directory.save(saving).await {
                    Ok(()) => {
                        let seen = seen.wait_for(|seen| seen.save >= number || seen.is_lost).await;
                        return seen.ok().filter(|seen| !seen.is_lost).map(|_| number);
                    }
                    Err(why) => {
                        tracing::warn!(%why, "a session of MQTT cannot be kept for now; it is tried again");
                        world.clock.sleep_until(world.clock.after_millis(PAUSE_MS)).await;
                    }
                }
                if seen.borrow().is_lost {
                    return None;
                }
            }
        }));
    }

    /// Removes what is kept; who else claims the session meanwhile has it.
    fn discard(&mut self) {
        self.kept = None;
        self.bounds.clear();
        // Who comes back claims a session anew.
        let Some(Holding { claim, subject, .. }) = self.holding.take() else { return };
        let (directory, client) = (self.directory.clone(), self.client.bytes().clone());
        self.saving = Some(Box::pin(async move {
            let saving = Saving {
                client: &client,
                claim,
                save: 0,
                subject: &subject,
                state: None,
                bounds: Bytes::new(),
            };
            if let Err(why) = directory.save(saving).await {
                tracing::warn!(%why, "a session of MQTT that has ended is still kept; it expires by itself");
            }
            None
        }));
    }

    /// Begins an append; gives what came of it if that is known at once.
    async fn store(&mut self, publication: Publication, grants: &Grants) -> Option<Result<(), Reason>> {
        let number = publication.sequence.map(|sequence| sequence.number);
        if let (Some(number), Token::Qos2(_)) = (number, publication.token) {
            if self.at_work.contains(&number) {
                return None; // both are answered then
            }
            if self.done.contains(&number) {
                return Some(Ok(()));
            }
        }
        match self.try_store(publication, grants).await {
            Ok(is_there) if is_there => {
                self.done.extend(number);
                Some(Ok(()))
            }
            Ok(_) => None,
            Err(failure) => Some(Err(reason(&failure))),
        }
    }

    /// Whether it is there already; else its append has begun.
    async fn try_store(&mut self, publication: Publication, grants: &Grants) -> Result<bool, Failure> {
        let at = place(self.log.clone(), &self.client, &publication).await?;
        if let Some(sequence) = publication.sequence.filter(|_| self.holding.is_some())
            && self.uncertain.contains(&sequence.number)
            && let Some((partition, from)) = self.bounds.get(&sequence.number).copied()
        {
            let tried = TopicPartition::new(at.topic.clone(), partition);
            if is_there(self.log.clone(), &self.client, (tried, from), sequence).await? {
                return Ok(true);
            }
        }
        let now_ms = self.world.clock.wall();
        let record = message::to_record(&publication, &self.client, &grants.author(), now_ms);
        let (token, bytes) = (publication.token, publication.payload.len());
        let appending = self.log.append(&at, record).await?;
        if let Token::Qos2(number) = token {
            self.at_work.insert(number);
        }
        self.stores.push(Box::pin(async move {
            let result = appending.await.map(drop).map_err(|failure| {
                tracing::debug!(%failure, "a message of MQTT was not taken");
                reason(&failure)
            });
            (token, bytes, result)
        }));
        Ok(false)
    }

    /// A will is tried until it is there: nobody is left who would publish it again. It is stored before the save that forgets it, so its
    /// bound is kept with what was kept last.
    fn leave_will(&mut self, publication: Publication, grants: &Grants) {
        let number = publication.sequence.map(|sequence| sequence.number);
        let leaving = Leaving {
            log: self.log.clone(),
            directory: self.directory.clone(),
            client: self.client.clone(),
            record: message::to_record(&publication, &self.client, &grants.author(), self.world.clock.wall()),
            bound: number.and_then(|number| self.bounds.get(&number).copied()),
            publication,
            holding: self.holding.clone().zip(self.kept.clone()),
            bounds: self.bounds.clone(),
        };
        let world = self.world.clone();
        self.saving = Some(Box::pin(async move {
            let mut leaving = leaving;
            loop {
                match leaving.attempt().await {
                    Ok(()) => return None,
                    Err(Failure::Unavailable(why)) => {
                        tracing::debug!(%why, "a will cannot be published for now; it is tried again");
                        world.clock.sleep_until(world.clock.after_millis(PAUSE_MS)).await;
                    }
                    Err(why) => {
                        tracing::warn!(client = %leaving.client.as_str(), %why, "a will is not published");
                        return None;
                    }
                }
            }
        }));
    }
}

/// A will that is being published.
struct Leaving {
    log: Arc<dyn Log>,
    directory: Arc<Directory>,
    client: Text,
    publication: Publication,
    record: gateway::NewRecord,
    /// Set once it may have been tried.
    bound: Option<(PartitionIndex, Offset)>,
    holding: Option<(Holding, (u64, Bytes))>,
    bounds: Bounds,
}

impl Leaving {
    async fn attempt(&mut self) -> Result<(), Failure> {
        let at = place(self.log.clone(), &self.client, &self.publication).await?;
        match (self.publication.sequence, self.bound) {
            (Some(sequence), Some((partition, from))) => {
                let tried = TopicPartition::new(at.topic.clone(), partition);
                if is_there(self.log.clone(), &self.client, (tried, from), sequence).await? {
                    return Ok(());
                }
            }
            (Some(sequence), None) => {
                let bound = (at.partition, self.log.end(at.clone()).await?);
                self.bounds.insert(sequence.number, bound);
                self.keep_bound().await?;
                self.bound = Some(bound);
            }
            (None, _) => {}
        }
        self.log.append(&at, self.record.clone()).await?.await.map(drop)
    }

    async fn keep_bound(&self) -> Result<(), Failure> {
        let Some((Holding { claim, subject, .. }, (save, state))) = &self.holding else { return Ok(()) };
        let saving = Saving {
            client: self.client.bytes(),
            claim: *claim,
            save: *save,
            subject,
            state: Some(state.clone()),
            bounds: write_bounds(&self.bounds),
        };
        self.directory.save(saving).await
    }
}

/// The partition of a publication.
async fn place(
    log: Arc<dyn Log>,
    client: &Text,
    publication: &Publication,
) -> Result<TopicPartition, Failure> {
    let place = &publication.place;
    let partitions = log.partitions(&place.topic).await?;
    let by = place.key.as_ref().unwrap_or(client);
    Ok(TopicPartition::new(place.topic.clone(), partition_of(by.bytes(), partitions)))
}

/// Where the partition of a publication ends.
async fn bound(
    log: Arc<dyn Log>,
    client: &Text,
    publication: &Publication,
) -> Result<(PartitionIndex, Offset), Failure> {
    let at = place(log.clone(), client, publication).await?;
    Ok((at.partition, log.end(at).await?))
}

/// Looks for a publication from an offset on.
async fn is_there(
    log: Arc<dyn Log>,
    client: &Text,
    (at, mut from): (TopicPartition, Offset),
    sequence: Sequence,
) -> Result<bool, Failure> {
    let end = log.end(at.clone()).await?;
    while from < end {
        let chunk = log.read(at.clone(), from, FIND_BYTES).await?;
        if chunk.records.iter().any(|record| message::is_publication(record, client, sequence)) {
            return Ok(true);
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(false)
}

fn size(op: &Op) -> usize {
    match op {
        Op::Store(publication) => publication.payload.len(),
        Op::Save { .. } | Op::Discard => 0,
    }
}

/// What a client is told.
pub(crate) fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::UnknownTopic => Reason::TopicNameInvalid,
        Failure::TooLarge => Reason::QuotaExceeded,
        Failure::Refused(_) => Reason::PayloadFormatInvalid,
        Failure::Unavailable(_) => Reason::UnspecifiedError,
    }
}

/// Number, partition, offset of each: 8, 4 and 8 bytes.
fn write_bounds(bounds: &Bounds) -> Bytes {
    let mut out = BytesMut::with_capacity(bounds.len() * 20);
    for (number, (partition, offset)) in bounds {
        out.put_u64(*number);
        out.put_i32(*partition);
        out.put_i64(*offset);
    }
    out.freeze()
}

fn read_bounds(bytes: &Bytes) -> Bounds {
    let mut bytes = bytes.clone();
    let mut bounds = Bounds::new();
    while bytes.len() >= 20 {
        let number = bytes.get_u64();
        bounds.insert(number, (bytes.get_i32(), bytes.get_i64()));
    }
    bounds
}
