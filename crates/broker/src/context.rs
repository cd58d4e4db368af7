//! What a handler knows of the request besides its body.

use crate::{client_info::ClientInfo, pace::Pace};
use std::{net::SocketAddr, sync::Arc};

/// The principal of whoever has not said who it is.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";

/// Where a request came from and in which version.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The version of the request and of its response.
    pub(crate) version: i16,
    /// What the client calls itself.
    pub(crate) client_id: Option<String>,
    /// What it has told of itself besides.
    pub(crate) client: Arc<ClientInfo>,
    /// The name of its principal.
    pub(crate) principal: Arc<str>,
    /// The listener that it came in by; the answer names brokers by their endpoints of this name.
    pub(crate) listener: Arc<str>,
    /// The client's address.
    pub(crate) address: SocketAddr,
    /// How fast its connection may go on.
    pub(crate) pace: Arc<Pace>,
    /// The connection, among those that are open.
    pub(crate) connection: u64,
}
