//! Tokens made for tests, signed with a secret.

use crate::{Keys, base64url};
use aws_lc_rs::hmac;
use serde_json::Value;

/// The secret of [`keys`].
pub const SECRET: &[u8; 32] = b"a secret that only tests know...";

/// A set of keys with [`SECRET`] alone.
pub fn jwks() -> String {
    let secret = base64url::encode(SECRET);
    format!("{{\"keys\": [{{\"kty\": \"oct\", \"kid\": \"one\", \"k\": \"{secret}\"}}]}}")
}

/// The same, read.
pub fn keys() -> Keys {
    Keys::from_jwks(jwks().as_bytes()).unwrap_or_default()
}

/// A token with these claims, by HS256.
pub fn token(claims: &Value) -> String {
    signed(&serde_json::json!({"alg": "HS256"}), claims, SECRET)
}

/// A token with any header and secret, by HS256 whatever the header says.
pub fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64url::encode(signature.as_ref()))
}
