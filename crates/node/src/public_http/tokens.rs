//! Who asks, by tokens that known keys have signed. The file with the keys is looked at again and again, so that keys change without a
//! restart.
//!
//! What a token allows `gateway` says, and whether it is signed `tokens`.

use crate::Error;
use env::{Clock, Disk, Tasks};
use gateway::{Caller, Problem};
use parking_lot::RwLock;
use std::{io, path::PathBuf, sync::Arc};
use tokens::{Claims, Keys, Rules};
use tokio::sync::oneshot;

/// The file with the keys has at most so many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often it is looked at.
const LOOK_MS: i64 = 2_000;

/// What was told of tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenRules {
    /// A JSON Web Key Set; without one nobody is asked for a token, and none is looked at.
    pub(crate) keys_file: Option<PathBuf>,
    /// Whether a request without one is refused.
    pub(crate) is_required: bool,
    /// What a token must be.
    pub(crate) rules: Rules,
}

/// See the head of the file.
pub(crate) struct Tokens {
    told: TokenRules,
    known: RwLock<Arc<Keys>>,
}

impl Tokens {
    /// Reads the keys, if there are to be some.
    pub(crate) fn open(told: &TokenRules, disk: &dyn Disk) -> Result<Arc<Self>, Error> {
        let keys = match &told.keys_file {
            None => Keys::default(),
            Some(path) => {
                let bad = |why: String| Error::Keys { path: path.clone(), why };
                let text = disk
                    .read_small(path, FILE_BYTES_MAX)
                    .map_err(|error| bad(format!("cannot be read: {error}")))?;
                Keys::from_jwks(&text).map_err(|error| bad(format!("cannot be used: {error}")))?
            }
        };
        Ok(Arc::new(Self { told: told.clone(), known: RwLock::new(Arc::new(keys)) }))
    }

    /// Whether what is answered depends on tokens.
    pub(super) fn are_read(&self) -> bool {
        self.told.keys_file.is_some()
    }

    /// Who asks. `None`: anyone may.
    pub(crate) fn caller(&self, token: Option<&str>, now_ms: i64) -> Result<Option<Arc<Caller>>, Problem> {
        if !self.are_read() {
            return Ok(None);
        }
        let Some(token) = token else {
            return if self.told.is_required { Err(Caller::wanted()) } else { Ok(None) };
        };
        let keys = self.known.read().clone();
        let claims = Claims::verify(token, &keys, &self.told.rules, now_ms);
        let Claims { subject, issuer, until_ms, all } =
            claims.map_err(|refused| Caller::refused(&refused.to_string()))?;
        let caller = Caller::new(subject, issuer, until_ms, &all).map_err(|why| Caller::refused(&why))?;
        Ok(Some(Arc::new(caller)))
    }

    /// Looks at the file again and again. Keys that cannot be read leave those that are known.
    pub(super) async fn follow(&self, disk: Arc<dyn Disk>, tasks: Arc<dyn Tasks>, clock: Arc<dyn Clock>) {
        let Some(path) = &self.told.keys_file else { return };
        let mut seen = None;
        loop {
            let (sender, read) = oneshot::channel();
            let (disk, from) = (disk.clone(), path.clone());
            tasks.run_on_lane(Box::new(move || {
                let text =
                    disk.read_small(&from, FILE_BYTES_MAX).map_err(|error: io::Error| error.to_string());
                let _ = sender.send(text);
            }));
            let Ok(read) = read.await else { return };
            if seen.as_ref() != Some(&read) {
                let keys =
                    read.clone().and_then(|text| Keys::from_jwks(&text).map_err(|error| error.to_string()));
                match keys {
                    Ok(keys) => {
                        *self.known.write() = Arc::new(keys);
                        tracing::info!(path = %path.display(), "tokens are verified with the keys of this file");
                    }
                    Err(why) => {
                        let path = path.display();
                        tracing::error!(%path, %why, "the keys for tokens stay what they were; correct the file");
                    }
                }
                seen = Some(read);
            }
            clock.sleep_until(clock.after_millis(LOOK_MS)).await;
        }
    }
}
