//! Which endpoint may still remember the beginning of a prompt: model servers keep the state of what they have read, and
//! reading it again is most of the cost of a long prompt.
//!
//! The beginning is cut into blocks of about 256 tokens; each is known by a hash of everything up to its end, under a key of
//! the tenant: what one tenant sends must neither steer another one's requests nor be found out by them.

use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;
use tollgate_core::call::Prompt;

/// Bytes of a block: 256 tokens of four bytes, as English has them.
const BLOCK: usize = 1024;
/// How many blocks are told apart: prompts that agree in 16 KiB agree enough.
const MOST: usize = 16;
/// What is remembered of one upstream. A place that is taken by another beginning is lost.
const PLACES: usize = 1 << 14;

/// The beginnings of a prompt, the shortest first; zero is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Beginnings([u64; MOST]);

impl Beginnings {
    /// Those of a call, for a tenant under the process's secret.
    #[must_use]
    pub fn of(model: &str, prompts: &[Prompt], tenant: u64, secret: (u64, u64)) -> Self {
        let mut hasher = SipHasher13::new_with_keys(secret.0 ^ tenant, secret.1);
        hasher.write(model.as_bytes());
        let (mut found, mut count, mut room) = (Self::default(), 0, BLOCK);
        for prompt in prompts {
            // Who speaks is part of what is read.
            hasher.write_u8(prompt.role as u8);
            let mut text = prompt.text.as_bytes();
            while let Some((block, rest)) = text.split_at_checked(room) {
                hasher.write(block);
                let Some(place) = found.0.get_mut(count) else { return found };
                *place = hasher.finish() | 1;
                (text, count, room) = (rest, count + 1, BLOCK);
            }
            hasher.write(text);
            room -= text.len();
        }
        found
    }

    fn longest_first(&self) -> impl Iterator<Item = u64> {
        self.0.iter().rev().copied().filter(|beginning| *beginning != 0)
    }
}

/// Where beginnings were sent last.
pub struct Remembered {
    places: Box<[AtomicU64]>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Remembered {
    /// The endpoint that was sent the longest of these beginnings.
    #[must_use]
    pub fn find(&self, beginnings: &Beginnings) -> Option<usize> {
        beginnings.longest_first().find_map(|beginning| {
            let (place, tag) = self.place(beginning)?;
            let held = place.load(Ordering::Relaxed);
            (held >> 16 == tag).then_some((held & 0xffff) as usize)
        })
    }

    /// They were sent there.
    pub fn keep(&self, beginnings: &Beginnings, endpoint: usize) {
        for beginning in beginnings.longest_first() {
            if let Some((place, tag)) = self.place(beginning) {
                place.store(tag << 16 | endpoint as u64 & 0xffff, Ordering::Relaxed);
            }
        }
    }

    fn place(&self, beginning: u64) -> Option<(&AtomicU64, u64)> {
        let place = self.places.get(beginning as usize % PLACES)?;
        Some((place, beginning >> 16))
    }
}

#[cfg(test)]
mod tests;
