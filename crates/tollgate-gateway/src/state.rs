//! What outlives a policy: ledger, queues, connections, meters, certificates, keyed by the names of the configuration.
//! A kept name keeps its level.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tollgate_core::backend::Backend;
use tollgate_core::time::Clock;
use tollgate_layers::auth::{IdKey, KeyRing, Refusals, Replays};
use tollgate_layers::limits::Levers;
use tollgate_limit::{Gauges, Memory};

use crate::body::Budget;
use crate::compute::Compute;
use crate::config::EmbeddedConfig;
use crate::drift::Drift;
use crate::issuers::Issuers;
use crate::keep::Keep;
use crate::keys::Shelf;
use crate::learned::Learned;
use crate::observed::Observed;
use crate::record::{Meters, Recorder, Redactor};
use crate::release::Releases;
use crate::secrets::Secrets;
use crate::snapshot::Policy;
use crate::store::{Balances, Dial, Shared};
use crate::tls::CertTable;
use crate::upstream::{Queue, QueueBounds, Remote, Target, Upstream};

/// Opens embedded models: the binary plugs it in, so that the gateway names no inference engine.
pub trait Embed: Send + Sync {
    /// Loads a model that ships with the gateway.
    ///
    /// # Errors
    /// What is wrong, for a configuration error.
    fn shipped(&self, name: &str) -> Result<Arc<dyn Backend>, String>;

    /// Loads a model file.
    ///
    /// # Errors
    /// What is wrong, for a configuration error.
    fn file(&self, bytes: Vec<u8>, sha256: Option<&str>, labels: &[String]) -> Result<Arc<dyn Backend>, String>;
}

/// A gateway without embedded models.
pub struct NoModels;

impl Embed for NoModels {
    fn shipped(&self, name: &str) -> Result<Arc<dyn Backend>, String> {
        Err(format!("`{name}` cannot be loaded: this program embeds no models"))
    }

    fn file(&self, _: Vec<u8>, _: Option<&str>, _: &[String]) -> Result<Arc<dyn Backend>, String> {
        Err("a model file cannot be loaded: this program embeds no models".to_owned())
    }
}

/// Everything that outlives a policy.
pub struct State {
    /// The one clock.
    pub clock: Clock,
    /// How many workers there are.
    pub workers: usize,
    /// Balances of this process alone.
    pub ledger: Arc<Memory>,
    /// All balances of budgets.
    pub balances: Arc<Balances>,
    /// How their store is reached, if there is one.
    pub dial: ArcSwapOption<Dial>,
    /// What runs at once, of budgets that count that.
    pub gauges: Arc<Gauges>,
    /// What operators have lowered for a while.
    pub levers: Arc<Levers>,
    /// Where what was used of calendar quotas is kept over a restart.
    pub keep: Option<Keep>,
    /// Secret of all keyed hashes of this process, and of later ones where there is a `keep`.
    pub seed: (u64, u64),
    /// Where random numbers begin: drawn anew by every process, or the numbers of its exchanges would repeat.
    pub dice: (u64, u64),
    /// Secret of the keyed ids of people.
    pub id_key: IdKey,
    /// The budget for bytes in flight.
    pub bodies: Arc<Budget>,
    /// The compute pool.
    pub compute: Compute,
    /// Metrics.
    pub meters: Arc<Meters>,
    /// Knows every loaded secret.
    pub redactor: Arc<Redactor>,
    /// Writes access lines.
    pub recorder: Arc<Recorder>,
    /// API keys.
    pub ring: Arc<KeyRing>,
    /// How often callers were refused, by reason.
    pub refusals: Arc<Refusals>,
    /// Where keys are kept.
    pub keys: Shelf,
    /// Issuers of access tokens.
    pub issuers: Issuers,
    /// Proofs of possession that were used up.
    pub replays: Arc<Replays>,
    /// Certificates.
    pub certs: Arc<CertTable>,
    /// Opens embedded models.
    pub embed: Box<dyn Embed>,
    /// What the calls of watched contracts were like.
    pub observed: Observed,
    /// What calls were found to cost.
    pub learned: Learned,
    /// Where contracts and servers differ.
    pub drift: Drift,
    /// How far releases have come.
    pub releases: Releases,
    /// Secrets that serve, and where they come from.
    pub secrets: Secrets,
    /// Told of each swap of the policy.
    pub swapped: Notify,
    policy: ArcSwapOption<Policy>,
    /// Policies that were replaced, until nobody holds them.
    retired: Mutex<Vec<Arc<Policy>>>,
    generation: AtomicU64,
    draining: AtomicBool,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    remotes: Mutex<HashMap<String, (String, Arc<Remote>)>>,
    backends: Mutex<Vec<(EmbeddedConfig, Arc<dyn Backend>)>>,
}

/// The parts that a start chooses.
pub struct Parts {
    /// The one clock.
    pub clock: Clock,
    /// How many workers there are.
    pub workers: usize,
    /// Balances.
    pub ledger: Arc<Memory>,
    /// Those that are shared with other nodes.
    pub shared: Option<Arc<Shared>>,
    /// Where what was used of calendar quotas is kept.
    pub keep: Option<Keep>,
    /// Secret of all keyed hashes.
    pub seed: (u64, u64),
    /// Where random numbers begin, never twice the same.
    pub dice: (u64, u64),
    /// The budget for bytes in flight.
    pub bodies: Arc<Budget>,
    /// The compute pool.
    pub compute: Compute,
    /// Writes access lines.
    pub recorder: Arc<Recorder>,
    /// Knows every loaded secret.
    pub redactor: Arc<Redactor>,
    /// Opens embedded models.
    pub embed: Box<dyn Embed>,
}

