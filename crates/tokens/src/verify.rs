//! One token: taken apart, its signature verified, and only then what it says looked at.
//!
//! The header is the word of whoever made the token. It chooses among the keys that are known; it brings none, and a key never does what
//! another kind of key does.

use crate::{algorithm::Algorithm, base64url, keys::Keys};
use serde_json::{Map, Value};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest name of who it is about, or of who says so.
const NAME_BYTES_MAX: usize = 512;

/// What a token must be besides signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Who may have issued it; empty for anyone who has a key.
    pub issuers: Vec<String>,
    /// Whom it may be meant for; empty: only for nobody in particular.
    pub audiences: Vec<String>,
    /// How far clocks may be apart.
    pub leeway_seconds: u32,
}

/// What a token says that may be believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `sub`: who has it.
    pub subject: Option<String>,
    /// `iss`: who says so.
    pub issuer: Option<String>,
    /// From when on it is worth nothing, in milliseconds since 1970.
    pub until_ms: i64,
    /// Everything.
    pub all: Map<String, Value>,
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none.
    #[error("it is no signed JSON Web Token: {0}")]
    Malformed(&'static str),
    /// It is signed by no algorithm that is taken.
    #[error(
        "its alg is none that is taken: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"
    )]
    Algorithm,
    /// It wants something to be understood that is not.
    #[error("its header has a crit, and no extension is understood")]
    Critical,
    /// Nobody who is known has signed it.
    #[error("no known key has its kid and can be used with its alg")]
    NoKey,
    /// It was changed, or signed by somebody else.
    #[error("its signature does not verify")]
    Signature,
    /// It has no `exp`.
    #[error("it has no exp; tokens end")]
    Endless,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet (nbf)")]
    Early,
    /// Somebody else issued it.
    #[error("its iss is none that is accepted here")]
    Issuer,
    /// It is meant for somebody else.
    #[error("its aud is none of this server")]
    Audience,
}

impl Claims {
    /// Verifies a token in the compact form (RFC 7515, section 7.1).
    pub fn verify(token: &str, keys: &Keys, rules: &Rules, now_ms: i64) -> Result<Self, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Malformed("it is longer than 8 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed("it has three parts with dots between them"));
        };
        let header = object(head)?;
        let id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Refused::Malformed("its kid is no text")),
        };
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
        let algorithm = algorithm.ok_or(Refused::Algorithm)?;
        if header.contains_key("crit") {
            return Err(Refused::Critical);
        }
        let signature =
            base64url::decode(signature).ok_or(Refused::Malformed("its signature is no base64url"))?;
        let message = token.get(..head.len() + 1 + body.len()).unwrap_or_default();
        match keys.verify(id, algorithm, message.as_bytes(), &signature) {
            None => Err(Refused::NoKey),
            Some(false) => Err(Refused::Signature),
            Some(true) => Self::read(object(body)?, rules, now_ms),
        }
    }

    fn read(all: Map<String, Value>, rules: &Rules, now_ms: i64) -> Result<Self, Refused> {
        let leeway = i64::from(rules.leeway_seconds) * 1000;
        let until = time(&all, "exp")?.ok_or(Refused::Endless)?.saturating_add(leeway);
        if until <= now_ms {
            return Err(Refused::Expired);
        }
        if time(&all, "nbf")?.is_some_and(|from| from.saturating_sub(leeway) > now_ms) {
            return Err(Refused::Early);
        }
        let (subject, issuer) = (name(&all, "sub")?, name(&all, "iss")?);
        let is_accepted = |issuer: &String| rules.issuers.contains(issuer);
        if !rules.issuers.is_empty() && !issuer.as_ref().is_some_and(is_accepted) {
            return Err(Refused::Issuer);
        }
        let is_own =
            |one: &Value| one.as_str().is_some_and(|one| rules.audiences.iter().any(|own| own == one));
        let is_meant = match all.get("aud") {
            None => rules.audiences.is_empty(),
            Some(Value::Array(several)) => several.iter().any(is_own),
            Some(one) => is_own(one),
        };
        if !is_meant {
            return Err(Refused::Audience);
        }
        Ok(Self { subject, issuer, until_ms: until, all })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = base64url::decode(part).ok_or(Refused::Malformed("a part of it is no base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Malformed("a part of it is no JSON object"))
}

/// Seconds since 1970, whole or not, as milliseconds.
fn time(all: &Map<String, Value>, name: &str) -> Result<Option<i64>, Refused> {
    match all.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|seconds| seconds.is_finite()) {
            // Times that are too far away for the type are as far as it goes.
            Some(seconds) => Ok(Some((seconds * 1000.0) as i64)),
            None => Err(Refused::Malformed("exp and nbf are numbers of seconds since 1970")),
        },
    }
}

fn name(all: &Map<String, Value>, name: &str) -> Result<Option<String>, Refused> {
    match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() || text.len() > NAME_BYTES_MAX => {
            Err(Refused::Malformed("sub and iss have 1 to 512 bytes"))
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refused::Malformed("sub and iss are texts")),
    }
}

#[cfg(test)]
mod tests;
