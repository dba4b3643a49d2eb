//! The secrets that serve, and where they come from: what changed there is seen here, and told to who compiles.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch::{self, Receiver, Sender};
use tollgate_core::secret::Secret;
use tollgate_core::time::{Clock, Tick};

use super::{Opened, file, systemd, value};
use crate::config::SecretSource;
use crate::record::Redactor;
use crate::record::metrics::{head, row};
use crate::start::Control;

/// Values that are no longer used and still masked.
const FORMER: usize = 256;
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long nothing is compiled again after that failed.
const REST: Duration = Duration::from_secs(10);

/// The secrets of a gateway.
pub struct Secrets {
    clock: Clock,
    /// Whether commands are run and servers asked.
    asks: bool,
    inner: Mutex<Inner>,
    /// Counts changes.
    changed: Sender<u64>,
    rotations: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct Inner {
    held: BTreeMap<SecretSource, Held>,
    /// Masked for longer than they are used.
    former: VecDeque<Secret>,
    started: bool,
}

/// One of them.
struct Held {
    value: Secret,
    path: Option<PathBuf>,
    /// What it was, and until when that is good.
    before: Option<(Secret, Tick)>,
}

impl Secrets {
    /// None yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let inner = Mutex::default();
        let (rotations, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { clock, asks: true, inner, changed: watch::channel(0).0, rotations, failures }
    }

    /// From now on no command is run and no server asked: what would come from there is left out.
    pub const fn only_check(&mut self) {
        self.asks = false;
    }

    /// Whether commands are run and servers asked.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.asks
    }

    /// The time by which values grow old.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Takes over what the policy that serves from now on was compiled with, and has all of it masked.
    pub fn adopt(&self, opened: Opened, redactor: &Redactor) {
        let Opened { values, files, config } = opened;
        let now = self.now();
        let until = now.after(config.grace.0);
        let mut files: BTreeMap<_, _> = files.into_iter().collect();
        let mut inner = self.inner.lock();
        let Inner { held, former, started } = &mut *inner;
        let mut rotated = 0;
        let mut old = std::mem::take(held);
        for (source, value) in values {
            let before = match old.remove(&source) {
                Some(known) if known.value == value => known.before.filter(|(_, until)| now < *until),
                Some(known) => {
                    rotated += 1;
                    former.push_back(known.value.clone());
                    Some((known.value, until))
                }
                None => None,
            };
            let path = files.remove(&source);
            held.insert(source, Held { value, path, before });
        }
        former.extend(old.into_values().map(|gone| gone.value));
        let surplus = former.len().saturating_sub(FORMER);
        former.drain(..surplus);
        *started = true;
        redactor.learn(held.values().map(|held| &held.value).chain(former.iter()));
        self.rotations.fetch_add(rotated, Ordering::Relaxed);
    }

    /// Whether a policy serves: commands are run before that, and never again.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.inner.lock().started
    }

    /// What serves under a reference.
    #[must_use]
    pub fn get(&self, source: &SecretSource) -> Option<Secret> {
        self.inner.lock().held.get(source).map(|held| held.value.clone())
    }

    /// What a reference that stands for `value` now stood for before, if that is still good.
    #[must_use]
    pub fn before(&self, source: &SecretSource, value: &Secret) -> Option<Secret> {
        let now = self.now();
        let inner = self.inner.lock();
        let held = inner.held.get(source)?;
        if held.value != *value {
            // It is being replaced right now; its time has not begun.
            return Some(held.value.clone());
        }
        held.before.as_ref().filter(|(_, until)| now < *until).map(|(value, _)| value.clone())
    }

    /// Who wants to hear of changes.
    #[must_use]
    pub fn changes(&self) -> Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells that something changed.
    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Looks at every file, and at values whose time is over. Blocks. What cannot be read now is no change: the value that
    /// serves is the last good one.
    pub fn look(&self) {
        let now = self.now();
        let inner = self.inner.lock();
        let over = inner.held.values().any(|held| held.before.as_ref().is_some_and(|(_, until)| *until <= now));
        let looked: Vec<_> = inner
            .held
            .iter()
            .filter_map(|(source, held)| Some((source.clone(), held.path.clone()?, held.value.clone())))
            .collect();
        drop(inner);
        if over || looked.iter().any(|(source, path, value)| differs(source, path, value)) {
            self.tell();
        }
    }

    /// Writes the metrics.
    pub fn render(&self, out: &mut String) {
        let name = "tollgate_secrets_held";
        head(out, name, "gauge", "Secrets that the policy in force was compiled with.");
        row(out, name, &[], self.inner.lock().held.len());
        let name = "tollgate_secret_rotations_total";
        head(out, name, "counter", "Secrets whose value changed while the gateway ran.");
        row(out, name, &[], self.rotations.load(Ordering::Relaxed));
        let name = "tollgate_secret_rotation_failures_total";
        head(
            out,
            name,
            "counter",
            "Changed secrets that the configuration could not be compiled with: the old ones serve.",
        );
        row(out, name, &[], self.failures.load(Ordering::Relaxed));
    }
}

/// Whether a file holds another value now.
fn differs(source: &SecretSource, path: &Path, known: &Secret) -> bool {
    let read = match source {
        SecretSource::Systemd { .. } => systemd::read(path),
        _ => file::read(path),
    };
    read.and_then(value).is_ok_and(|(value, _)| value != *known)
}

/// Watches the sources of all secrets, and compiles anew when one changed, for as long as it is polled.
pub async fn watch(control: Arc<Control>) {
    let mut changes = control.state.secrets.changes();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {
                let control = Arc::clone(&control);
                drop(tokio::task::spawn_blocking(move || control.state.secrets.look()).await);
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let control = Arc::clone(&control);
                let rotated = tokio::task::spawn_blocking(move || {
                    let rotated = control.rotate();
                    if rotated.is_err() {
                        control.state.secrets.failures.fetch_add(1, Ordering::Relaxed);
                    }
                    rotated.is_ok()
                });
                if !rotated.await.unwrap_or(false) {
                    // The next look finds it still changed.
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}
