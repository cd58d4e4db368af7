//! Reading mailboxes: what a stream has itself, and before that what it has of those it was forked from.
//!
//! Readers see what Kafka's readers of committed records see: a place that a reader has passed gets no record later.

use super::{
    Mailboxes, denied,
    desk::{Desk, Standing},
    end,
    find::Room,
    offset,
    write::{Change, token},
};
use crate::partition::{Ends, Refused};
use bytes::Bytes;
use gateway::{Address, Author, Chunk, Denied, From, Token};
use mailbox::{Place, Refusal, limits::GENERATION_MAX};
use model::{Offset, limits};
use std::sync::Arc;

/// One of the streams that a stream consists of.
pub(super) struct Part {
    pub(super) desk: Arc<Desk>,
    pub(super) key: Bytes,
    pub(super) standing: Standing,
    pub(super) ends: Ends,
    /// Up to where it counts, if that is not all.
    pub(super) until: Option<Place>,
}

/// Records that were read, and the token behind each.
type Records = Vec<(Token, Option<Bytes>)>;

impl Mailboxes {
    pub(super) async fn do_read(&self, at: &Address, from: From, bytes_max: usize) -> Result<Chunk, Denied> {
        let desk = self.desk(at)?;
        // Before it is known how the stream stands: what is read then lies before where that says it ends.
        let ends = desk.ends().map_err(denied)?;
        let standing = self.found(&desk, at).await?;
        self.touch(at, &standing).await;
        let mut told = gateway::Standing { end: visible_end(&standing, &ends), life: standing.life.clone() };
        // Who is told that it is closed looks for nothing more.
        told.life.is_closed &= told.end == end(&standing);
        let begin = match from {
            From::Begin => Token::BEGIN,
            From::End => told.end,
            From::At(token) => token,
        };
        let generation = standing.life.generation();
        if begin > token(generation, ends.end) {
            // It is of a topic that had this name before, or of what a leader has lost. Who waited there would miss what comes.
            return Err(Denied::Gone(token(generation, ends.start.max(standing.begin))));
        }
        let room = Room { bytes: bytes_max, records: limits::MAILBOX_RECORDS_MAX };
        let whole = Part { desk, key: at.key.clone(), standing, ends, until: None };
        let (records, is_up_to_date) = self.collect(whole, begin, room).await?;
        let next = match records.last() {
            _ if is_up_to_date => told.end.max(begin),
            Some((token, _)) => *token,
            None => begin,
        };
        Ok(Chunk { records, next, is_up_to_date, standing: told })
    }

    /// Records from `begin` on, and whether there are no more.
    async fn collect(&self, whole: Part, begin: Token, room: Room) -> Result<(Records, bool), Denied> {
        let mut parts = vec![whole];
        while let Some(part) = parts.last()
            && let Some(source) = self.before(part, begin).await?
        {
            parts.push(source);
            if parts.len() > usize::from(GENERATION_MAX) {
                break;
            }
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        for part in parts.iter().rev() {
            let Some((mut from, upto)) = part.bounds(begin)? else { continue };
            if part.standing.last.is_none_or(|last| last < from) {
                continue;
            }
            let left = Room {
                bytes: room.bytes.saturating_sub(bytes),
                records: room.records.saturating_sub(records.len()),
            };
            if !records.is_empty() && (left.bytes == 0 || left.records == 0) {
                return Ok((records, false));
            }
            let generation = part.standing.life.generation();
            let is_resumed = begin > token(generation, part.standing.begin);
            let found = loop {
                match part.desk.finder.records(&part.key, (from, upto), left).await {
                    // What was read before that is told first.
                    Err(Refused::OffsetOutOfRange { .. }) if !records.is_empty() => {
                        return Ok((records, false));
                    }
                    Err(Refused::OffsetOutOfRange { start_offset, .. }) if is_resumed => {
                        return Err(Denied::Gone(token(generation, start_offset)));
                    }
                    // Who wants all that is kept begins later.
                    Err(Refused::OffsetOutOfRange { start_offset, .. }) if start_offset > from => {
                        from = start_offset
                    }
                    found => break found.map_err(denied)?,
                }
            };
            for (offset, value) in found.records {
                bytes += value.as_ref().map_or(0, Bytes::len);
                records.push((token(generation, offset.saturating_add(1)), value));
            }
            if found.upto < upto {
                return Ok((records, false));
            }
        }
        Ok((records, true))
    }

    /// What comes before a part, if it was forked from something and that is asked for.
    pub(super) async fn before(&self, part: &Part, begin: Token) -> Result<Option<Part>, Denied> {
        let life = &part.standing.life;
        let Some(origin) = life.origin.as_ref().filter(|_| begin.0.generation < life.generation()) else {
            return Ok(None);
        };
        let Some(at) = Address::from_path(&origin.path) else { return Ok(None) };
        let desk = self.desk(&at)?;
        let state = desk.state(&at.key, None).await.map_err(denied)?;
        // Of a source of which nothing is kept any more there is nothing to read.
        let Some(standing) = self.standing(&desk, &at, &state.known)? else { return Ok(None) };
        // What any of Kafka's producers may have written could go round in circles.
        if standing.life.generation() >= life.generation() {
            return Ok(None);
        }
        let until = part.until.map_or(origin.at, |until| until.min(origin.at));
        let ends = desk.ends().map_err(denied)?;
        Ok(Some(Part { desk, key: at.key, standing, ends, until: Some(until) }))
    }

    /// Reading keeps an idle stream alive, if the partition can be written for now.
    pub(super) async fn touch(&self, at: &Address, standing: &Standing) {
        if mailbox::touch(&standing.life, self.now_ms()).is_none() {
            return;
        }
        let touched = self.change(at, (false, Author::default()), |life, now| {
            let life = life.ok_or(Refusal::NotFound)?;
            Ok(mailbox::touch(life, now).map_or(Change::Nothing, Change::life))
        });
        if let Err(why) = touched.await {
            tracing::debug!(stream = %at.path(), ?why, "it is not written down that a stream was read");
        }
    }
}

impl Part {
    /// From where to where it is read.
    pub(super) fn bounds(&self, begin: Token) -> Result<Option<(Offset, Offset)>, Denied> {
        let generation = self.standing.life.generation();
        let from = match begin.0.generation.cmp(&generation) {
            std::cmp::Ordering::Less => self.standing.begin,
            std::cmp::Ordering::Equal => offset(begin.0.offset).max(self.standing.begin),
            std::cmp::Ordering::Greater => return Ok(None),
        };
        let start = self.ends.start;
        if from > self.standing.begin && from < start {
            return Err(Denied::Gone(token(generation, start)));
        }
        let upto = match self.until {
            Some(until) if until.generation < generation => return Ok(None),
            Some(until) if until.generation == generation => self.ends.stable.min(offset(until.offset)),
            _ => self.ends.stable,
        };
        let from = from.max(start);
        Ok((from < upto).then_some((from, upto)))
    }
}

/// Behind the last record that readers see: while a transaction is open, what was written since comes later.
pub(super) fn visible_end(standing: &Standing, ends: &Ends) -> Token {
    let end = end(standing);
    match standing.last {
        Some(last) if last >= ends.stable => {
            let stable = token(standing.life.generation(), ends.stable.max(standing.begin));
            end.min(stable)
        }
        _ => end,
    }
}