impl State {
    /// State without a policy yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, workers, ledger, shared, keep, seed, dice, bodies, compute, recorder, redactor, embed } =
            parts;
        let ring: Arc<KeyRing> = Arc::default();
        let id_key = IdKey::new((u128::from(seed.0) << 64 | u128::from(seed.1)).to_le_bytes());
        Self {
            secrets: Secrets::new(clock.clone()),
            clock,
            workers,
            balances: Arc::new(Balances::new(Arc::clone(&ledger), shared)),
            dial: ArcSwapOption::empty(),
            ledger,
            gauges: Arc::default(),
            levers: Arc::new(Levers::new(id_key)),
            keep,
            seed,
            dice,
            id_key,
            bodies,
            compute,
            meters: Arc::new(Meters::new(workers)),
            redactor,
            recorder,
            refusals: Arc::default(),
            keys: Shelf::new(Arc::clone(&ring)),
            ring,
            issuers: Issuers::default(),
            replays: Arc::default(),
            certs: Arc::default(),
            embed,
            observed: Observed::default(),
            learned: Learned::default(),
            drift: Drift::default(),
            releases: Releases::default(),
            swapped: Notify::new(),
            policy: ArcSwapOption::empty(),
            retired: Mutex::default(),
            generation: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            queues: Mutex::default(),
            remotes: Mutex::default(),
            backends: Mutex::default(),
        }
    }

    /// The policy that new exchanges see. Workers start after the first one was set.
    ///
    /// # Panics
    /// If no policy was ever set.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full().expect("a policy is set before the first worker starts")
    }

    /// Swaps the policy: exchanges that run keep theirs.
    pub fn set_policy(&self, mut policy: Policy) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        policy.generation = generation;
        policy.cost.take_effect();
        if let Some(serving) = self.policy.load_full() {
            pass_on(&serving.upstreams, &policy.upstreams);
        }
        let old = self.policy.swap(Some(Arc::new(policy)));
        self.retired.lock().extend(old);
        self.release_retired();
        self.swapped.notify_one();
        generation
    }

    /// Gives up policies that no exchange holds any more, on the thread that calls: tens of megabytes of compiled rules
    /// take milliseconds to free, and the worker that ends their last exchange must not be the one to do it.
    pub fn release_retired(&self) {
        let gone: Vec<_> = self.retired.lock().extract_if(.., |policy| Arc::strong_count(policy) == 1).collect();
        drop(gone);
    }

    /// Takes over when keys were last used before a restart.
    pub fn restore_used(&self) {
        if let Some(keep) = &self.keep {
            self.keys.restore_used(keep);
        }
    }

    /// Number of the policy that serves.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether new requests are welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Acquire)
    }

    /// From now on, the gateway says that it is not ready.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The queue of that name: kept, with new bounds, if it is there.
    pub fn queue(&self, name: &str, bounds: QueueBounds) -> Arc<Queue> {
        let mut queues = self.queues.lock();
        let queue = queues.entry(name.to_owned()).or_insert_with(|| Queue::new(bounds, self.clock.clone()));
        queue.rebound(bounds);
        Arc::clone(queue)
    }

    /// The server of that name: kept, with its connections, if its `fingerprint` is the same.
    pub fn remote(&self, name: &str, fingerprint: String, make: impl FnOnce() -> Remote) -> Arc<Remote> {
        let mut remotes = self.remotes.lock();
        if let Some((known, remote)) = remotes.get(name)
            && *known == fingerprint
        {
            return Arc::clone(remote);
        }
        let remote = Arc::new(make());
        remotes.insert(name.to_owned(), (fingerprint, Arc::clone(&remote)));
        remote
    }

    /// The embedded model of that description, loaded once. A model file is loaded anew, because it may have changed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn backend(
        &self,
        embedded: &EmbeddedConfig,
        load: impl FnOnce() -> Result<Arc<dyn Backend>, String>,
    ) -> Result<Arc<dyn Backend>, String> {
        if matches!(embedded, EmbeddedConfig::File(_)) {
            return load();
        }
        let mut backends = self.backends.lock();
        if let Some((_, backend)) = backends.iter().find(|(known, _)| known == embedded) {
            return Ok(Arc::clone(backend));
        }
        let backend = load()?;
        backends.push((embedded.clone(), Arc::clone(&backend)));
        Ok(backend)
    }

    /// Forgets queues and servers that the policy no longer names and that nobody uses.
    pub fn forget_orphans(&self) {
        let policy = self.policy();
        let named = |name: &str| policy.upstreams.iter().any(|upstream| &*upstream.name == name);
        self.queues.lock().retain(|name, queue| named(name) || queue.level() != (0, 0));
        self.remotes.lock().retain(|name, _| named(name));
        self.observed.keep(&policy);
        self.releases.keep(&policy);
        self.learned.keep(&policy);
    }
}

/// What is known of the endpoints of an upstream goes on to the one of that name that takes its place.
fn pass_on(before: &[Upstream], after: &[Upstream]) {
    for upstream in after {
        let same = before.iter().find(|known| known.name == upstream.name);
        if let (Some(Target::Remote(old)), Target::Remote(new)) = (same.map(|known| &known.target), &upstream.target)
            && !Arc::ptr_eq(old, new)
        {
            new.endpoints.inherit(&old.endpoints);
            new.rpc.inherit(&old.rpc);
        }
    }
}
