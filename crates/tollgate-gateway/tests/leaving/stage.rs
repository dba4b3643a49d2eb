//! A worker with a policy, and nothing around it: what one connection of a gateway is served by.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::watch;
use tollgate_core::backend::{Backend, BoxFuture, Dim, Output, Port, Signature};
use tollgate_core::call::{Call, Dtype, ModelId, Tensor, Values};
use tollgate_core::check::Checker;
use tollgate_core::identity::{Identity, Method, Peer, Person};
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::Clock;
use tollgate_gateway::body::Budget;
use tollgate_gateway::compute::Compute;
use tollgate_gateway::config::{Sources, compile, load_config};
use tollgate_gateway::listen::accept::converse;
use tollgate_gateway::record::{RecordTarget, Recorder, Redactor, Sinks};
use tollgate_gateway::secrets::Opener;
use tollgate_gateway::state::{Embed, Parts, State};
use tollgate_gateway::worker::Worker;
use tollgate_layers::limits::{Payer, Per, PublicLevel};
use tollgate_limit::{Memory, MemoryConfig};
use tollgate_testkit::House;
use tollgate_testkit::house::environment;

/// Budgets of every unit that is given back, for every scope; two at a time at the model, three in its queue.
const CONFIG: &str = "runtime: { workers: 1 }
upstreams: { m: { embedded: script, inflight: { max: 2 } } }
models: { m: { upstream: m, cost: { fixed_us: 1000000 } } }
queue: { max_entries: 3 }
limits:
  budgets:
    - { name: gold, per: tenant, burst: 4000000, refill_per_sec: 1 }
    - { name: own, per: key, burst: 5000000, refill_per_sec: 1 }
    - { name: volume, per: key, unit: bytes, burst: 2000, refill_per_sec: 1 }
    - { name: hands, per: key, unit: concurrent, quota: 5 }
    - { name: machine, per: model, burst: 9000000, refill_per_sec: 1 }
    - { name: place, per: address, burst: 9000000, refill_per_sec: 100000 }
    - { name: all, per: global, burst: 9000000, refill_per_sec: 1 }
