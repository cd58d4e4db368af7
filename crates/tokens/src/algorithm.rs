//! The algorithms by which tokens may be signed (RFC 7518, section 3; RFC 8037), each bound to one kind of key: what a token says of itself
//! never makes a public key a secret.

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
    },
};

/// A name that a token or a key may have as `alg`. `none` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

use Algorithm as A;

/// Those of a secret.
pub(crate) const SECRET: &[Algorithm] = &[A::Hs256, A::Hs384, A::Hs512];
/// Those of an RSA key.
pub(crate) const RSA: &[Algorithm] = &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512];

/// How a signature is verified.
pub(crate) enum Means {
    Secret(hmac::Algorithm),
    Public(&'static dyn VerificationAlgorithm),
}

impl Algorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => A::Hs256,
            "HS384" => A::Hs384,
            "HS512" => A::Hs512,
            "RS256" => A::Rs256,
            "RS384" => A::Rs384,
            "RS512" => A::Rs512,
            "PS256" => A::Ps256,
            "PS384" => A::Ps384,
            "PS512" => A::Ps512,
            "ES256" => A::Es256,
            "ES384" => A::Es384,
            // The second is its name of its own (RFC 9864).
            "EdDSA" | "Ed25519" => A::EdDsa,
            _ => return None,
        })
    }

    pub(crate) fn means(self) -> Means {
        Means::Public(match self {
            A::Hs256 => return Means::Secret(hmac::HMAC_SHA256),
            A::Hs384 => return Means::Secret(hmac::HMAC_SHA384),
            A::Hs512 => return Means::Secret(hmac::HMAC_SHA512),
            A::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            A::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            A::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            A::Ps256 => &RSA_PSS_2048_8192_SHA256,
            A::Ps384 => &RSA_PSS_2048_8192_SHA384,
            A::Ps512 => &RSA_PSS_2048_8192_SHA512,
            A::Es256 => &ECDSA_P256_SHA256_FIXED,
            A::Es384 => &ECDSA_P384_SHA384_FIXED,
            A::EdDsa => &ED25519,
        })
    }

    /// How long a secret must be at least (RFC 7518, section 3.2): as long as the hash.
    pub(crate) fn secret_bytes_min(self) -> usize {
        match self {
            A::Hs384 => 48,
            A::Hs512 => 64,
            _ => 32,
        }
    }
}
