//! Creating mailboxes, and forking them: a fork lies in its own partition, and its source is told to be kept for it before it is there.
//!
//! Where a node fails between the two, the source knows a fork that is not there, and the fork that is created again is that one.

use super::{
    Mailboxes, TRIES, denied,
    desk::{Desk, Standing, State},
    end,
    marks::News,
    told, values,
    write::{Change, Stop, fork_id, head, overtaken, release},
};
use bytes::Bytes;
use gateway::{Address, Author, Denied, NewStream, Token};
use mailbox::{Create, Created, Fork, Life, Origin, Refusal};
use model::limits;

/// What a fork is made of.
struct Source {
    at: Address,
    fork: Fork,
}

impl Mailboxes {
    pub(super) async fn do_create(
        &self,
        at: &Address,
        new: NewStream,
    ) -> Result<(bool, gateway::Standing), Denied> {
        let desk = self.desk(at)?;
        let Some((source, given, sub_offset)) = &new.fork else {
            return self.create_here(&desk, at, &new, None, Vec::new()).await;
        };
        let source = self.source(source, *given, *sub_offset).await?;
        // Without its turn: whether there is anything to be made. With it the source could not be written to.
        let state = desk.state(&at.key, None).await.map_err(denied)?;
        let standing = self.standing(&desk, at, &state.known)?;
        if let Created::Exists = self.decide_create(standing.as_ref(), &new, Some(&source.fork))? {
            self.until_safe(&desk, state.known.upto()).await?;
            let standing = standing.as_ref().map(told).ok_or(Denied::Refused(Refusal::NotFound, None))?;
            return Ok((false, standing));
        }
        let kept = self.inherited(&source).await?;
        let id = fork_id(at);
        let retained = self.change(&source.at, (true, Author::default()), move |life, now| {
            Ok(mailbox::retain(life, now, id)?.map_or(Change::Nothing, Change::life))
        });
        let is_told = matches!(retained.await?, (Change::Life(_), _));
        let created = self.create_here(&desk, at, &new, Some(&source.fork), kept).await;
        if let (true, Err(Denied::Refused(..))) = (is_told, &created) {
            self.change(&source.at, (true, Author::default()), release(id)).await?;
        }
        created
    }

    async fn create_here(
        &self,
        desk: &Desk,
        at: &Address,
        new: &NewStream,
        fork: Option<&Fork>,
        kept: Vec<Bytes>,
    ) -> Result<(bool, gateway::Standing), Denied> {
        let turn = desk.turn(&at.key).await;
        for _ in 0..TRIES {
            let State { known, upto, .. } = desk.state(&at.key, None).await.map_err(denied)?;
            let standing = self.standing(desk, at, &known)?;
            let life = match self.decide_create(standing.as_ref(), new, fork) {
                Ok(Created::New(life)) => *life,
                other => {
                    drop(turn);
                    self.until_safe(desk, known.upto()).await?;
                    other?;
                    let standing = standing.as_ref().map(told);
                    return Ok((false, standing.ok_or(Denied::Refused(Refusal::NotFound, None))?));
                }
            };
            let first: Vec<_> = kept.iter().cloned().chain(values(&life, &new.body)?).map(Some).collect();
            let author = new.author.clone();
            let news = News { life: Some(Some((life.clone(), None))), producer: None, author };
            // What one of Kafka's producers wrote meanwhile would be cut off.
            match self.put(desk, at, &first, &news, Some(upto)).await {
                Err(Stop::Overtaken) => {}
                Err(Stop::Denied(denied)) => return Err(denied),
                Ok(pending) => {
                    drop(turn);
                    let (begin, last) = (pending.first, pending.last);
                    self.safe(pending).await?;
                    if let Some(Standing { life: before, .. }) = &standing
                        && before.origin.as_ref().map(|origin| &origin.path)
                            != life.origin.as_ref().map(|origin| &origin.path)
                    {
                        // Its time was over.
                        self.leave_source(at, before).await;
                    }
                    let last = (!first.is_empty()).then_some(last);
                    return Ok((true, told(&Standing { life, begin, marked_at: Some(begin), last })));
                }
            }
        }
        Err(overtaken())
    }

    fn decide_create(
        &self,
        standing: Option<&Standing>,
        new: &NewStream,
        fork: Option<&Fork>,
    ) -> Result<Created, Denied> {
        let request = Create {
            content_type: new.content_type.clone(),
            lifetime: new.lifetime.clone(),
            is_closed: new.is_closed,
            fork: fork.cloned(),
        };
        let life: Option<&Life> = standing.map(|standing| &standing.life);
        mailbox::create(life, self.now_ms(), &request).map_err(|refusal| Denied::Refused(refusal, None))
    }

    /// The mailbox that a fork is to be made of, and where.
    async fn source(&self, at: &Address, given: Option<Token>, sub_offset: u64) -> Result<Source, Denied> {
        let desk = self.desk(at)?;
        let state = desk.state(&at.key, None).await.map_err(denied)?;
        self.until_safe(&desk, state.known.upto()).await?;
        let standing = self.standing(&desk, at, &state.known)?;
        let is_gone = |life: &Life| life.is_expired(self.now_ms()) && life.forks.is_empty();
        let standing = standing.filter(|standing| !is_gone(&standing.life));
        let standing = standing.ok_or(Denied::Refused(Refusal::NotFound, None))?;
        let end = end(&standing);
        let begin = given.unwrap_or(end);
        if begin > end {
            return Err(Denied::ForkOffset("the source ends before it".to_owned()));
        }
        let generation = standing.life.generation().saturating_add(1);
        let origin = Origin { path: at.path(), at: begin.0, sub_offset, generation };
        let fork = Fork { origin, is_given: given.is_some(), source: standing.life };
        Ok(Source { at: at.clone(), fork })
    }

    /// What a fork has of its source behind where it begins: so many messages, or so many bytes.
    async fn inherited(&self, source: &Source) -> Result<Vec<Bytes>, Denied> {
        let origin = &source.fork.origin;
        if origin.sub_offset == 0 {
            return Ok(Vec::new());
        }
        let bytes_max = gateway::Mailboxes::body_bytes_max(self, &source.at.topic).unwrap_or(0);
        let from = gateway::From::At(Token(origin.at));
        let chunk = self.do_read(&source.at, from, bytes_max.max(1)).await?;
        let values = chunk.records.into_iter().filter_map(|(_, value)| value).collect();
        head(&source.fork.source, values, origin.sub_offset).ok_or_else(|| {
            let text = match chunk.is_up_to_date {
                true => "the source has less behind the offset".to_owned(),
                false => format!(
                    "a fork inherits at most {bytes_max} bytes or {} messages behind the offset",
                    limits::MAILBOX_RECORDS_MAX
                ),
            };
            Denied::ForkOffset(text)
        })
    }
}
