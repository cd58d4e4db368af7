//! What may be done with a mailbox: PROTOCOL.md, sections 4 and 5, with the order of refusals that it recommends.
//!
//! Each function takes what is known, and gives what is known afterwards, for the host to write down before it answers; it changes
//! nothing by itself. A mailbox that is not there is `None`.

use crate::{
    life::{ForkId, Life, Lifetime, Origin, media_type},
    limits,
    producer::{Producer, Sent, Verdict},
};

/// PUT.
#[derive(Debug, Clone, Default)]
pub struct Create {
    /// `Content-Type`; a fork without one has that of its source.
    pub content_type: Option<String>,
    /// `Stream-TTL` or `Stream-Expires-At`; a fork without one has that of its source.
    pub lifetime: Option<Lifetime>,
    /// `Stream-Closed: true`.
    pub is_closed: bool,
    /// `Stream-Forked-From` and where.
    pub fork: Option<Fork>,
}

/// What a PUT forks.
#[derive(Debug, Clone)]
pub struct Fork {
    /// Where it begins; the place counts only if it `is_given`, else it is the end of the source at this time.
    pub origin: Origin,
    /// Whether the client has named the offset.
    pub is_given: bool,
    /// What is known of the source.
    pub source: Life,
}

/// What became of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// 201: this is written down, with what the request brought.
    New(Box<Life>),
    /// 200: it is there and as it was asked for.
    Exists,
}

/// POST.
#[derive(Debug, Clone, Copy, Default)]
pub struct Append<'a> {
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Whether there is something to append.
    pub has_body: bool,
    /// `Stream-Seq`.
    pub seq: Option<&'a str>,
    /// `Stream-Closed: true`.
    pub closes: bool,
    /// `Producer-Id`, `-Epoch` and `-Seq`.
    pub sent: Option<&'a Sent>,
    /// `Expected-Offset`, and the end of the mailbox.
    pub expected: Option<(u64, u64)>,
}

/// What became of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is appended with what is new, if anything is.
    New {
        /// Of the mailbox.
        life: Option<Box<Life>>,
        /// Of the producer.
        producer: Option<Producer>,
    },
    /// It is there already; the producer's highest sequence.
    Again {
        /// `Producer-Seq` of the answer; none for a mailbox that is closed once more.
        seq: Option<u64>,
        /// Whether it is closed.
        is_closed: bool,
    },
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404.
    #[error("there is no such stream; create it with PUT")]
    NotFound,
    /// 410.
    #[error("the stream was deleted and is kept for its forks only")]
    Deleted,
    /// 409: a PUT of a path whose stream is kept for its forks.
    #[error("the stream was deleted, and its forks still need it: its path is free once they are deleted")]
    InUse,
    /// 409.
    #[error("the stream exists with another {0}")]
    OtherConfiguration(&'static str),
    /// 409 with `Stream-Closed: true`.
    #[error("the stream is closed")]
    Closed,
    /// 400.
    #[error("a body needs a Content-Type")]
    NoContentType,
    /// 409.
    #[error("the stream has the content type {0}")]
    ContentType(String),
    /// 400.
    #[error("there is nothing to append; an empty body may only close the stream")]
    Empty,
    /// 400.
    #[error("{what} has {length} bytes, and at most {max} are allowed")]
    TooLong {
        /// Which header.
        what: &'static str,
        /// Its length.
        length: usize,
        /// What is allowed.
        max: usize,
    },
    /// 403 with the epoch.
    #[error("the producer is in epoch {current} already; go on with a higher one")]
    StaleEpoch {
        /// `Producer-Epoch` of the answer.
        current: u64,
    },
    /// 400.
    #[error("the first append of an epoch has the sequence 0")]
    NotFirst,
    /// 409 with both numbers.
    #[error("the producer's next sequence is {expected}, not {received}")]
    Gap {
        /// `Producer-Expected-Seq`.
        expected: u64,
        /// `Producer-Received-Seq`.
        received: u64,
    },
    /// 422.
    #[error("the Idempotency-Key has come with another request before; take a new key for each")]
    OtherRequest,
    /// 409.
    #[error("the Stream-Seq must be higher than {0:?}")]
    SeqNotHigher(String),
    /// 412 with the end.
    #[error("the stream ends at {end}")]
    OtherOffset {
        /// `Stream-Next-Offset` of the answer.
        end: u64,
    },
    /// 400.
    #[error("the stream would be more than {0} forks deep")]
    TooDeep(u16),
    /// 429.
    #[error("the stream has {0} forks, and no more are allowed; delete some")]
    TooManyForks(usize),
}

