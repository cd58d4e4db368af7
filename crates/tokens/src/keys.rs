//! A set of keys (RFC 7517): which may verify what. What is not understood in it is passed over, as the standard asks; what is meant for
//! tokens and is wrong is told.

use crate::{
    algorithm::{Algorithm, Means, RSA, SECRET},
    base64url,
};
use aws_lc_rs::{
    hmac,
    signature::{ParsedPublicKey, UnparsedPublicKey},
};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// More keys would make a token without a name of its key expensive.
const KEYS_MAX: usize = 16;

/// What the library verifies with.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

/// Why a text is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// It has another form.
    #[error("it is no JSON Web Key Set such as {{\"keys\": [...]}}: {0}")]
    NoSet(String),
    /// One key is wrong.
    #[error("its key {name} {why}")]
    Key {
        /// Its `kid`, or its place.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// There is nothing to verify with.
    #[error(
        "it has no key that can verify tokens (kty oct, RSA, EC with P-256 or P-384, OKP with Ed25519; use sig or none)"
    )]
    NoKey,
    /// There are too many.
    #[error("it has more than {KEYS_MAX} keys that can verify tokens")]
    TooMany,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// A secret, or a public key as the library reads it.
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No secret is shown.
        write!(f, "{:?}: {:?}", self.id, self.algorithms)
    }
}

impl Keys {
    /// Reads a set.
    pub fn from_jwks(text: &[u8]) -> Result<Self, BadKeys> {
        let set: Value = serde_json::from_slice(text).map_err(|error| BadKeys::NoSet(error.to_string()))?;
        let listed = set.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| BadKeys::NoSet("it has no array of keys".to_owned()))?;
        let mut keys = Vec::new();
        for (place, entry) in listed.iter().enumerate() {
            let fields = entry.as_object().ok_or_else(|| BadKeys::NoSet("a key is no object".to_owned()))?;
            let named = text_of(fields, "kid")
                .map_or_else(|| format!("number {}", place + 1), |id| format!("{id:?}"));
            keys.extend(Key::read(fields).map_err(|why| BadKeys::Key { name: named, why })?);
        }
        match keys.len() {
            0 => Err(BadKeys::NoKey),
            count if count > KEYS_MAX => Err(BadKeys::TooMany),
            _ => Ok(Self(keys)),
        }
    }

    /// Whether a key that may be meant has signed a message. `None`: there is no such key.
    pub(crate) fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let is_meant = |key: &&Key| {
            let is_named = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            is_named && key.algorithms.contains(&algorithm)
        };
        let mut meant = self.0.iter().filter(is_meant).peekable();
        meant.peek()?;
        Some(meant.any(|key| match algorithm.means() {
            Means::Secret(hash) => {
                hmac::verify(&hmac::Key::new(hash, &key.bytes), message, signature).is_ok()
            }
            Means::Public(means) => {
                UnparsedPublicKey::new(means, &key.bytes).verify(message, signature).is_ok()
            }
        }))
    }
}

impl Key {
    /// `None`: it is not for the signatures of tokens, or of a kind that is not known.
    fn read(fields: &Map<String, Value>) -> Result<Option<Self>, &'static str> {
        let text = |name: &'static str| text_of(fields, name);
        let verifies = fields
            .get("key_ops")
            .and_then(Value::as_array)
            .is_none_or(|all| all.iter().any(|one| one == "verify" || one == "sign"));
        if text("use").is_some_and(|purpose| purpose != "sig") || !verifies {
            return Ok(None);
        }
        let number = |name| text(name).and_then(base64url::decode).filter(|bytes| !bytes.is_empty());
        let (usual, bytes) = match (text("kty"), text("crv")) {
            (Some("oct"), _) => (SECRET, number("k").ok_or("has no secret k in base64url")?),
            (Some("RSA"), _) => {
                let modulus = number("n").ok_or("has no modulus n in base64url")?;
                if !RSA_BITS.contains(&bits(&modulus)) {
                    return Err("has a modulus of other than 2048 to 8192 bits");
                }
                (RSA, rsa(&modulus, &number("e").ok_or("has no exponent e in base64url")?))
            }
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let (algorithm, length): (&[_], _) = match curve {
                    "P-256" => (&[Algorithm::Es256], 32),
                    _ => (&[Algorithm::Es384], 48),
                };
                let coordinate = |name| number(name).filter(|bytes| bytes.len() == length);
                let x = coordinate("x").ok_or("has no coordinate x of the length of its curve")?;
                let y = coordinate("y").ok_or("has no coordinate y of the length of its curve")?;
                (algorithm, [&[4][..], &x, &y].concat())
            }
            (Some("OKP"), Some("Ed25519")) => {
                let x = number("x").filter(|bytes| bytes.len() == 32);
                (&[Algorithm::EdDsa][..], x.ok_or("has no public key x of 32 bytes")?)
            }
            (Some(_), _) => return Ok(None),
            (None, _) => return Err("has no kty"),
        };
        let algorithms = match text("alg") {
            None => usual.to_vec(),
            Some(name) => match Algorithm::from_name(name) {
                Some(algorithm) if usual.contains(&algorithm) => vec![algorithm],
                Some(_) => return Err("has an alg that does not go with its kty"),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { id: text("kid").map(str::to_owned), algorithms, bytes }.checked()?))
    }

    /// Without the algorithms for which it is too short.
    fn checked(mut self) -> Result<Self, &'static str> {
        let length = self.bytes.len();
        self.algorithms.retain(|algorithm| match algorithm.means() {
            Means::Secret(_) => length >= algorithm.secret_bytes_min(),
            Means::Public(_) => true,
        });
        let Some(first) = self.algorithms.first() else {
            return Err(
                "is too short: as many bytes as its hash has, so 32 for HS256, 48 for HS384, 64 for HS512",
            );
        };
        match first.means() {
            Means::Public(means) if ParsedPublicKey::new(means, &self.bytes).is_err() => {
                Err("is no public key")
            }
            _ => Ok(self),
        }
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// How long a number is.
fn bits(number: &[u8]) -> usize {
    let mut bare = number.iter().skip_while(|byte| **byte == 0);
    let first = bare.next().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    first + 8 * bare.count()
}

/// An RSA public key in DER (RFC 8017, appendix A.1.1).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bare = bytes.get(zeros..).unwrap_or_default();
        // The first bit would be a sign.
        let sign: &[u8] = if bare.first().is_none_or(|byte| *byte > 127) { &[0] } else { &[] };
        der(2, &[sign, bare].concat())
    };
    der(0x30, &[integer(modulus), integer(exponent)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let head = match content.len() {
        short @ 0..=127 => vec![tag, short as u8],
        _ => [&[tag, 0x80 | length.len() as u8][..], length].concat(),
    };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests;
