//! Who a server is: a chain of certificates and the key of the first.

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// See the head of the file.
#[derive(Debug, Clone)]
pub struct Identity(pub(crate) Arc<CertifiedKey>);

/// Why two files do not say who a server is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The first has no certificate.
    #[error("has no certificate; it begins with -----BEGIN CERTIFICATE-----, the server's own first")]
    NoCertificate,
    /// The first is no PEM.
    #[error("is not readable as PEM: {0}")]
    BadCertificate(String),
    /// The second has no key, or one with a password.
    #[error(
        "has no private key without a password; it begins with -----BEGIN PRIVATE KEY-----, and openssl pkey takes a \
         password away"
    )]
    NoKey,
    /// The second is no PEM, or of a kind that is not known.
    #[error("is not usable as a private key: {0}")]
    BadKey(String),
    /// Each is right, but not with the other.
    #[error("is not the key of the first certificate; renew both together")]
    OtherKey,
}

impl Refused {
    /// Whether it is the file with the key.
    pub fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::BadKey(_) | Self::OtherKey)
    }
}

impl Identity {
    /// From PEM files: a chain of certificates, the server's own first, and its private key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// What is wrong, and with which of the files: [`Refused::is_of_key`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Refused> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| Refused::BadCertificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(Refused::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => Refused::NoKey,
            other => Refused::BadKey(other.to_string()),
        })?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        match certified {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(Refused::OtherKey),
            Err(error @ rustls::Error::InvalidCertificate(_)) => {
                Err(Refused::BadCertificate(error.to_string()))
            }
            Err(error) => Err(Refused::BadKey(error.to_string())),
        }
    }

    /// Whether both are the same chain.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}
