//! The way to one Vault, and everything that came over it: what is due is done by `step`, one thing after another, and never
//! more than one failure in a step.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_core::secret::Secret;
use tollgate_core::time::{Clock, Tick};

use super::calls::{Got, Lease};
use super::config::Plan;
use super::login::{Token, Wrapped};
use super::term::{Backoff, spread};
use super::{Trouble, VaultConfig};

/// How long after a login nobody thinks that another one would help.
const FRESH: Duration = Duration::from_secs(30);
/// Things done in one step at most: a hostile server could make everything due at once, for ever.
const MOST: usize = 1024;

/// The way to a Vault.
pub struct Line {
    pub(super) plan: Plan,
    /// The section it was made of.
    config: VaultConfig,
    pub(super) clock: Clock,
    /// One conversation at a time.
    turn: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
    pub(super) wrapped: Mutex<Wrapped>,
    calls: AtomicU64,
    logins: AtomicU64,
}

struct Inner {
    token: Option<Token>,
    /// When we logged in last, and how often.
    born: Tick,
    logins: u64,
    entries: BTreeMap<String, Entry>,
    /// Leases that nothing uses any more.
    unused: Vec<String>,
    /// Nothing is asked until then.
    rest: Backoff,
    /// Why nothing at all is got.
    trouble: Option<Trouble>,
    dice: u64,
}

/// What is known of a path.
struct Entry {
    fields: BTreeMap<String, Secret>,
    lease: Option<Lease>,
    /// The login under which the lease was granted: they end together.
    login: u64,
    /// When it was read with success.
    good: Option<Tick>,
    /// When it is read again.
    due: Tick,
    trouble: Option<Trouble>,
    withdrawn: bool,
}

/// What is known of a field.
pub enum Known {
    /// The path has no such field.
    NoField,
    /// Nobody asked for its path yet.
    Nothing,
    /// Its value.
    Value(Secret),
    /// It had a value, for too long without a word from Vault.
    Withdrawn,
}

/// The next thing to do.
enum Due {
    LogIn,
    Read(String, Secret),
    RenewLease(String, Lease, Secret),
    RenewToken,
    Revoke(String, Secret),
}

impl Line {
    /// A way that nobody has gone yet.
    pub(in crate::secrets) fn new(plan: Plan, config: VaultConfig, clock: Clock) -> Self {
        let inner = Inner {
            token: None,
            born: Tick(0),
            logins: 0,
            entries: BTreeMap::new(),
            unused: Vec::new(),
            rest: Backoff::default(),
            trouble: None,
            // Gateways that start together still start at other moments than these.
            dice: clock.unix_ms() ^ u64::from(std::process::id()) << 40,
        };
        let (calls, logins) = (AtomicU64::new(0), AtomicU64::new(0));
        let turn = tokio::sync::Mutex::new(());
        Self { plan, config, clock, turn, inner: Mutex::new(inner), wrapped: Mutex::default(), calls, logins }
    }

    /// Whether it was made of that section.
    #[must_use]
    pub fn is_of(&self, config: &VaultConfig) -> bool {
        self.config == *config
    }

    /// How long a start waits for it.
    pub(in crate::secrets) const fn start_wait(&self) -> Duration {
        self.plan.start_wait
    }

    /// Its time.
    pub(in crate::secrets) fn now(&self) -> Tick {
        self.clock.now()
    }

    /// What is known of a field.
    #[must_use]
    pub fn known(&self, path: &str, field: &str) -> Known {
        let inner = self.inner.lock();
        let Some(entry) = inner.entries.get(path).filter(|entry| entry.good.is_some()) else { return Known::Nothing };
        match entry.fields.get(field) {
            _ if entry.is_over(self.clock.now(), self.plan.max_stale) => Known::Withdrawn,
            Some(value) => Known::Value(value.clone()),
            None => Known::NoField,
        }
    }

