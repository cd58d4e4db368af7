//! Why a node does not start. Every text names the remedy.

use std::{io, net::SocketAddr, path::PathBuf};

/// A reason not to start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys or values are wrong; all of them at once.
    #[error("the configuration is wrong:\n{}", .0.iter().map(|one| format!("  - {one}")).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<String>),
    /// A file of configuration cannot be read.
    #[error("{path} cannot be read: {error}; name an existing file with --config")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The keys for tokens cannot be used.
    #[error("{path} {why}; name a JSON Web Key Set in odradek.gateway.tokens.keys.file")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The certificate of the public port, or its key, cannot be used.
    #[error(
        "{path} {why}; name PEM files in odradek.gateway.tls.certificate.file and odradek.gateway.tls.key.file", path = path.display()
    )]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A listener cannot be opened.
    #[error(
        "{name} cannot listen on {address}: {error}; stop what uses the port, or choose another with {key}"
    )]
    Listen {
        /// The listener's name.
        name: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
        /// The key that sets it.
        key: &'static str,
    },
    /// The name of a listener's host has no address here.
    #[error(
        "{name} cannot listen on {host}:{port}: {error}; give {name} in {key} an address of this machine, or none for all of \
         them, as in {name}://:{port}, and what others call it in {told}"
    )]
    Unresolved {
        /// The listener's name.
        name: String,
        /// What it calls its host.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        error: io::Error,
        /// The key that names it.
        key: &'static str,
        /// The key that says what others call it.
        told: &'static str,
    },
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] broker::StartError),
    /// The operating system refused something else.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}