/// The mailbox that a request finds.
fn found(life: Option<&Life>, now_ms: i64) -> Result<&Life, Refusal> {
    match life {
        None => Err(Refusal::NotFound),
        Some(life) if life.is_deleted => Err(Refusal::Deleted),
        Some(life) if !life.is_expired(now_ms) => Ok(life),
        Some(life) if life.forks.is_empty() => Err(Refusal::NotFound),
        Some(_) => Err(Refusal::Deleted),
    }
}

/// Creates a mailbox.
pub fn create(life: Option<&Life>, now_ms: i64, request: &Create) -> Result<Created, Refusal> {
    check_length("Content-Type", request.content_type.as_deref(), limits::CONTENT_TYPE_BYTES_MAX)?;
    check_length(
        "Stream-Forked-From",
        request.fork.as_ref().map(|fork| fork.origin.path.as_str()),
        limits::PATH_BYTES_MAX,
    )?;
    if let Some(Lifetime::Until { text, .. }) = &request.lifetime {
        check_length("Stream-Expires-At", Some(text), limits::EXPIRY_BYTES_MAX)?;
    }
    match found(life, now_ms) {
        Ok(life) => return same(life, request).map(|()| Created::Exists),
        Err(Refusal::Deleted) => return Err(Refusal::InUse),
        Err(_) => {}
    }
    let source = request.fork.as_ref().map(|fork| &fork.source);
    let given = request.content_type.as_deref().filter(|text| !text.trim().is_empty());
    if let (Some(source), Some(given)) = (source, given)
        && media_type(given) != media_type(&source.content_type)
    {
        return Err(Refusal::ContentType(source.content_type.clone()));
    }
    if request.fork.as_ref().is_some_and(|fork| fork.origin.generation > limits::GENERATION_MAX) {
        return Err(Refusal::TooDeep(limits::GENERATION_MAX));
    }
    let content_type = given.or(source.map(|source| source.content_type.as_str()));
    let lifetime = request.lifetime.clone().or_else(|| source.map(|source| source.lifetime.clone()));
    let mut life =
        Life::new(content_type.unwrap_or("application/octet-stream"), lifetime.unwrap_or_default(), now_ms);
    life.is_closed = request.is_closed;
    life.origin = request.fork.as_ref().map(|fork| fork.origin.clone());
    Ok(Created::New(Box::new(life)))
}

/// Whether a mailbox is as a PUT wants it.
fn same(life: &Life, request: &Create) -> Result<(), Refusal> {
    let is_fork = request.fork.is_some();
    let other = |what| Err(Refusal::OtherConfiguration(what));
    let content_type = request.content_type.as_deref().unwrap_or_default();
    let inherits_type = is_fork && content_type.trim().is_empty();
    if !inherits_type && media_type(content_type) != media_type(&life.content_type) {
        return other("Content-Type");
    }
    let inherits_lifetime = is_fork && request.lifetime.is_none();
    if !inherits_lifetime && request.lifetime.clone().unwrap_or_default() != life.lifetime {
        return other("Stream-TTL or Stream-Expires-At");
    }
    if request.is_closed != life.is_closed {
        return other("Stream-Closed");
    }
    match (&request.fork, &life.origin) {
        (None, None) => Ok(()),
        (Some(fork), Some(origin)) => {
            let is_offset_same = !fork.is_given || fork.origin.at == origin.at;
            let is_same = is_offset_same
                && fork.origin.path == origin.path
                && fork.origin.sub_offset == origin.sub_offset;
            if is_same { Ok(()) } else { other("origin") }
        }
        _ => other("origin"),
    }
}

