//! What each connection is begun with. Who the server is may change meanwhile: the next connection is begun as the new one.

use crate::Identity;
use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// See the head of the file.
#[derive(Debug, Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Identity>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().0.clone())
    }
}

impl Server {
    /// A server that speaks `protocols` (ALPN, RFC 7301), the first rather than the last. A client that names others only is refused;
    /// one that names none is not.
    ///
    /// # Errors
    /// The library has no random numbers, or no suite.
    pub fn new(identity: Identity, protocols: &[&[u8]]) -> Result<Self, rustls::Error> {
        let current = Arc::new(Current(RwLock::new(identity)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // One is enough for a client that comes again.
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), current })
    }

    /// What connections are begun with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// It is this one from the next connection on.
    pub fn replace(&self, identity: Identity) {
        *self.current.0.write() = identity;
    }
}
