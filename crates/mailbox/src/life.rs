//! What is known of a mailbox as a whole, and its bytes.
//!
//! It decides nothing; `decide` does. A mailbox into which nobody but Kafka's producers has written has no [`Life`] of its own: the
//! host makes it one with [`Life::implied`].

use crate::{
    bytes::{Malformed, Reader, Writer},
    limits,
    producer::Sent,
};
use std::collections::BTreeSet;

/// Which fork of a mailbox, as whoever forks it says.
pub type ForkId = [u8; 16];

/// When a mailbox ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Never.
    #[default]
    Endless,
    /// `Stream-TTL`: when it was neither read nor written for so many seconds.
    Idle(u64),
    /// `Stream-Expires-At`.
    Until {
        /// Milliseconds since the epoch.
        at_ms: i64,
        /// The same as the client wrote it (RFC 3339), which is what it is told again.
        text: String,
    },
}

/// Where a fork begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `Stream-Forked-From`.
    pub path: String,
    /// From where on in the source it has records of its own.
    pub at: Place,
    /// `Stream-Fork-Sub-Offset`.
    pub sub_offset: u64,
    /// How many forks deep it is itself; its source is one less.
    pub generation: u16,
}

/// A place in a stream that may be a fork: which of its ancestors the record belongs to, 0 for the first, and its offset there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// How many forks deep.
    pub generation: u16,
    /// The offset in the partition of that stream's key.
    pub offset: u64,
}

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// As it was given when the mailbox was created.
    pub content_type: String,
    /// When it ends.
    pub lifetime: Lifetime,
    /// When it was read or written last, in milliseconds since the epoch; not exact to less than a tenth of an idle time.
    pub used_ms: i64,
    /// Whether nothing may be appended any more.
    pub is_closed: bool,
    /// The append by which it was closed, if its producer named itself.
    pub closed_by: Option<Sent>,
    /// The highest `Stream-Seq`.
    pub seq: Option<String>,
    /// Where it was forked from.
    pub origin: Option<Origin>,
    /// Those that were forked from it.
    pub forks: BTreeSet<ForkId>,
    /// It was deleted and is kept for its forks.
    pub is_deleted: bool,
}

const VERSION: u8 = 0;

impl Life {
    /// Of a key that nobody has created and that has records.
    pub fn implied(content_type: &str) -> Self {
        Self::new(content_type, Lifetime::Endless, 0)
    }

    pub(crate) fn new(content_type: &str, lifetime: Lifetime, used_ms: i64) -> Self {
        Self {
            content_type: content_type.to_owned(),
            lifetime,
            used_ms,
            is_closed: false,
            closed_by: None,
            seq: None,
            origin: None,
            forks: BTreeSet::new(),
            is_deleted: false,
        }
    }

    /// How many forks deep it is: to this generation its own records belong.
    pub fn generation(&self) -> u16 {
        self.origin.as_ref().map_or(0, |origin| origin.generation)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        match &self.lifetime {
            Lifetime::Endless => false,
            Lifetime::Idle(seconds) => {
                let ms = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
                now_ms >= self.used_ms.saturating_add(ms)
            }
            Lifetime::Until { at_ms, .. } => now_ms >= *at_ms,
        }
    }

    /// Its bytes: version 0, flags (1 closed, 2 closed by a producer, 4 `Stream-Seq`, 8 forked, 16 deleted), lifetime (0, 1 and seconds, 2
    /// and milliseconds and text), when it was used, content type, then what the flags say, then the forks. Numbers are
    /// unsigned varints, times zigzag; texts have their length before them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        let flags = [
            self.is_closed,
            self.closed_by.is_some(),
            self.seq.is_some(),
            self.origin.is_some(),
            self.is_deleted,
        ];
        out.flags(&flags);
        match &self.lifetime {
            Lifetime::Endless => out.number(0),
            Lifetime::Idle(seconds) => {
                out.number(1);
                out.number(*seconds);
            }
            Lifetime::Until { at_ms, text } => {
                out.number(2);
                out.time(*at_ms);
                out.text(text);
            }
        }
        out.time(self.used_ms);
        out.text(&self.content_type);
        if let Some(sent) = &self.closed_by {
            sent.write(&mut out);
        }
        if let Some(seq) = &self.seq {
            out.text(seq);
        }
        if let Some(origin) = &self.origin {
            out.text(&origin.path);
            out.number(origin.at.generation.into());
            out.number(origin.at.offset);
            out.number(origin.sub_offset);
            out.number(origin.generation.into());
        }
        out.number(self.forks.len() as u64);
        self.forks.iter().for_each(|fork| out.raw(fork));
        out.finish()
    }

    /// Reads what [`Life::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes, VERSION)?;
        let [is_closed, is_closed_by, has_seq, is_fork, is_deleted] = from.flags()?;
        let lifetime = match from.number()? {
            0 => Lifetime::Endless,
            1 => Lifetime::Idle(from.number()?),
            2 => Lifetime::Until { at_ms: from.time()?, text: from.text(limits::EXPIRY_BYTES_MAX)? },
            _ => return Err(Malformed("an unknown lifetime")),
        };
        let mut life = Self::new("", lifetime, from.time()?);
        life.content_type = from.text(limits::CONTENT_TYPE_BYTES_MAX)?;
        (life.is_closed, life.is_deleted) = (is_closed, is_deleted);
        if is_closed_by {
            life.closed_by = Some(Sent::read(&mut from)?);
        }
        if has_seq {
            life.seq = Some(from.text(limits::SEQ_BYTES_MAX)?);
        }
        if is_fork {
            let path = from.text(limits::PATH_BYTES_MAX)?;
            let at = Place { generation: from.small()?, offset: from.number()? };
            let (sub_offset, generation) = (from.number()?, from.small()?);
            life.origin = Some(Origin { path, at, sub_offset, generation });
        }
        for _ in 0..from.count(limits::FORKS_MAX)? {
            life.forks.insert(from.array()?);
        }
        from.finish()?;
        Ok(life)
    }
}

/// The media type without its parameters, in lower case: by this content types are compared. Nothing stands for
/// `application/octet-stream` (RFC 9110, section 8.3).
pub fn media_type(content_type: &str) -> String {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.is_empty() { "application/octet-stream".to_owned() } else { media }
}
