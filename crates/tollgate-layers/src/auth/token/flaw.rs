//! Why a token is refused. Holds nothing of the token: it becomes evidence.

/// What is wrong with a token, a proof or a key binding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// `alg` is none of ours, or not allowed for its issuer, or not that of its key.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// `aud` does not name us.
    #[error("it is for another audience")]
    Audience,
    /// A segment is not base64url as RFC 7515 writes it.
    #[error("a segment is not strict base64url")]
    Base64,
    /// A claim that is needed is missing.
    #[error("the claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// A claim has another type than it must have, or is too long.
    #[error("the claim `{0}` is not what it must be")]
    ClaimWrong(&'static str),
    /// `crit` asks for something that is not understood here: nothing is.
    #[error("its header names extensions that are critical")]
    Critical,
    /// It is encrypted, or a token stands in a token.
    #[error("it is encrypted or nested")]
    Encrypted,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `iat` or `nbf` is ahead of us.
    #[error("it is from the future")]
    Future,
    /// The issuer says that it is not active.
    #[error("its issuer says that it is not active")]
    Inactive,
    /// No issuer of that name is configured.
    #[error("its issuer is not one of `auth.issuers`")]
    Issuer,
    /// The header or the claims are not strict JSON.
    #[error("its header or its claims are not strict JSON")]
    Json,
    /// `kid` is too long or holds other signs.
    #[error("its `kid` is no name of a key")]
    KeyId,
    /// No key fits.
    #[error("its issuer has no such key")]
    KeyUnknown,
    /// It lives longer than a token may.
    #[error("it lives longer than 24 hours")]
    Lifetime,
    /// It is longer than a token may be.
    #[error("it is longer than 8 KiB")]
    Long,
    /// A proof cannot be checked without knowing our own address.
    #[error("proofs of possession are not accepted: `auth.resource` is not set, or `auth.dpop` is off")]
    NoResource,
    /// No rule makes a tenant of its claims.
    #[error("its claims name no tenant")]
    NoTenant,
    /// It is bound to a certificate, and another one or none was shown.
    #[error("it is bound to another certificate")]
    OtherCertificate,
    /// It is bound to a key, and no proof came with it.
    #[error("it is bound to a key, and no proof of that came with it")]
    Proof,
    /// The proof of possession was used before.
    #[error("its proof was used before")]
    ProofAgain,
    /// The proof of possession is that of another key, or none was asked for.
    #[error("it is not bound to the key of its proof")]
    ProofKey,
    /// The proof of possession is for another request or another token.
    #[error("its proof is for another request or another token")]
    ProofOther,
    /// The proof of possession is too old, or from the future.
    #[error("its proof is not of now")]
    ProofTime,
    /// The proof of possession is no such proof, or its signature is wrong.
    #[error("its proof is none")]
    ProofWrong,
    /// It is not made of three segments.
    #[error("it is not made of three segments")]
    Segments,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// `typ` is not one that its issuer uses for access tokens.
    #[error("its type is not that of an access token")]
    Type,
}
