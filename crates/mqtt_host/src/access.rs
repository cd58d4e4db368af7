//! Who a client is and what it may do: the same tokens and grants as over HTTP, with the token as the password.

use gateway::{Author, Caller, Rates, Verb};
use model::TopicName;
use mqtt::{
    codec::Reason,
    session::Publication,
    topics::{Place, Reach},
};
use parking_lot::Mutex;
use std::sync::Arc;

/// Says whose a token is.
pub trait Access: Send + Sync {
    /// Who has this token, or no token. `None`: somebody who may do anything. Else why the token is worth nothing, for people.
    fn caller(&self, token: Option<&str>, now_ms: i64) -> Result<Option<Arc<Caller>>, String>;
}

/// Everybody may do anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everybody;

impl Access for Everybody {
    fn caller(&self, _: Option<&str>, _: i64) -> Result<Option<Arc<Caller>>, String> {
        Ok(None)
    }
}

/// What one client may do.
#[derive(Clone, Default)]
pub(crate) struct Grants(pub(crate) Option<Arc<Caller>>);

impl Grants {
    /// When they end, in milliseconds since 1970.
    pub(crate) fn until_ms(&self) -> Option<i64> {
        self.0.as_ref().map(|caller| caller.until_ms)
    }

    pub(crate) fn author(&self) -> Author {
        let caller = self.0.as_ref();
        Author {
            subject: caller.and_then(|caller| caller.subject.clone()),
            issuer: caller.and_then(|caller| caller.issuer.clone()),
        }
    }

    /// Whose sessions are its own.
    pub(crate) fn subject(&self) -> String {
        let Author { subject, issuer } = self.author();
        match (subject, issuer) {
            (None, None) => String::new(),
            (subject, issuer) => format!("{}\0{}", issuer.unwrap_or_default(), subject.unwrap_or_default()),
        }
    }

    /// Whether a message may be written.
    pub(crate) fn may_write(
        &self,
        publication: &Publication,
        rates: &Mutex<Rates>,
        now: env::Nanos,
    ) -> Result<(), Reason> {
        let is_tombstone = publication.retain && publication.payload.is_empty();
        let verb = if is_tombstone { Verb::Delete } else { Verb::Append };
        self.may(verb, &publication.place, Some(publication.payload.len()), Some((rates, now)))
    }

    /// Whether a will may be left.
    pub(crate) fn may_leave(&self, place: &Place, bytes: usize) -> bool {
        self.may(Verb::Append, place, Some(bytes), None).is_ok()
    }

    fn may(
        &self,
        verb: Verb,
        place: &Place,
        bytes: Option<usize>,
        rates: Option<(&Mutex<Rates>, env::Nanos)>,
    ) -> Result<(), Reason> {
        let Some(caller) = &self.0 else { return Ok(()) };
        let key = place.key.as_ref().map(|key| &key.bytes()[..]);
        let allowed = caller.allow(verb, &place.topic, key).map_err(|_| Reason::NotAuthorized)?;
        if let (Some(bytes), Some(max)) = (bytes, allowed.bytes_max)
            && bytes > max
        {
            return Err(Reason::QuotaExceeded);
        }
        if let (Some((rate, name)), Some((rates, now))) = (allowed.rate, rates)
            && !rates.lock().take("subject", &name, rate, now).is_kept
        {
            return Err(Reason::QuotaExceeded);
        }
        Ok(())
    }

    /// Whether everything within reach may be read. A grant with a rate opens no subscription: nobody counts what comes.
    pub(crate) fn may_read(&self, reach: &Reach) -> bool {
        let Some(caller) = &self.0 else { return true };
        let all = |topic: &TopicName| caller.allow(Verb::Read, topic, None);
        let allowed = match reach {
            Reach::Place(Place { topic, key: Some(key) }) => {
                caller.allow(Verb::Read, topic, Some(key.bytes()))
            }
            Reach::Place(Place { topic, key: None }) | Reach::Topic(topic) => all(topic),
            Reach::Keys { topic, prefix } => caller.allow_keys(Verb::Read, topic, prefix.bytes()),
        };
        allowed.is_ok_and(|allowed| allowed.rate.is_none())
    }
}
