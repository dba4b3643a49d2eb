//! The API keys of a gateway that runs: looked at where they are kept, and swapped by themselves when they have changed
//! there. Knows no request; what a key is worth is layer `auth`.
//!
//! A change on disk is effective within [`LOOK`] and the time to read the file. A file that is broken or gone leaves the
//! keys that serve.

mod act;
mod place;
mod store;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{IdKey, KeyFile, KeyNames, KeyRing, Keys, Peppers, Refusals};
use tollgate_layers::authz::TenantConfig;

pub use act::{ActError, Done, KeyAct};
pub use place::{Place, Room};
pub(crate) use store::{fetch, write};

use crate::config::{Saved, read_keys};
use crate::keep::Keep;
use crate::record::metrics::{head, row};
use crate::start::Control;

/// How often the key file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What it takes to read the keys again without the rest of the configuration.
#[derive(Debug)]
pub struct Recipe {
    /// Where they are kept.
    pub place: Place,
    /// Tenants that keys may belong to.
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Models that they may be held to.
    pub models: BTreeMap<String, ModelId>,
    /// What turns names into numbers.
    pub ids: IdKey,
    /// The peppers, ready for use.
    pub peppers: Peppers,
    /// The peppers as they are, to seal new keys with.
    pub values: BTreeMap<String, Secret>,
    /// Whether keys of other systems are accepted.
    pub opaque: bool,
}

/// Keys that were read, and what of.
#[derive(Debug, Default)]
pub struct Keyed {
    /// How to read them again; none where the configuration has no keys.
    pub recipe: Option<Recipe>,
    /// They.
    pub keys: Keys,
    /// What the file looked like.
    pub stamp: Option<Stamp>,
}

impl Keyed {
    /// Reads the key file, or reports what is wrong with it; what is in a store is read later.
    pub(crate) fn read(recipe: Recipe, check: &mut Checker) -> Self {
        // Before it is read: a change while it is read is seen later.
        let (stamp, keys) = match &recipe.place {
            Place::File { path, .. } => (Stamp::of(path), read_keys(path, &recipe, check)),
            Place::Store(_) => (None, Keys::default()),
        };
        Self { recipe: Some(recipe), keys, stamp }
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    place: (u64, u64),
    length: u64,
    changed: (i64, i64),
    written: (i64, i64),
}

/// The keys that serve, and where they are kept.
pub struct Shelf {
    ring: Arc<KeyRing>,
    kept: Mutex<Kept>,
    swaps: AtomicU64,
}

#[derive(Default)]
struct Kept {
    recipe: Option<Arc<Recipe>>,
    stamp: Option<Stamp>,
    /// What was read of the store last, and its version.
    known: Option<(u64, KeyFile)>,
    /// Whether the store answers.
    up: bool,
    /// Why the keys as they are kept now do not serve.
    rejected: Option<String>,
}

impl Recipe {
    /// What a record may name.
    #[must_use]
    pub const fn names(&self) -> KeyNames<'_> {
        KeyNames { tenants: &self.tenants, models: &self.models, ids: self.ids }
    }
}

impl Stamp {
    /// Of the file at `path`, or that there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let about = path.metadata().ok()?;
        Some(Self {
            place: (about.dev(), about.ino()),
            length: about.len(),
            changed: (about.ctime(), about.ctime_nsec()),
            written: (about.mtime(), about.mtime_nsec()),
        })
    }
}

