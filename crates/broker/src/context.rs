//! What a handler knows of the request besides its body.

use std::{net::SocketAddr, sync::Arc};

/// Where a request came from and in which version.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The version of the request and of its response.
    pub(crate) version: i16,
    /// What the client calls itself.
    pub(crate) client_id: Option<String>,
    /// The listener that it came in by; the answer names brokers by their endpoints of this name.
    pub(crate) listener: Arc<str>,
    /// The client's address.
    pub(crate) address: SocketAddr,
    /// The connection, among those that are open.
    pub(crate) connection: u64,
}
