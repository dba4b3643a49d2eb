//! Keys: a keyed hash and the class that says where the balance lives. No key ever holds a name.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// Whose balance, as a keyed hash.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// A keyed 64-bit hash of policy and scope, as [`hash_key`] makes it.
    pub hash: u64,
    /// Whether the set of such keys is known or open-ended.
    pub class: KeyClass,
}

/// Who decides how many keys there are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyClass {
    /// The configuration does: tenants, API keys, models. Such a key has an exact cell of its own.
    Configured,
    /// The callers do: addresses, token subjects. Such keys share a table of fixed size.
    Open,
    /// The configuration does, and several nodes share the balance: see [`Lease`](crate::Lease). In one [`Memory`] alone
    /// it is as good as `Configured`.
    ///
    /// [`Memory`]: crate::Memory
    Shared {
        /// Keys of one tag are kept together by a store that is spread over several servers.
        tag: u32,
        /// Whether each charge is to be judged by the store itself.
        strict: bool,
    },
}

impl Key {
    /// A key from a set that the configuration fixes.
    #[must_use]
    pub const fn configured(hash: u64) -> Self {
        Self { hash, class: KeyClass::Configured }
    }

    /// A key from a set that callers can grow at will.
    #[must_use]
    pub const fn open(hash: u64) -> Self {
        Self { hash, class: KeyClass::Open }
    }

    /// A key from a set that the configuration fixes, of a balance that several nodes share.
    #[must_use]
    pub const fn shared(hash: u64, tag: u32) -> Self {
        Self { hash, class: KeyClass::Shared { tag, strict: false } }
    }

    /// The same, if it is shared, to be judged by the store itself.
    #[must_use]
    pub const fn strictly(self) -> Self {
        match self.class {
            KeyClass::Shared { tag, .. } => Self { class: KeyClass::Shared { tag, strict: true }, ..self },
            _ => self,
        }
    }
}

const _: () = assert!(size_of::<Key>() == 16, "charges are copied on the way of every request");

/// Hashes a policy and the scope within it (a tenant's id, an address) under a secret per-process seed: SipHash-1-3.
///
/// The seed is what keeps a caller from choosing colliding addresses.
#[must_use]
pub fn hash_key(seed: (u64, u64), policy: impl Hash, scope: impl Hash) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed.0, seed.1);
    policy.hash(&mut hasher);
    scope.hash(&mut hasher);
    hasher.finish()
}

/// Spreads a hash over all 64 bits, reversibly, so that a weak hash costs speed at most and never correctness.
pub(crate) const fn spread(hash: u64) -> u64 {
    let folded = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    folded ^ (folded >> 29)
}

/// Maps 32 uniform bits onto `0..n` without a division (multiply-shift).
pub(crate) const fn pick(bits: u32, n: usize) -> usize {
    ((bits as u64 * n as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_seed_policy_and_scope() {
        let base = hash_key((1, 2), 3_u64, 4_u64);
        assert_eq!(base, hash_key((1, 2), 3_u64, 4_u64));
        assert_ne!(base, hash_key((9, 2), 3_u64, 4_u64));
        assert_ne!(base, hash_key((1, 9), 3_u64, 4_u64));
        assert_ne!(base, hash_key((1, 2), 9_u64, 4_u64));
        assert_ne!(base, hash_key((1, 2), 3_u64, 9_u64));
    }

    #[test]
    fn a_text_scope_cannot_slide_into_its_policy() {
        assert_ne!(hash_key((1, 2), "ab", "c"), hash_key((1, 2), "a", "bc"));
    }

    #[test]
    fn small_numbers_spread_over_all_lines() {
        let mut hit = [0_u32; 64];
        for hash in 0..64_000_u64 {
            hit[pick((spread(hash) >> 32) as u32, 64)] += 1;
        }
        assert!(hit.iter().all(|&n| (500..2_000).contains(&n)), "{hit:?}");
    }
}
