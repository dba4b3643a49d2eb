//! Starting, reloading and stopping a gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{Semaphore, watch};
use tollgate_core::check::Checker;
use tollgate_core::guard::Mode;
use tollgate_core::secret::Secret;
use tollgate_core::stage::Stage;
use tollgate_core::time::Clock;
use tollgate_limit::{Memory, MemoryConfig, Moment};

use crate::admin;
use crate::body::Budget;
use crate::compute::{Compute, step_back};
use crate::config::{
    Compiled, Config, HeadChecks, Located, Opened, Places, ProxyProtocol, Report, Serves, Sources, compile, load_config,
};
use crate::keep::Keep;
use crate::listen::accept::{Door, accept};
use crate::record::{RecordTarget, Recorder, Redactor, Sinks, WafLog};
use crate::rehearsal::Rehearsal;
use crate::secrets::Opener;
use crate::state::{Embed, Parts, State};
use crate::store::Shared;
use crate::tick::Ticker;
use crate::tls::server_config;
use crate::worker::Worker;

/// Slots of the address table: 1 M addresses at load 0.7 take 12 MB.
const OPEN_SLOTS: usize = 1 << 20;
/// TLS handshakes at once.
const HANDSHAKES: usize = 2048;
/// How often certificate files are looked at.
pub(crate) const CERT_WATCH: Duration = Duration::from_secs(10);

/// Certificate files, and when each was changed last.
type Watched = Vec<(PathBuf, Option<std::time::SystemTime>)>;

