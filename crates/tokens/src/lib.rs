//! JSON Web Tokens (RFC 7519): which keys may sign them, whether one is signed by such a key, and whether it may be used now and here.
//!
//! It signs nothing, reads no file and keeps no time. What the claims of a token allow is not known here.

mod algorithm;
mod base64url;
mod keys;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verify;

pub use keys::{BadKeys, Keys};
pub use verify::{Claims, Refused, Rules};