impl Shelf {
    /// Nothing yet.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self { ring, kept: Mutex::default(), swaps: AtomicU64::new(0) }
    }

    /// Puts the keys in place that a configuration was compiled with. What has changed since they were read is read again:
    /// a revocation is never undone by a reload that began before it.
    pub fn adopt(&self, keyed: Keyed) {
        let Keyed { recipe, keys, stamp } = keyed;
        let mut kept = self.kept.lock();
        let recipe = recipe.map(Arc::new);
        let in_store = recipe.as_ref().is_some_and(|recipe| matches!(recipe.place, Place::Store(_)));
        let before = std::mem::take(&mut *kept);
        kept.recipe = recipe;
        if !in_store {
            self.ring.swap(keys);
            self.ring.good_until(u64::MAX);
            kept.stamp = stamp;
            return self.look_again(&mut kept);
        }
        match before.known {
            // The configuration may give the same records another meaning.
            Some((version, file)) => drop(self.compile(&mut kept, version, Ok(file))),
            None => {
                self.ring.good_until(0);
                self.ring.swap(keys);
            }
        }
    }

    /// Reads the key file if it has changed. Blocks.
    pub fn look(&self) {
        self.look_again(&mut self.kept.lock());
    }

    fn look_again(&self, kept: &mut Kept) {
        let Some(recipe) = kept.recipe.clone() else { return };
        let Place::File { path, .. } = &recipe.place else { return };
        let stamp = Stamp::of(path);
        if stamp == kept.stamp {
            return;
        }
        let mut check = Checker::default();
        let keys = read_keys(path, &recipe, &mut check);
        kept.stamp = stamp;
        self.swap(kept, keys, check);
    }

    /// Takes what was compiled, if nothing is wrong with it.
    fn swap(&self, kept: &mut Kept, keys: Keys, check: Checker) {
        let problems = check.finish().0;
        if problems.is_empty() {
            self.ring.swap(keys);
            self.swaps.fetch_add(1, Ordering::Relaxed);
            kept.rejected = None;
        } else {
            let told: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
            kept.rejected = Some(told.join("; "));
        }
    }

    /// Takes over a change that was just written.
    pub(crate) fn take(&self, saved: Saved) {
        match (saved.known, self.recipe()) {
            (Some((version, file)), Some(recipe)) => drop(self.learn(&recipe, version, Ok(file))),
            _ => self.look(),
        }
    }

    /// Takes over what a store holds, unless something newer is known; whether it serves now.
    fn learn(&self, recipe: &Arc<Recipe>, version: u64, file: Result<KeyFile, String>) -> bool {
        let mut kept = self.kept.lock();
        let served = kept.recipe.as_ref().is_some_and(|served| Arc::ptr_eq(served, recipe));
        if !served {
            return false;
        }
        let newer = kept.known.as_ref().is_some_and(|(known, _)| *known >= version);
        newer || self.compile(&mut kept, version, file)
    }

    fn compile(&self, kept: &mut Kept, version: u64, file: Result<KeyFile, String>) -> bool {
        let Some(recipe) = kept.recipe.clone() else { return false };
        let mut check = Checker::default();
        let file = file.unwrap_or_else(|why| {
            check.problem_here(why);
            KeyFile::default()
        });
        let keys = Keys::compile(&file, &mut check, &recipe.names(), recipe.peppers.clone());
        self.swap(kept, keys, check);
        if kept.rejected.is_none() {
            kept.known = Some((version, file));
        }
        kept.rejected.is_none()
    }

    /// The version of what was read of the store last.
    fn version(&self) -> Option<u64> {
        self.kept.lock().known.as_ref().map(|(version, _)| *version)
    }

    fn is_served(&self, recipe: &Arc<Recipe>) -> bool {
        self.kept.lock().recipe.as_ref().is_some_and(|served| Arc::ptr_eq(served, recipe))
    }

    /// The store has just answered: what was read of it is good until then, milliseconds since the Unix epoch.
    fn vouch(&self, recipe: &Arc<Recipe>, until_ms: u64) {
        let mut kept = self.kept.lock();
        if kept.recipe.as_ref().is_some_and(|served| Arc::ptr_eq(served, recipe)) {
            kept.up = true;
            self.ring.good_until(until_ms);
        }
    }

    fn went(&self) {
        self.kept.lock().up = false;
    }

    /// How to read, and to seal, keys; none where the configuration has none.
    #[must_use]
    pub fn recipe(&self) -> Option<Arc<Recipe>> {
        self.kept.lock().recipe.clone()
    }

    /// Why the keys that serve are not those of the file.
    #[must_use]
    pub fn rejected(&self) -> Option<String> {
        self.kept.lock().rejected.clone()
    }

    /// Writes down when each key was last used. A failure is counted with the others of what is kept.
    pub fn write_used(&self, keep: &Keep) {
        drop(keep.write_used(&self.ring.used()));
    }

    /// Takes over when keys were last used before a restart; what cannot be read is forgotten.
    pub fn restore_used(&self, keep: &Keep) {
        self.ring.note_used(&keep.used());
    }

    /// Writes how it goes, as metrics.
    pub fn render(&self, out: &mut String) {
        head(out, "tollgate_keys", "gauge", "API keys of the key file.");
        row(out, "tollgate_keys", &[], self.ring.len());
        let help = "1 while the newest key file was refused and the keys before it serve.";
        head(out, "tollgate_keys_rejected", "gauge", help);
        row(out, "tollgate_keys_rejected", &[], u8::from(self.kept.lock().rejected.is_some()));
        head(out, "tollgate_keys_store_up", "gauge", "1 while the store of the keys answers, or where there is none.");
        let kept = self.kept.lock();
        let is_file = !kept.recipe.as_ref().is_some_and(|recipe| matches!(recipe.place, Place::Store(_)));
        row(out, "tollgate_keys_store_up", &[], u8::from(is_file || kept.up));
        drop(kept);
        head(out, "tollgate_keys_swaps_total", "counter", "Times that a changed key file took effect.");
        row(out, "tollgate_keys_swaps_total", &[], self.swaps.load(Ordering::Relaxed));
    }
}

/// Writes how often callers were refused, as a metric.
pub fn render_refusals(refusals: &Refusals, out: &mut String) {
    let help = "Callers that could not prove who they are, by reason; also on routes that ask for nothing.";
    head(out, "tollgate_auth_refused_total", "counter", help);
    for (reason, count) in refusals.counts() {
        row(out, "tollgate_auth_refused_total", &[("reason", reason)], count);
    }
}

/// Looks after the key file, or the store, on the control thread.
pub async fn watch(control: Arc<Control>) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let recipe = control.state.keys.recipe();
        if let Some((recipe, Place::Store(room))) = recipe.as_ref().map(|recipe| (recipe, &recipe.place)) {
            if store::follow(&control, recipe, room).await.is_err() {
                control.state.keys.went();
            }
            continue;
        }
        let control = Arc::clone(&control);
        // It waits for a disk, perhaps one of another machine.
        drop(tokio::task::spawn_blocking(move || control.state.keys.look()).await);
    }
}