routes: [{ name: oip, path: \"/v2/{*rest}\", methods: [GET, POST], protocol: oip, models: [m] }]
tenants: { acme: { models: [m], routes: [oip], budgets: [gold, own, volume, hands] } }
";
/// A few steps of the table of addresses, against the 10 seconds that each exchange reserves there.
const ROUNDING: Duration = Duration::from_millis(10);
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// See the module.
pub(crate) struct Stage {
    pub(crate) worker: Arc<Worker>,
    pub(crate) bearer: String,
    peer: Arc<Peer>,
    _drain: watch::Sender<bool>,
    _house: House,
}

/// A model that does what the first number of its input says, after as many turns as the second.
struct Script(Signature);

impl Backend for Script {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn ready(&self) -> bool {
        true
    }

    fn infer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Output, Fault>> {
        Box::pin(async move {
            let values = match call.inputs.first().map(|tensor| &tensor.values) {
                Some(Values::F32(values)) => values.clone(),
                other => panic!("{other:?}"),
            };
            for _ in 0..values[1] as u32 {
                tokio::task::yield_now().await;
            }
            match values[0] as u32 {
                0 => {
                    let values = Values::F32(vec![0.25; 200]);
                    let tensor = Tensor { name: "y".into(), dtype: Dtype::Fp32, shape: vec![1, 200], values, at: 0..0 };
                    // It took no time: nothing does here.
                    Ok(Output { tensors: vec![tensor], compute_us: 0 })
                }
                1 => std::future::pending().await,
                _ => Err(Fault::new(Origin::Upstream, "as the script says")),
            }
        })
    }
}

struct Scripts;

impl Embed for Scripts {
    fn shipped(&self, _: &str) -> Result<Arc<dyn Backend>, String> {
        let port = |name: &str, size| Port {
            name: name.into(),
            dtype: Dtype::Fp32,
            dims: vec![Dim::Symbolic("batch".into()), Dim::Fixed(size)],
        };
        Ok(Arc::new(Script(Signature {
            inputs: vec![port("x", 2)],
            outputs: vec![port("y", 200)],
            ..Signature::default()
        })))
    }

    fn file(&self, _: Vec<u8>, _: Option<&str>, _: &[String]) -> Result<Arc<dyn Backend>, String> {
        Err("no files here".to_owned())
    }
}

impl Stage {
    pub(crate) fn build() -> Self {
        let house = House::furnish(CONFIG);
        let clock = Clock::driven();
        let ledger = Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 12, seed: (1, 2) }));
        let state = Arc::new(State::new(Parts {
            clock: clock.clone(),
            workers: 1,
            ledger,
            shared: None,
            keep: None,
            seed: (1, 2),
            dice: (3, 4),
            bodies: Budget::new(1 << 20, 1 << 20, Duration::from_secs(1)),
            compute: Compute::start(1).expect("a thread"),
            recorder: Arc::new(Recorder::start(&RecordTarget::Off).expect("nothing to open")),
            redactor: Arc::new(Redactor::default()),
            embed: Box::new(Scripts),
        }));
        let path = house.folder.join("tollgate.yaml");
        let vars = environment();
        let env = |name: &str| vars.get(name).cloned();
        let loaded = load_config(&path, &Sources::disk(&env)).unwrap_or_else(|report| panic!("{report}"));
        let base = path.parent().expect("a folder").to_owned();
        let mut check = Checker::default();
        let compiled = compile(&loaded.value, &base, &state, Opener::new(&base, &env), &mut check);
        let compiled = compiled.unwrap_or_else(|| panic!("{:?}", check.finish().0));
        state.keys.adopt(compiled.keys);
        state.set_policy(compiled.policy);
        let (meters, recorder) = (Arc::clone(&state.meters), Arc::clone(&state.recorder));
        let sinks = Arc::new(Sinks::new(0, clock, meters, recorder, Arc::clone(&state.redactor)));
        let (drain, draining) = watch::channel(false);
        let listener = Arc::from("plain");
        let peer = Peer { ip: CLIENT, port: 5, local: (CLIENT, 6), listener, sni: None, tls: false, certificate: None };
        let worker = Arc::new(Worker::new(0, state, sinks, draining));
        let bearer = format!("Bearer {}", house.key("acme"));
        Self { worker, bearer, peer: Arc::new(peer), _drain: drain, _house: house }
    }

    /// A connection; what it is served by ends with it.
    pub(crate) fn connect(&self, h2: bool, room: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(room);
        let (worker, peer) = (Arc::clone(&self.worker), Arc::clone(&self.peer));
        self.worker.tasks.spawn(async move { converse(&worker, far, peer, h2).await });
        near
    }

    /// Requests at the model and before it.
    pub(crate) fn line(&self) -> (u32, usize) {
        self.worker.state.policy().upstreams[0].queue.level()
    }

    /// Nothing runs, nothing is held, and every budget is as full as it was.
    pub(crate) async fn settled(&self, what: &str) {
        let state = &self.worker.state;
        // Time does not pass while anything can still move.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let ended = tokio::time::timeout(Duration::from_secs(1), self.worker.tasks.all_ended()).await;
        assert!(ended.is_ok(), "a connection goes on: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(state.meters.running.load(Ordering::Relaxed), 0, "exchanges run: {what}");
        assert_eq!(self.line(), (0, 0), "places before the model: {what}");
        assert_eq!(state.bodies.held(), 0, "bytes of bodies: {what}");
        assert_eq!(state.gauges.keys(), 0, "requests at once: {what}");
        let policy = state.policy();
        let limits = policy.limits.layer.as_ref().expect("budgets");
        let ids = state.id_key;
        let (tenant_id, tenant) = (ids.tenant("acme"), Box::from("acme"));
        let principal = self.bearer.split('_').nth(2).expect("a key has an id");
        let person = Person {
            tenant,
            tenant_id,
            principal: principal.into(),
            principal_id: ids.principal(principal),
            method: Method::ApiKey,
            ..Person::default()
        };
        let who = Identity::new(person);
        let payer = Payer { who: &who, model: Some(ModelId(0)), from: CLIENT, unix_ms: 0 };
        let every = limits.every_level(payer, state.clock.now());
        assert_eq!(every.len(), 7, "{every:?}");
        // Addresses are kept in steps of about a millisecond, which round.
        let rounding = |level: &PublicLevel<'_>| if level.per == Per::Address { ROUNDING } else { Duration::ZERO };
        let short: Vec<_> = every.iter().filter(|level| level.full_in > rounding(level)).collect();
        assert!(short.is_empty(), "still reserved: {short:?}: {what}");
        // Between rounds a moment passes in which roundings come back, and next to nothing of what is reserved.
        if let Clock::Driven(nanos) = &state.clock {
            nanos.fetch_add(20_000_000, Ordering::Relaxed);
        }
    }
}
