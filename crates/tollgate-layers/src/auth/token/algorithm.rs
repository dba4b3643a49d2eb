//! The algorithms of signatures: a closed list, all of them asymmetric. Knows no tokens.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, VerificationAlgorithm,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// How tokens may be signed. Secrets that are shared with an issuer (`HS256`) are not offered: whoever can check such a
/// token can also make one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Ed25519: `EdDSA`, or `Ed25519` as RFC 9864 writes it.
    Eddsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Eddsa, Self::Es256, Self::Es384, Self::Ps256, Self::Rs256];
    /// What is allowed unless an issuer says otherwise.
    pub const USUAL: [Self; 4] = [Self::Eddsa, Self::Es256, Self::Ps256, Self::Rs256];

    /// Reads the word of a header: exactly, because `None`, `nOnE` and `es256` are other words.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "EdDSA" | "Ed25519" => Some(Self::Eddsa),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "PS256" => Some(Self::Ps256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    /// The word of a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eddsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Eddsa => &ED25519,
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    pub(super) fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Eddsa | Self::Es256 | Self::Es384 => None,
        }
    }
}
