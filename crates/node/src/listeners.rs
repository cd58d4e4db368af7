//! Listeners: Kafka's `listeners` and `advertised.listeners`, and the loop that accepts connections.
//!
//! It serves no connection; the broker does, behind its door.

use crate::{
    Error,
    settings::{Keys, LISTENERS},
    system,
};
use broker::Door;
use env::Incoming;
use metadata::Endpoint;
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// `NAME://host:port`, or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerAddress {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An open listener.
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) listener: TcpListener,
}

/// The number of PLAINTEXT in Kafka's list of security protocols.
const SECURITY_PLAINTEXT: i16 = 0;

impl ListenerAddress {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("listener '{text}' {why}; write it as NAME://host:port");
        let (name, rest) = text.split_once("://").ok_or_else(|| wrong("has no ://"))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong("has no port between 0 and 65535"))?;
        Ok(Self { name: name.to_uppercase(), host: host.to_owned(), port })
    }

    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Self::parse).collect()
    }

    fn resolve(&self) -> io::Result<SocketAddr> {
        let host = if self.host.is_empty() { "0.0.0.0" } else { &self.host };
        let mut addresses = (host, self.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
    }

    /// Opens the listener that `listeners` names.
    pub(crate) fn bind(&self) -> Result<Listener, Error> {
        self.bind_for(LISTENERS)
    }

    /// Opens the listener that these keys name.
    pub(crate) fn bind_for(&self, (key, told): Keys) -> Result<Listener, Error> {
        let fail = |address, error| Error::Listen { name: self.name.clone(), address, error, key };
        let (name, host, port) = (self.name.clone(), self.host.clone(), self.port);
        let address =
            self.resolve().map_err(|error| Error::Unresolved { name, host, port, error, key, told })?;
        let listener = system::bind(address).map_err(|error| fail(address, error))?;
        let address = listener.local_addr().map_err(|error| fail(address, error))?;
        Ok(Listener { name: self.name.clone(), address, listener })
    }
}

impl Listener {
    /// What clients are told: the advertised address of the same name, else the one that is listened on.
    pub(crate) fn endpoint(&self, advertised: &[ListenerAddress]) -> Endpoint {
        let told = advertised.iter().find(|told| told.name == self.name);
        let host = match told {
            Some(told) if !told.host.is_empty() => told.host.clone(),
            _ if self.address.ip().is_unspecified() => host_name(),
            _ => self.address.ip().to_string(),
        };
        let port = told.map(|told| told.port).filter(|port| *port != 0).unwrap_or(self.address.port());
        Endpoint { name: self.name.clone(), host, port, security: SECURITY_PLAINTEXT }
    }

    /// What other nodes are told.
    pub(crate) fn controller_endpoint(&self, advertised: &[ListenerAddress]) -> quorum::Endpoint {
        let Endpoint { name, host, port, .. } = self.endpoint(advertised);
        quorum::Endpoint { name, host, port }
    }

    /// Accepts connections until the task is dropped.
    pub(crate) async fn accept(self, door: Arc<Door>, tasks: Arc<dyn env::Tasks>) {
        loop {
            match system::accept(&self.listener).await {
                Ok(socket) => {
                    let incoming = Incoming { listener: self.name.clone(), connection: Box::new(socket) };
                    tasks.spawn(Box::pin(door.clone().serve(incoming)));
                }
                Err(error) => {
                    // Out of descriptors, most likely: those that are served go on, new ones wait in the kernel.
                    tracing::warn!(listener = %self.name, %error, "a connection could not be accepted; see ulimit -n");
                    pause().await;
                }
            }
        }
    }
}

/// What is wrong with what others are told of a listener: its name may be one that only they know, so it is no error.
pub(crate) async fn unresolved(name: &str, host: &str, port: u16) -> Option<String> {
    let error = tokio::net::lookup_host((host, port)).await.err()?;
    Some(format!(
        "{name} is to be reached at {host}:{port}, a name that has no address on this machine ({error}); correct \
         advertised.listeners, unless clients and the other nodes know it"
    ))
}

#[allow(clippy::disallowed_methods, reason = "node is where time is real")]
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_in_kafkas_form() {
        let read = |text| ListenerAddress::parse(text);
        let plain = read("PLAINTEXT://127.0.0.1:9092").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("127.0.0.1", 9092));
        assert_eq!(read("internal://:0").unwrap().name, "INTERNAL");
        assert_eq!(read("A://[::1]:5").unwrap().host, "::1");
        for wrong in ["127.0.0.1:9092", "A://host", "A://host:99999", "A://host:x"] {
            assert!(read(wrong).unwrap_err().contains("NAME://host:port"), "{wrong}");
        }
        assert_eq!(ListenerAddress::parse_list("A://:1, B://:2").unwrap().len(), 2);
    }

    #[test]
    fn a_listener_whose_host_has_no_address_is_named_with_the_remedy() {
        let listener = ListenerAddress::parse("CONTROLLER://nowhere.invalid:9093").unwrap();
        let told = listener.bind().err().unwrap().to_string();
        assert!(told.starts_with("CONTROLLER cannot listen on nowhere.invalid:9093: "), "{told}");
        assert!(told.contains("advertised.listeners") && told.contains("CONTROLLER://:9093"), "{told}");
    }

    #[tokio::test]
    async fn what_others_are_told_is_doubted_if_it_has_no_address_here() {
        assert_eq!(unresolved("PLAINTEXT", "127.0.0.1", 9092).await, None);
        let told = unresolved("PLAINTEXT", "nowhere.invalid", 9092).await.unwrap();
        assert!(told.starts_with("PLAINTEXT is to be reached at nowhere.invalid:9092, "), "{told}");
        assert!(told.contains("correct advertised.listeners"), "{told}");
    }
}