/// Appends to a mailbox, closes it, or both. `producer` is what is known of the one that the request names.
pub fn append(
    life: Option<&Life>,
    producer: Option<&Producer>,
    now_ms: i64,
    request: &Append<'_>,
) -> Result<Appended, Refusal> {
    check_length("Stream-Seq", request.seq, limits::SEQ_BYTES_MAX)?;
    check_length("Producer-Id", request.sent.map(|sent| sent.id.as_str()), limits::PRODUCER_ID_BYTES_MAX)?;
    let life = found(life, now_ms)?;
    // What was taken before others have closed it is taken.
    let once = request.sent.filter(|sent| sent.is_once());
    if once.map_or(Ok(false), |sent| sent.was_taken(producer))? {
        return Ok(Appended::Again { seq: None, is_closed: life.is_closed });
    }
    if life.is_closed {
        let is_same = request.sent.is_some() && request.sent == life.closed_by.as_ref();
        return match is_same || (request.closes && !request.has_body && request.sent.is_none()) {
            true => Ok(Appended::Again {
                seq: request.sent.filter(|_| is_same).map(|sent| sent.seq),
                is_closed: true,
            }),
            false => Err(Refusal::Closed),
        };
    }
    if !request.has_body && !request.closes {
        return Err(Refusal::Empty);
    }
    if request.has_body {
        check_type(life, request.content_type)?;
    }
    if let Some(sent) = request.sent {
        match Producer::judge(producer, sent) {
            Verdict::Next => {}
            Verdict::Again => {
                let seq = producer.map(|known| known.sent.seq);
                return Ok(Appended::Again { seq, is_closed: false });
            }
            Verdict::StaleEpoch => {
                let current = producer.map_or(0, |known| known.sent.epoch);
                return Err(Refusal::StaleEpoch { current });
            }
            Verdict::OtherRequest => return Err(Refusal::OtherRequest),
            Verdict::NotFirst => return Err(Refusal::NotFirst),
            Verdict::Gap { expected } => return Err(Refusal::Gap { expected, received: sent.seq }),
        }
    }
    // After the producer: what is sent again has the same Stream-Seq.
    if let (Some(seq), Some(last)) = (request.seq, life.seq.as_deref())
        && seq.as_bytes() <= last.as_bytes()
    {
        return Err(Refusal::SeqNotHigher(last.to_owned()));
    }
    if let Some((expected, end)) = request.expected
        && expected != end
    {
        return Err(Refusal::OtherOffset { end });
    }
    let mut after = touch(life, now_ms).unwrap_or_else(|| life.clone());
    after.seq = request.seq.map(str::to_owned).or(after.seq);
    if request.closes {
        (after.is_closed, after.closed_by) = (true, request.sent.cloned());
    }
    Ok(Appended::New {
        life: Some(after).filter(|after| after != life).map(Box::new),
        producer: request.sent.map(|sent| Producer { sent: sent.clone() }),
    })
}

fn check_type(life: &Life, given: Option<&str>) -> Result<(), Refusal> {
    let given = given.filter(|text| !text.trim().is_empty()).ok_or(Refusal::NoContentType)?;
    match media_type(given) == media_type(&life.content_type) {
        true => Ok(()),
        false => Err(Refusal::ContentType(life.content_type.clone())),
    }
}

/// Somebody reads or writes: what is to be written down of it, so that an idle mailbox ends when it should. Most uses are not.
pub fn touch(life: &Life, now_ms: i64) -> Option<Life> {
    let Lifetime::Idle(seconds) = life.lifetime else { return None };
    let worth = i64::try_from(seconds.saturating_mul(100)).unwrap_or(i64::MAX);
    (now_ms.saturating_sub(life.used_ms) >= worth.max(1)).then(|| Life { used_ms: now_ms, ..life.clone() })
}

/// Deletes a mailbox: what is kept of it, if anything is.
pub fn delete(life: Option<&Life>, now_ms: i64) -> Result<Option<Life>, Refusal> {
    let life = found(life, now_ms)?;
    Ok((!life.forks.is_empty()).then(|| Life { is_deleted: true, ..life.clone() }))
}

/// A fork of it is to be made: it is kept for as long as that is there. `None`: that is known already.
pub fn retain(life: Option<&Life>, now_ms: i64, fork: ForkId) -> Result<Option<Life>, Refusal> {
    let mut life = match found(life, now_ms) {
        Err(Refusal::Deleted) => return Err(Refusal::InUse),
        other => other?.clone(),
    };
    if life.forks.len() >= limits::FORKS_MAX && !life.forks.contains(&fork) {
        return Err(Refusal::TooManyForks(limits::FORKS_MAX));
    }
    Ok(life.forks.insert(fork).then_some(life))
}

/// A fork of it is gone. `None`: nothing is kept of it any more, and a mailbox that it was forked from is told the same.
pub fn release(life: &Life, now_ms: i64, fork: &ForkId) -> Option<Life> {
    let mut life = life.clone();
    life.forks.remove(fork);
    let is_over = life.is_deleted || life.is_expired(now_ms);
    (!is_over || !life.forks.is_empty()).then_some(life)
}

fn check_length(what: &'static str, text: Option<&str>, max: usize) -> Result<(), Refusal> {
    match text.map_or(0, str::len) {
        length if length > max => Err(Refusal::TooLong { what, length, max }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