/// What a gateway is started from.
pub struct Setup {
    /// The configuration file.
    pub config: PathBuf,
    /// The environment that `${NAME}` and `secret://env/NAME` may use.
    pub env: BTreeMap<String, String>,
    /// Opens embedded models.
    pub embed: Box<dyn Embed>,
    /// Where access lines go, instead of where the configuration says.
    pub access: Option<RecordTarget>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has mistakes.
    #[error("{0}")]
    Config(Report),
    /// A secret that the gateway cannot begin without was waited for in vain.
    #[error("{0}")]
    Missing(String),
    /// A socket, a thread or a file of ours is missing.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// A running gateway. Dropping it stops it hard.
pub struct Gateway {
    control: Arc<Control>,
    addresses: BTreeMap<String, SocketAddr>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What reloads a policy: shared by the signal handler and the admin listener.
pub struct Control {
    /// What outlives a policy.
    pub state: Arc<State>,
    /// The admin listener's key.
    pub admin_key: ArcSwapOption<Secret>,
    path: PathBuf,
    env: BTreeMap<String, String>,
    /// Sections that only a restart can change, as text; none for a rehearsal.
    fixed: String,
    /// One reload at a time; what certificate files looked like.
    turn: Mutex<Watched>,
    /// The configuration that serves: a changed secret is no reason to read another one.
    current: Mutex<Arc<(Config, Places)>>,
}

/// A configuration that was found good.
pub struct Checked {
    /// What is no mistake and yet worth a word.
    pub warnings: Vec<Located>,
    /// The mode of each guard.
    pub modes: Vec<(Stage, Mode)>,
    /// How many routes, models, upstreams and tenants there are.
    pub counts: [(&'static str, usize); 4],
    /// What presets opened.
    pub opened: Vec<Opened>,
}

/// Loads and compiles a configuration without serving it.
///
/// # Errors
/// Every mistake, or what of the system is missing.
pub fn check(setup: Setup) -> Result<Checked, StartError> {
    let loaded = read(&setup.config, &setup.env)?;
    let mut state = state(&loaded.value, setup.embed, &RecordTarget::Off, None)?;
    state.secrets.only_check();
    let (compiled, warnings) = compiled(&loaded.value, &loaded.places, &setup.config, &setup.env, &state)?;
    let config = &loaded.value;
    let counts = [
        ("routes", compiled.policy.routes.layer.all().len()),
        ("models", config.models.len()),
        ("upstreams", config.upstreams.len()),
        ("tenants", config.tenants.len()),
    ];
    let warnings = loaded.warnings.into_iter().chain(warnings).collect();
    Ok(Checked { warnings, modes: compiled.policy.modes().to_vec(), counts, opened: compiled.opened })
}

impl Gateway {
    /// Loads, compiles, binds, and serves.
    ///
    /// # Errors
    /// Every mistake of the configuration, or what of the system is missing.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        Self::begin(setup, None)
    }

    /// Serves the policy of a configuration without the world around it. It cannot be reloaded.
    ///
    /// # Errors
    /// Every mistake of the configuration, or what of the system is missing.
    pub fn rehearse(setup: Setup, rehearsal: &Rehearsal) -> Result<Self, StartError> {
        Self::begin(setup, Some(rehearsal))
    }

    fn begin(setup: Setup, rehearsal: Option<&Rehearsal>) -> Result<Self, StartError> {
        let Setup { config: path, env, embed, access } = setup;
        let mut loaded = read(&path, &env)?;
        if let Some(rehearsal) = rehearsal {
            rehearsal.dress(&mut loaded.value);
        }
        let config = &loaded.value;
        let base = base_of(&path);
        let target = access.unwrap_or_else(|| RecordTarget::of(config.record.access.as_deref(), &base));
        // What is rehearsed leaves no trace.
        let directory = config.state.directory.as_ref().filter(|_| rehearsal.is_none());
        let keep = directory.map(|directory| opened(&base.join(directory))).transpose()?;
        let state = Arc::new(state(config, embed, &target, keep)?);
        let (compiled, _) = compiled(config, &loaded.places, &path, &env, &state)?;
        if rehearsal.is_some() {
            Rehearsal::move_listeners(&mut loaded.value);
        }
        let config = &loaded.value;
        let Sockets { data, admin, addresses } = bind(config, &state)?;
        let control = Arc::new(Control {
            state: Arc::clone(&state),
            admin_key: ArcSwapOption::empty(),
            path,
            env,
            // What is rehearsed is not what the file says: no reload leads from the one to the other.
            fixed: if rehearsal.is_some() { String::new() } else { fixed(config) },
            turn: Mutex::new(Vec::new()),
            current: Mutex::new(Arc::new((loaded.value.clone(), loaded.places))),
        });
        control.apply(compiled)?;
        control.state.restore_used();
        *control.turn.lock() = cert_files(config, &base);
        let (drain, draining) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let mut gateway = Self { control, addresses, drain, stop, threads: Vec::new() };
        let wait = Duration::from_millis(config.http.drain_ms);
        for (index, doors) in data.into_iter().enumerate() {
            let worker = gateway.worker(index, &draining);
            let stopping = stopping.clone();
            gateway.spawn(&format!("worker-{index}"), move || work(&worker, doors, wait, stopping))?;
        }
        let control = Arc::clone(&gateway.control);
        gateway.spawn("control", move || admin::run(&control, admin, stopping))?;
        Ok(gateway)
    }

    /// Where the listeners are bound, by name.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.addresses
    }

    /// What is no reason not to serve, and yet worth a word.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.control.state.learned.refused().into_iter().collect()
    }

    /// What reloads the policy.
    #[must_use]
    pub const fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Stops accepting, lets running requests end within the drain deadline, then stops.
    pub fn drain(mut self) {
        self.control.state.start_draining();
        self.drain.send_replace(true);
        self.join();
    }

    fn join(&mut self) {
        // Workers end by themselves once drained; the control thread when it is told.
        let control = self.threads.pop();
        for worker in self.threads.drain(..) {
            drop(worker.join());
        }
        self.stop.send_replace(true);
        if let Some(control) = control {
            drop(control.join());
        }
    }

    fn worker(&self, index: usize, draining: &watch::Receiver<bool>) -> Arc<Worker> {
        let state = &self.control.state;
        let (meters, recorder) = (Arc::clone(&state.meters), Arc::clone(&state.recorder));
        let sinks = Sinks::new(index, state.clock.clone(), meters, recorder, Arc::clone(&state.redactor));
        Arc::new(Worker::new(index, Arc::clone(state), Arc::new(sinks), draining.clone()))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.push(thread.map_err(|error| system(format!("starting thread `{name}`"), error))?);
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.drain.send_replace(true);
        self.join();
    }
}

impl Control {
    /// Whether this is no rehearsal, so that the world outside may be asked.
    pub(crate) const fn is_real(&self) -> bool {
        !self.fixed.is_empty()
    }

