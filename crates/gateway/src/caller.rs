//! Who asks, as a verified token says, and what that allows: the claim `od`, an array of grants.
//!
//! Whether the token is to be believed is known before. A grant that is not understood to the last word allows nothing: what was
//! overlooked could be a restriction.

mod grant;

use crate::problem::Problem;
use bytes::Bytes;
use grant::Grant;
pub use grant::{Allowed, Verb};
use http::StatusCode;
use mailbox::headers;
use model::TopicName;
use records::Header;
use serde_json::{Map, Value, json};

/// The claim.
const CLAIM: &str = "od";
/// More grants than these are no list that somebody wrote.
const GRANTS_MAX: usize = 64;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `sub`, if it has one.
    pub subject: Option<String>,
    /// `iss`, if it has one.
    pub issuer: Option<String>,
    /// From when on it may nothing any more, in milliseconds since 1970.
    pub until_ms: i64,
    grants: Vec<Grant>,
}

/// Whose records they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// `sub`.
    pub subject: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
}

impl Author {
    /// What each record says of it.
    pub fn headers(&self) -> Vec<Header> {
        let said = [(headers::SUBJECT, &self.subject), (headers::ISSUER, &self.issuer)];
        let header = |(name, text): (&'static str, &Option<String>)| {
            let value = Some(Bytes::from(text.clone()?.into_bytes()));
            Some(Header { key: Bytes::from_static(name.as_bytes()), value })
        };
        said.into_iter().filter_map(header).collect()
    }
}

impl Caller {
    /// What a token allows, by all of its claims; or what is wrong with them.
    pub fn new(
        subject: Option<String>,
        issuer: Option<String>,
        until_ms: i64,
        claims: &Map<String, Value>,
    ) -> Result<Self, String> {
        let listed = match claims.get(CLAIM) {
            None => &[][..],
            Some(Value::Array(listed)) if listed.len() <= GRANTS_MAX => listed,
            Some(_) => return Err(format!("its claim {CLAIM} is an array of at most {GRANTS_MAX} grants")),
        };
        let grants = listed.iter().enumerate().map(|(place, listed)| {
            Grant::read(listed, claims)
                .map_err(|why| format!("grant {} of its claim {CLAIM} {why}", place + 1))
        });
        let mut grants = grants.collect::<Result<Vec<_>, _>>()?;
        for grant in &mut grants {
            grant.counts_for(issuer.as_deref(), subject.as_deref());
        }
        Ok(Self { subject, issuer, until_ms, grants })
    }

    /// Whether it may do that with a key, or with all of a topic: the first grant that fits says how.
    pub fn allow(&self, verb: Verb, topic: &TopicName, key: Option<&[u8]>) -> Result<Allowed, Problem> {
        let grant = self.grants.iter().find(|grant| grant.fits(verb, topic, key));
        grant.map(Grant::allowed).ok_or_else(|| {
            let key = key.map_or("*".into(), |key| String::from_utf8_lossy(key));
            Self::not_granted(verb, topic, &key)
        })
    }

    /// The same with all keys of a topic that begin so.
    pub fn allow_keys(&self, verb: Verb, topic: &TopicName, prefix: &[u8]) -> Result<Allowed, Problem> {
        let grant = self.grants.iter().find(|grant| grant.fits_keys(verb, topic, prefix));
        grant
            .map(Grant::allowed)
            .ok_or_else(|| Self::not_granted(verb, topic, &format!("{}*", String::from_utf8_lossy(prefix))))
    }

    fn not_granted(verb: Verb, topic: &TopicName, key: &str) -> Problem {
        let missing = json!({"do": [verb.name()], "topic": topic.to_string(), "key": key});
        let text = format!("the token does not allow this; its claim {CLAIM} has no grant such as {missing}");
        // No header has all characters that a key may have.
        let told = "Bearer realm=\"odradek\", error=\"insufficient_scope\"";
        Problem::new(StatusCode::FORBIDDEN, "not-granted", text).with("www-authenticate", told)
    }

    /// The same with some key of the topic: the first grant of the topic says how often. How large each of them may be is known with its key.
    pub(crate) fn allow_some_key(&self, verb: Verb, topic: &TopicName) -> Result<Allowed, Problem> {
        match self.grants.iter().find(|grant| grant.fits_some_key(verb, topic)) {
            Some(grant) => Ok(Allowed { bytes_max: None, ..grant.allowed() }),
            None => self.allow(verb, topic, None),
        }
    }

    /// 401 once its time is over.
    pub(crate) fn check_time(&self, now_ms: i64) -> Result<(), Problem> {
        match now_ms < self.until_ms {
            true => Ok(()),
            false => Err(Self::refused("it has expired")),
        }
    }

    /// 401 for a token that is worth nothing.
    pub fn refused(why: &str) -> Problem {
        let problem =
            Problem::new(StatusCode::UNAUTHORIZED, "bad-token", format!("the token is refused: {why}"));
        // What a quoted text of a header may have (RFC 6750, section 3).
        let is_plain = |byte: char| matches!(byte, ' '..='~') && byte != '"' && byte != '\\';
        let why: String = why.chars().map(|byte| if is_plain(byte) { byte } else { '\'' }).collect();
        let told = format!("Bearer realm=\"odradek\", error=\"invalid_token\", error_description=\"{why}\"");
        problem.with("www-authenticate", told)
    }

    /// 401 for a request without one.
    pub fn wanted() -> Problem {
        let text = "a token is wanted: Authorization: Bearer, or with GET ?token=, or the cookie that the server reads";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "no-token", text);
        problem.with("www-authenticate", "Bearer realm=\"odradek\"")
    }

    /// Whose records are those that it writes.
    pub(crate) fn author(&self) -> Author {
        Author { subject: self.subject.clone(), issuer: self.issuer.clone() }
    }
}

#[cfg(test)]
mod tests;
