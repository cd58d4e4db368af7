//! Who the public port is under TLS. The files are looked at again and again, so that certificates are renewed without a restart.
//!
//! What makes a certificate and a key `tls` says.

use crate::Error;
use env::{Clock, Disk, Tasks};
use std::{io, path::PathBuf, sync::Arc};
use tls::{Identity, Server};
use tokio::sync::oneshot;

/// Each file has at most so many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often they are looked at.
const LOOK_MS: i64 = 2_000;
/// What is spoken (ALPN), the first rather than the last.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The files: a chain of certificates, and the key of the first; both or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// See the head of the file.
pub(crate) struct Certificates {
    told: Option<(Files, Server)>,
}

/// Both files.
type Read = (Vec<u8>, Vec<u8>);

impl Certificates {
    /// Reads them, if there are to be some.
    pub(crate) fn open(files: Option<&Files>, disk: &dyn Disk) -> Result<Self, Error> {
        let Some(files) = files else { return Ok(Self { told: None }) };
        let identity = files.read(disk).and_then(|read| files.identity(&read));
        let server = identity.and_then(|identity| {
            Server::new(identity, PROTOCOLS).map_err(|error| (files.key.clone(), error.to_string()))
        });
        let server = server.map_err(|(path, why)| Error::Certificates { path, why })?;
        Ok(Self { told: Some((files.clone(), server)) })
    }

    /// What connections are begun with.
    pub(super) fn server(&self) -> Option<&Server> {
        self.told.as_ref().map(|(_, server)| server)
    }

    /// Looks at the files again and again. What cannot be used leaves what was known: while both are being replaced, one may not be
    /// that of the other.
    pub(super) async fn follow(&self, disk: Arc<dyn Disk>, tasks: Arc<dyn Tasks>, clock: Arc<dyn Clock>) {
        let Some((files, server)) = &self.told else { return };
        let mut seen = None;
        loop {
            let (sender, read) = oneshot::channel();
            let (disk, from) = (disk.clone(), files.clone());
            tasks.run_on_lane(Box::new(move || {
                let _ = sender.send(from.read(disk.as_ref()));
            }));
            let Ok(read) = read.await else { return };
            if seen.as_ref() != Some(&read) {
                match read.clone().and_then(|read| files.identity(&read)) {
                    Ok(identity) => {
                        server.replace(identity);
                        tracing::info!(path = %files.certificate.display(), "TLS begins with the certificate of this file");
                    }
                    Err((path, why)) => {
                        tracing::error!("{} {why}; the certificate stays what it was", path.display());
                    }
                }
                seen = Some(read);
            }
            clock.sleep_until(clock.after_millis(LOOK_MS)).await;
        }
    }
}

impl Files {
    fn read(&self, disk: &dyn Disk) -> Result<Read, (PathBuf, String)> {
        let read = |path: &PathBuf| {
            let bytes = disk.read_small(path, FILE_BYTES_MAX);
            bytes.map_err(|error: io::Error| (path.clone(), format!("cannot be read: {error}")))
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn identity(&self, (certificate, key): &Read) -> Result<Identity, (PathBuf, String)> {
        Identity::from_pem(certificate, key).map_err(|refused| {
            let path = if refused.is_of_key() { &self.key } else { &self.certificate };
            (path.clone(), refused.to_string())
        })
    }
}
