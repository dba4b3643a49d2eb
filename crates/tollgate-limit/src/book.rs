//! Accounts that need more than a word: found by hash, each under the lock of its shard for the time of one decision. Their
//! number is bounded. What an account holds is not known here.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::Tick;
use crate::direct::{Full, WhenFull};
use crate::key::spread;

const SHARDS: usize = 16;

/// Accounts that are looked at to find one that can go.
const LOOKED_AT: usize = 16;

/// What a [`Book`] holds for each key.
pub(crate) trait Account: Default {
    type Limit;

    /// What would be forgotten with it; zero if it is as good as absent.
    fn stake(&self, limit: &Self::Limit, now: Tick) -> u64;
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book<A> {
    shards: [Mutex<Shard<A>>; SHARDS],
    /// Bounds the accounts of one shard.
    cap: usize,
    when_full: WhenFull,
    evictions: AtomicU64,
}

#[derive(Debug)]
struct Shard<A> {
    places: HashMap<u64, usize, BuildHasherDefault<Given>>,
    accounts: Vec<Entry<A>>,
    /// Places that changed since they were asked for last. Never longer than `accounts`, and as roomy.
    changed: Vec<usize>,
    /// Where the search for one that can go begins.
    hand: usize,
}

#[derive(Debug)]
struct Entry<A> {
    hash: u64,
    account: A,
    changed: bool,
}

/// The hash of a key is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct Given(u64);

impl<A: Account> Book<A> {
    pub(crate) fn new(cap: usize, when_full: WhenFull) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            cap: cap.div_ceil(SHARDS).max(1),
            when_full,
            evictions: AtomicU64::new(0),
        }
    }

    /// Changes the key's account, and makes it first if there is none.
    pub(crate) fn change<T>(
        &self,
        hash: u64,
        (limit, now): (&A::Limit, Tick),
        change: impl FnOnce(&mut A) -> T,
    ) -> Result<T, Full> {
        let mut shard = self.shard(hash).lock();
        let place = match shard.places.get(&hash) {
            Some(&place) => place,
            None => self.open(&mut shard, hash, (limit, now))?,
        };
        Ok(shard.touch(place, change))
    }

    /// Changes the key's account, if it has one.
    pub(crate) fn change_known(&self, hash: u64, change: impl FnOnce(&mut A)) {
        let mut shard = self.shard(hash).lock();
        if let Some(&place) = shard.places.get(&hash) {
            shard.touch(place, change);
        }
    }

    /// Looks at the key's account.
    pub(crate) fn look<T>(&self, hash: u64, look: impl FnOnce(Option<&A>) -> T) -> T {
        let shard = self.shard(hash).lock();
        look(shard.places.get(&hash).map(|&place| &shard.accounts[place].account))
    }

    /// Shows every account, or those that changed since the last time, shard by shard.
    pub(crate) fn show(&self, which: Which, mut see: impl FnMut(u64, &A)) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let Shard { accounts, changed, .. } = &mut *shard;
            match which {
                Which::All => accounts.iter().for_each(|entry| see(entry.hash, &entry.account)),
                Which::Changed => changed.iter().for_each(|&place| see(accounts[place].hash, &accounts[place].account)),
            }
            for place in changed.drain(..) {
                accounts[place].changed = false;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().accounts.len()).sum()
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<A>> {
        &self.shards[(spread(hash) >> 60) as usize % SHARDS]
    }

    #[cold]
    fn open(&self, shard: &mut Shard<A>, hash: u64, at: (&A::Limit, Tick)) -> Result<usize, Full> {
        let place = shard.accounts.len();
        if place < self.cap {
            shard.accounts.push(Entry { hash, account: A::default(), changed: false });
            // Roomy enough for all, so that noting a change never allocates.
            let missing = shard.accounts.len() - shard.changed.len();
            shard.changed.reserve(missing);
            shard.places.insert(hash, place);
            return Ok(place);
        }
        let (place, stake) = shard.cheapest(at).ok_or(Full)?;
        if stake > 0 {
            if self.when_full == WhenFull::Overflow {
                return Err(Full);
            }
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        let entry = &mut shard.accounts[place];
        shard.places.remove(&entry.hash);
        (entry.hash, entry.account) = (hash, A::default());
        shard.places.insert(hash, place);
        Ok(place)
    }
}

/// Which accounts are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Which {
    All,
    Changed,
}

impl<A: Account> Shard<A> {
    fn touch<T>(&mut self, place: usize, change: impl FnOnce(&mut A) -> T) -> T {
        let entry = &mut self.accounts[place];
        if !entry.changed {
            entry.changed = true;
            self.changed.push(place);
        }
        change(&mut entry.account)
    }

    /// The account with the least to forget, of some that follow the last one.
    fn cheapest(&mut self, (limit, now): (&A::Limit, Tick)) -> Option<(usize, u64)> {
        let count = self.accounts.len();
        let start = self.hand;
        self.hand = (start + LOOKED_AT) % count.max(1);
        let looked = (0..LOOKED_AT.min(count)).map(|i| (start + i) % count);
        looked.map(|place| (place, self.accounts[place].account.stake(limit, now))).min_by_key(|(_, stake)| *stake)
    }
}

impl<A> Default for Shard<A> {
    fn default() -> Self {
        Self { places: HashMap::default(), accounts: Vec::new(), changed: Vec::new(), hand: 0 }
    }
}

impl Hasher for Given {
    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are hashed here; anything else is folded, so that it is merely slow.
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = spread(hash);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