    /// Reads the configuration again and swaps the policy; keeps the old one if anything is wrong.
    ///
    /// # Errors
    /// Every mistake.
    pub fn reload(&self) -> Result<u64, StartError> {
        let mut files = self.turn.lock();
        let meters = &self.state.meters;
        match self.reloaded() {
            Ok((generation, now)) => {
                *files = now;
                meters.config_rejected.store(0, Ordering::Relaxed);
                meters.reloads.fetch_add(1, Ordering::Relaxed);
                self.state.forget_orphans();
                Ok(generation)
            }
            Err(error) => {
                meters.config_rejected.store(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Compiles the configuration that serves with the secrets of now, and swaps the policy.
    ///
    /// # Errors
    /// What does not fit any more; the old policy goes on, with the old secrets.
    pub fn rotate(&self) -> Result<u64, StartError> {
        let _turn = self.turn.lock();
        let current = Arc::clone(&self.current.lock());
        self.apply(self.compiled_aside(&current.0, &current.1)?)
    }

    /// Reloads if a certificate file has changed since the last reload.
    pub fn reload_changed_certs(&self) {
        let changed = self.turn.lock().iter().any(|(path, then)| modified(path) != *then);
        if changed {
            // A failure is on the metric; the next look tries again.
            drop(self.reload());
        }
    }

    fn reloaded(&self) -> Result<(u64, Watched), StartError> {
        let loaded = read(&self.path, &self.env)?;
        if fixed(&loaded.value) != self.fixed {
            let mut check = Checker::default();
            check.problem_hint(
                "listeners",
                "`listeners`, `runtime`, `memory`, `record`, `state`, `limits.store`, `http.max_connections` and `http.drain_ms` cannot change while the gateway runs",
                "restart it",
            );
            let problems = check.finish().0;
            return Err(StartError::Config(located(&problems, &loaded.places)));
        }
        let compiled = self.compiled_aside(&loaded.value, &loaded.places)?;
        let files = cert_files(&loaded.value, &base_of(&self.path));
        let generation = self.apply(compiled)?;
        *self.current.lock() = Arc::new((loaded.value, loaded.places));
        Ok((generation, files))
    }

    /// Compiles on a thread of its own that lets workers go first: half a second of rules is no reason for a request to
    /// wait.
    fn compiled_aside(&self, config: &Config, places: &Places) -> Result<Compiled, StartError> {
        let compile = || {
            step_back();
            compiled(config, places, &self.path, &self.env, &self.state).map(|(compiled, _)| compiled)
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("reload".to_owned()).spawn_scoped(scope, compile);
            let thread = thread.map_err(|error| system("starting a thread for the reload", error))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn apply(&self, compiled: Compiled) -> Result<u64, StartError> {
        let Compiled { mut policy, keys, issuers, certs, receptions, secrets, admin_key, waf_log, dial, opened: _ } =
            compiled;
        if let Some(config) = waf_log {
            let opened = WafLog::open(&config, &base_of(&self.path));
            let failed = |error| system(format!("opening `{}` for the log of the rules", config.path), error);
            policy.waf_log = Some(opened.map_err(failed)?);
        }
        self.state.secrets.adopt(secrets, &self.state.redactor);
        self.state.certs.swap(certs);
        self.state.certs.receive(receptions);
        self.state.keys.adopt(keys);
        self.state.issuers.install(issuers);
        self.state.dial.store(dial.map(Arc::new));
        self.admin_key.store(admin_key.map(Arc::new));
        Ok(self.state.set_policy(policy))
    }
}

fn read(path: &Path, env: &BTreeMap<String, String>) -> Result<crate::config::Loaded<Config>, StartError> {
    let env = |name: &str| env.get(name).cloned();
    load_config(path, &Sources::disk(&env)).map_err(StartError::Config)
}

fn compiled(
    config: &Config,
    places: &Places,
    path: &Path,
    env: &BTreeMap<String, String>,
    state: &State,
) -> Result<(Compiled, Vec<Located>), StartError> {
    let mut check = Checker::default();
    let base = base_of(path);
    let env = |name: &str| env.get(name).cloned();
    let opener = Opener::new(&base, &env).beside(&state.secrets);
    let compiled = compile(config, &base, state, opener, &mut check);
    let (problems, warnings) = check.finish();
    match compiled {
        Some(compiled) if problems.is_empty() => {
            Ok((compiled, warnings.iter().map(|warning| places.locate(warning)).collect()))
        }
        _ => Err(state.secrets.take_missing().map_or_else(
            || StartError::Config(located(&problems, places)),
            |what| StartError::Missing(format!("no secret, no start: {what}")),
        )),
    }
}

fn located(problems: &[tollgate_core::check::Problem], places: &Places) -> Report {
    Report::new(problems.iter().map(|problem| places.locate(problem)).collect())
}

fn base_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The sections that only a restart can change. Certificates of a listener may change; whether it has any may not.
fn fixed(config: &Config) -> String {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|(name, l)| {
            let tls = l.tls.as_ref().map(|tls| tls.min_version);
            (name, &l.bind, l.exposure, l.serves, l.head_checks, l.proxy_protocol, tls)
        })
        .collect();
    let http = (config.http.max_connections, config.http.drain_ms);
    let Config { runtime, memory, record, state, .. } = config;
    format!("{listeners:?} {runtime:?} {memory:?} {record:?} {state:?} {http:?} {:?}", config.limits.store)
}

fn cert_files(config: &Config, base: &Path) -> Watched {
    let chains = config.certs.values().map(|cert| &cert.cert);
    let trust = config.tls.client_auth.trust.iter().flat_map(|trust| std::iter::once(&trust.bundle).chain(&trust.crl));
    let paths = chains.chain(trust).map(|file| base.join(file));
    paths.map(|path| (modified(&path), path)).map(|(then, path)| (path, then)).collect()
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|about| about.modified()).ok()
}

fn opened(directory: &Path) -> Result<Keep, StartError> {
    Keep::open(directory).map_err(|error| system(format!("keeping state in `{}`", directory.display()), error))
}

fn state(
    config: &Config,
    embed: Box<dyn Embed>,
    target: &RecordTarget,
    keep: Option<Keep>,
) -> Result<State, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = config.runtime.workers.unwrap_or(cores);
    let threads = config.runtime.compute_threads.unwrap_or((cores / 2).max(1));
    let bodies = config.memory.bodies.map_or_else(default_bodies, |bodies| bodies.0);
    let bodies = usize::try_from(bodies).unwrap_or(usize::MAX);
    let share = bodies / 100 * usize::from(config.memory.tenant_share_percent.unwrap_or(100));
    let wait = Duration::from_millis(config.memory.wait_ms.unwrap_or(1000));
    let (dice, fresh) = (random()?, random()?);
    let seed = match &keep {
        Some(keep) => keep.seed(fresh).map_err(|error| system("reading the seed of `state.directory`", error))?,
        None => fresh,
    };
    let seed = halves(seed);
    let clock = Clock::real();
    let ledger = Arc::new(Memory::new(MemoryConfig { open_slots: OPEN_SLOTS, seed }));
    if let Some(keep) = &keep {
        let restored = keep.restore(&ledger, clock.unix_ms() / 1000);
        restored.map_err(|error| system("restoring what was used from `state.directory`", error))?;
        let at = Moment { now: tollgate_limit::Tick(clock.now().0), unix_ms: clock.unix_ms() };
        let restored = keep.restore_rates(&ledger, at);
        restored.map_err(|error| system("restoring buckets from `state.directory`", error))?;
    }
    let levers = keep.as_ref().map_or_else(|| Ok(Vec::new()), Keep::levers);
    let levers = levers.map_err(|error| system("reading the levers of `state.directory`", error))?;
    let unix_ms = clock.unix_ms();
    let shared = config.limits.store.as_ref().map(|store| Arc::new(Shared::new(store.into(), clock.clone())));
    let left = keep.as_ref().map(Keep::releases).transpose().map_err(|error| system("reading `releases`", error))?;
    let state = State::new(Parts {
        clock,
        workers,
        ledger,
        shared,
        keep,
        seed,
        dice: halves(dice),
        bodies: Budget::new(bodies, if share == 0 { bodies } else { share }, wait),
        compute: Compute::start(threads).map_err(|error| system("starting the compute pool", error))?,
        recorder: Arc::new(Recorder::start(target).map_err(|error| system(format!("opening {target:?}"), error))?),
        redactor: Arc::new(Redactor::default()),
        embed,
    });
    state.levers.replace(levers, unix_ms);
    if let Some(written) = left.flatten() {
        let restored = state.releases.restore(&written).map_err(io::Error::from);
        restored.map_err(|error| system("restoring `releases` from `state.directory`", error))?;
    }
    if let Some(keep) = &state.keep {
        state.learned.take_over(keep);
    }
    Ok(state)
}

fn random() -> Result<u128, StartError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| system("drawing random numbers", io::Error::other("no source")))?;
    Ok(u128::from_le_bytes(bytes))
}

const fn halves(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, number as u64)
}

/// 256 MiB, or a quarter of the cgroup's limit if that is less.
fn default_bodies() -> u64 {
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    (256 << 20).min(limit / 4)
}

/// Sockets of every worker, and of the control thread.
struct Sockets {
    data: Vec<Vec<(TcpListener, Arc<Door>)>>,
    admin: Vec<TcpListener>,
    addresses: BTreeMap<String, SocketAddr>,
}

fn bind(config: &Config, state: &Arc<State>) -> Result<Sockets, StartError> {
    let connections = Arc::new(Semaphore::new(config.http.max_connections));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut sockets = Sockets {
        data: (0..state.workers).map(|_| Vec::new()).collect(),
        admin: Vec::new(),
        addresses: BTreeMap::new(),
    };
    for (name, listener) in &config.listeners {
        let failed = |error| system(format!("listening on `{}` for `{name}`", listener.bind), error);
        let mut at: SocketAddr =
            listener.bind.parse().map_err(|_| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
        if listener.serves == Serves::Admin {
            let socket = listen(at, false).map_err(failed)?;
            sockets.addresses.insert(name.clone(), socket.local_addr().map_err(failed)?);
            sockets.admin.push(socket);
            continue;
        }
        let tls = match &listener.tls {
            Some(tls) => Some(server_config(&state.certs, name, tls.min_version.unwrap_or_default()).map_err(failed)?),
            None => None,
        };
        let (connections, handshakes) = (Arc::clone(&connections), Arc::clone(&handshakes));
        let lenient = listener.head_checks == HeadChecks::Lenient;
        let proxied = listener.proxy_protocol == ProxyProtocol::Required;
        let door = Arc::new(Door { name: name.as_str().into(), tls, connections, handshakes, proxied, lenient });
        for worker in &mut sockets.data {
            let socket = listen(at, true).map_err(failed)?;
            // Port 0 takes a free port once; the other workers join it.
            at = socket.local_addr().map_err(failed)?;
            worker.push((socket, Arc::clone(&door)));
        }
        sockets.addresses.insert(name.clone(), at);
    }
    Ok(sockets)
}

fn listen(at: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// The life of one worker thread.
fn work(worker: &Arc<Worker>, doors: Vec<(TcpListener, Arc<Door>)>, wait: Duration, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        worker.tasks.spawn_detached(Arc::clone(&worker.ticker).run(Ticker::EVERY));
        worker.tasks.spawn_detached(Arc::clone(worker).housekeeping());
        for (listener, door) in doors {
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                worker.tasks.spawn(accept(Arc::clone(worker), listener, door));
            }
        }
        let mut drain = worker.drain.clone();
        drop(drain.wait_for(|draining| *draining).await);
        tokio::select! {
            () = worker.tasks.all_ended() => {}
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    drop(runtime);
    worker.sinks.flush();
}

fn system(what: impl Into<String>, error: io::Error) -> StartError {
    StartError::System { what: what.into(), error }
}
