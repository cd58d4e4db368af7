//! What is known of one producer of a mailbox, and what it said with an append.

use crate::{
    Refusal,
    bytes::{Malformed, Reader, Writer},
    limits,
};

/// `Producer-Id`, `Producer-Epoch` and `Producer-Seq` of one append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Chosen by the client; not empty.
    pub id: String,
    /// Grows with each life of the client.
    pub epoch: u64,
    /// Counts appends within an epoch, from 0.
    pub seq: u64,
}

/// The newest append of a producer that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Which one: where it is looked up by a hash of its id two may meet.
    pub sent: Sent,
}

/// What is to be done with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Next,
    /// It is there already.
    Again,
    StaleEpoch,
    /// It was another request that is known under its key.
    OtherRequest,
    /// A new epoch begins with another number than 0.
    NotFirst,
    Gap {
        expected: u64,
    },
}

const VERSION: u8 = 0;
/// What the id of a request begins with that is to be taken once: no header can bring it.
const ONCE: char = '\u{1}';

impl Producer {
    pub(crate) fn judge(known: Option<&Producer>, sent: &Sent) -> Verdict {
        let Some(known) = known.filter(|known| known.sent.id == sent.id) else {
            return if sent.seq == 0 { Verdict::Next } else { Verdict::Gap { expected: 0 } };
        };
        let last = &known.sent;
        if sent.is_once() && sent != last {
            return Verdict::OtherRequest;
        }
        match sent.epoch.cmp(&last.epoch) {
            std::cmp::Ordering::Less => Verdict::StaleEpoch,
            std::cmp::Ordering::Greater if sent.seq == 0 => Verdict::Next,
            std::cmp::Ordering::Greater => Verdict::NotFirst,
            std::cmp::Ordering::Equal if sent.seq <= last.seq => Verdict::Again,
            std::cmp::Ordering::Equal if sent.seq == last.seq + 1 => Verdict::Next,
            std::cmp::Ordering::Equal => Verdict::Gap { expected: last.seq + 1 },
        }
    }

    /// Its bytes: version 0, id with its length before it, epoch, sequence; numbers are unsigned varints.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        self.sent.write(&mut out);
        out.finish()
    }

    /// Reads what [`Producer::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes, VERSION)?;
        let sent = Sent::read(&mut from)?;
        from.finish()?;
        Ok(Self { sent })
    }
}

impl Sent {
    /// A request that is to be taken once: a producer that never sends another one (docs/decisions/0024). `name` is that of the request, and
    /// `fingerprint` tells it from another one of the same name.
    pub fn once(name: &str, fingerprint: u64) -> Self {
        Self { id: format!("{ONCE}{name}"), epoch: fingerprint & limits::NUMBER_MAX, seq: 0 }
    }

    /// Whether it is such a request.
    pub fn is_once(&self) -> bool {
        self.id.starts_with(ONCE)
    }

    /// Whether such a request was taken already, by what is known of it.
    pub fn was_taken(&self, known: Option<&Producer>) -> Result<bool, Refusal> {
        match Producer::judge(known, self) {
            Verdict::Next => Ok(false),
            Verdict::Again => Ok(true),
            _ => Err(Refusal::OtherRequest),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.text(&self.id);
        out.number(self.epoch);
        out.number(self.seq);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = from.text(limits::PRODUCER_ID_BYTES_MAX)?;
        let (epoch, seq) = (from.number()?, from.number()?);
        if id.is_empty() || epoch > limits::NUMBER_MAX || seq > limits::NUMBER_MAX {
            return Err(Malformed("a producer that none can be"));
        }
        Ok(Self { id, epoch, seq })
    }
}
