//! TLS of a server (RFC 8446, and 1.2 of RFC 5246) by rustls: who it is, read from PEM files, and how that changes while it runs.
//!
//! It opens no file and no socket. TLS 1.3 and 1.2 with the suites of rustls; sessions are resumed by tickets, whose keys only this
//! process has. Early data is not taken: it could be sent twice.

mod identity;
mod server;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use identity::{Identity, Refused};
pub use rustls;
pub use server::Server;

#[cfg(test)]
mod tests;
