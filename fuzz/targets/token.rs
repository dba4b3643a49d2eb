//! Any bytes as a token, as a proof that goes with a good one, and as the key set of an issuer.

use std::sync::OnceLock;

use tollgate_layers::auth::{FuzzedTokens, KeySet};

/// None is ever accepted: nobody has the key. A key set that is taken holds a key.
pub(crate) fn run(data: &[u8]) {
    static TOKENS: OnceLock<FuzzedTokens> = OnceLock::new();
    TOKENS.get_or_init(FuzzedTokens::default).refuse(data);
    if let Ok((set, left_out)) = KeySet::parse(data, 0) {
        assert!(!set.is_empty() || !left_out.is_empty());
    }
}