    /// Reads a path that nobody asked for yet, until `deadline` at most.
    ///
    /// # Errors
    /// Why it is not got, and whether waiting longer could help.
    pub async fn fetch(&self, path: &str, deadline: Tick) -> Result<(), (Trouble, bool)> {
        self.want(path);
        loop {
            self.step().await;
            let standing = {
                let inner = self.inner.lock();
                let entry = inner.entries.get(path);
                match entry {
                    Some(entry) if entry.good.is_some() => return Ok(()),
                    entry => entry.and_then(|entry| entry.trouble.clone()).or_else(|| inner.trouble.clone()),
                }
            };
            let hopeless = matches!(standing, Some(Trouble::Forbidden | Trouble::Missing | Trouble::Spent));
            if hopeless || self.clock.now() >= deadline {
                self.inner.lock().entries.remove(path);
                let trouble = standing.unwrap_or_else(|| Trouble::Away("does not answer in time".to_owned()));
                return Err((trouble, !hopeless));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn want(&self, path: &str) {
        let due = self.clock.now();
        let entry =
            Entry { fields: BTreeMap::new(), lease: None, login: 0, good: None, due, trouble: None, withdrawn: false };
        self.inner.lock().entries.entry(path.to_owned()).or_insert(entry);
    }

    /// Forgets what no reference names any more, and gives its leases back in time.
    pub(in crate::secrets) fn keep_only(&self, named: &dyn Fn(&str) -> bool) {
        let mut inner = self.inner.lock();
        let Inner { entries, unused, .. } = &mut *inner;
        entries.retain(|path, entry| {
            let stays = named(path);
            if !stays {
                unused.extend(entry.lease.take().map(|lease| lease.id));
            }
            stays
        });
    }

    /// Does what is due. Returns whether any value is another one now, or none any more.
    pub async fn step(&self) -> bool {
        let _turn = self.turn.lock().await;
        let mut changed = self.withdraw();
        for _ in 0..MOST {
            let Some(due) = self.due() else { break };
            self.calls.fetch_add(1, Ordering::Relaxed);
            match self.perform(due).await {
                Ok(new) => changed |= new,
                Err(()) => break,
            }
        }
        changed
    }

    /// What is due, if anything may be asked now.
    fn due(&self) -> Option<Due> {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        if !inner.rest.is_over(now) || (inner.entries.is_empty() && inner.unused.is_empty()) {
            return None;
        }
        let Some(token) = inner.token.as_ref().filter(|token| !token.term.has_ended(now)) else {
            return Some(Due::LogIn);
        };
        if token.term.is_due(now) {
            return Some(if token.term.is_renewable() { Due::RenewToken } else { Due::LogIn });
        }
        let value = token.value.clone();
        if let Some(lease) = inner.unused.pop() {
            return Some(Due::Revoke(lease, value));
        }
        let logins = inner.logins;
        inner.entries.iter().find_map(|(path, entry)| entry.due(path, (now, logins), &value))
    }

    /// Does one thing; `Err` where it failed and nothing more is to be tried in this step.
    async fn perform(&self, due: Due) -> Result<bool, ()> {
        match due {
            Due::LogIn => {
                self.logins.fetch_add(1, Ordering::Relaxed);
                let token = self.log_in().await;
                self.came_in(token)
            }
            Due::RenewToken => {
                let Some(token) = self.inner.lock().token.take() else { return Ok(false) };
                self.renewed(self.renew_token(token).await)
            }
            Due::Read(path, token) => {
                let got = self.read(&path, &token).await;
                self.took(&path, got)
            }
            Due::RenewLease(path, lease, token) => {
                let renewed = self.renew(&lease, &token).await;
                self.kept(&path, renewed)
            }
            Due::Revoke(lease, token) => match self.revoke(&lease, &token).await {
                // What it does not know is gone.
                Ok(()) | Err(Trouble::Forbidden | Trouble::Missing | Trouble::Refused(_)) => Ok(false),
                Err(trouble) => {
                    self.inner.lock().unused.push(lease);
                    self.stay_away(trouble)
                }
            },
        }
    }

    fn came_in(&self, token: Result<Token, Trouble>) -> Result<bool, ()> {
        match token {
            Ok(token) => {
                let mut inner = self.inner.lock();
                // A token that was only read again is the same one, and so are its leases.
                let same = inner.token.as_ref().is_some_and(|known| known.value == token.value);
                if !same {
                    inner.logins += 1;
                }
                inner.born = self.clock.now();
                inner.token = Some(token);
                inner.trouble = None;
                inner.rest.succeeded();
                Ok(false)
            }
            Err(trouble) => self.stay_away(trouble),
        }
    }

    fn renewed(&self, renewed: Result<Token, (Token, Trouble)>) -> Result<bool, ()> {
        match renewed {
            Ok(token) => {
                self.inner.lock().token = Some(token);
                Ok(false)
            }
            Err((token, trouble @ (Trouble::Away(_) | Trouble::Sealed))) => {
                self.inner.lock().token = Some(token);
                self.stay_away(trouble)
            }
            // It is not renewed: the next thing to do is to log in.
            Err(_) => Ok(false),
        }
    }

    /// What reading a path brought.
    fn took(&self, path: &str, got: Result<Got, Trouble>) -> Result<bool, ()> {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        match got {
            Ok(Got { fields, lease }) => {
                let next = inner.next(now, self.plan.poll);
                let Inner { entries, unused, rest, trouble, logins, .. } = &mut *inner;
                rest.succeeded();
                *trouble = None;
                let Some(entry) = entries.get_mut(path) else { return Ok(false) };
                let changed = entry.good.is_some() && (entry.fields != fields || entry.withdrawn);
                // The old lease is not given back: calls under way still use it, and it ends by itself.
                if unused.len() > MOST {
                    unused.clear();
                }
                let due = if lease.is_some() { Tick(u64::MAX) } else { next };
                let (login, good) = (*logins, Some(now));
                *entry = Entry { fields, lease, login, good, due, trouble: None, withdrawn: false };
                Ok(changed)
            }
            Err(Trouble::Forbidden) if now.since(inner.born) >= FRESH && !inner.is_forbidden(path) => {
                // The token may have been revoked: once more with a new one. Not at each poll: leases end with their token.
                inner.token = None;
                Ok(false)
            }
            Err(trouble @ (Trouble::Away(_) | Trouble::Sealed)) => {
                drop(inner);
                self.stay_away(trouble)
            }
            Err(trouble) => {
                let next = inner.next(now, self.plan.poll);
                if let Some(entry) = inner.entries.get_mut(path) {
                    entry.trouble = Some(trouble);
                    entry.due = next;
                }
                Err(())
            }
        }
    }

    /// What renewing a lease brought.
    fn kept(&self, path: &str, renewed: Result<Lease, Trouble>) -> Result<bool, ()> {
        let now = self.clock.now();
        match renewed {
            Ok(lease) => {
                let mut inner = self.inner.lock();
                inner.trouble = None;
                inner.rest.succeeded();
                if let Some(entry) = inner.entries.get_mut(path) {
                    (entry.lease, entry.good, entry.trouble) = (Some(lease), Some(now), None);
                }
                Ok(false)
            }
            Err(trouble @ (Trouble::Away(_) | Trouble::Sealed)) => self.stay_away(trouble),
            // It cannot be renewed: new credentials are made in its place.
            Err(_) => {
                if let Some(entry) = self.inner.lock().entries.get_mut(path) {
                    entry.due = now;
                }
                Ok(false)
            }
        }
    }

    /// Nothing is asked for a while.
    fn stay_away(&self, trouble: Trouble) -> Result<bool, ()> {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        let dice = inner.roll();
        inner.rest.failed(now, dice);
        inner.trouble = Some(trouble);
        Err(())
    }

    /// Withdraws what has been good for too long. Returns whether there was something new of that kind.
    fn withdraw(&self) -> bool {
        let now = self.clock.now();
        let mut any = false;
        for entry in self.inner.lock().entries.values_mut() {
            if !entry.withdrawn && entry.good.is_some() && entry.is_over(now, self.plan.max_stale) {
                entry.withdrawn = true;
                any = true;
            }
        }
        any
    }

    /// Everything that came over it and must never be written.
    pub(in crate::secrets) fn secrets(&self) -> Vec<Secret> {
        let inner = self.inner.lock();
        let token = inner.token.iter().map(|token| token.value.clone());
        let fields = inner.entries.values().flat_map(|entry| entry.fields.values().cloned());
        let mut all: Vec<_> = token.chain(fields).collect();
        drop(inner);
        all.extend(self.proofs());
        all
    }

    /// What is not as it should be, in words for an operator.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let all = inner.trouble.iter().map(ToString::to_string);
        let each = inner.entries.iter().filter_map(|(path, entry)| {
            let withdrawn = if entry.withdrawn { "withdrawn: " } else { "" };
            let trouble = entry.trouble.as_ref().map(ToString::to_string);
            let told = trouble.or_else(|| entry.withdrawn.then(|| "it was not read for too long".to_owned()))?;
            Some(format!("`secret://vault/{path}`: {withdrawn}{told}"))
        });
        all.chain(each).collect()
    }

    /// How many paths are withdrawn.
    #[must_use]
    pub fn withdrawn(&self) -> usize {
        self.inner.lock().entries.values().filter(|entry| entry.withdrawn).count()
    }

    /// How often it was asked, and how often for a login.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.logins.load(Ordering::Relaxed))
    }

    /// Gives back what was leased to us, and our token.
    pub async fn farewell(&self) {
        let _turn = self.turn.lock().await;
        let (token, leases) = {
            let mut inner = self.inner.lock();
            let mut leases = std::mem::take(&mut inner.unused);
            leases.extend(inner.entries.values_mut().filter_map(|entry| entry.lease.take()).map(|lease| lease.id));
            (inner.token.take(), leases)
        };
        let Some(token) = token else { return };
        for lease in leases {
            // What it does not take back ends with its term.
            if self.revoke(&lease, &token.value).await.is_err() {
                break;
            }
        }
        if token.own {
            drop(self.revoke_self(&token.value).await);
        }
    }
}

impl Inner {
    fn is_forbidden(&self, path: &str) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.trouble == Some(Trouble::Forbidden))
    }

    /// When something is read again that was read now.
    fn next(&mut self, now: Tick, poll: Duration) -> Tick {
        let tenth = poll / 10;
        let dice = self.roll();
        now.after(poll.saturating_sub(tenth) + spread(tenth * 2, dice))
    }

    fn roll(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014); nothing rests on its being secret.
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Entry {
    /// What is due of it at `now`, after so many logins.
    fn due(&self, path: &str, (now, logins): (Tick, u64), token: &Secret) -> Option<Due> {
        let read = || Some(Due::Read(path.to_owned(), token.clone()));
        match &self.lease {
            _ if self.due <= now => read(),
            // It could not be read, and that was not long ago.
            _ if self.trouble.is_some() => None,
            // A lease ends with the token under which it was granted.
            Some(_) if self.login != logins => read(),
            Some(lease) if !lease.term.is_due(now) => None,
            Some(lease) if lease.term.is_renewable() && !lease.term.has_ended(now) => {
                Some(Due::RenewLease(path.to_owned(), lease.clone(), token.clone()))
            }
            Some(_) => read(),
            None => None,
        }
    }

    /// Whether what it holds was good for long enough.
    fn is_over(&self, now: Tick, max_stale: Duration) -> bool {
        match &self.lease {
            Some(lease) => lease.term.has_ended(now),
            None => self.good.is_some_and(|good| now >= good.after(max_stale)),
        }
    }
}
