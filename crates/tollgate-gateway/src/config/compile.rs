//! From a document of the right shape to a policy: every mistake of meaning is reported, then the layers are built.

mod authorized;
mod fallback;
mod issuers;
mod queueing;
mod remote;
mod trust;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_core::backend::{Backend, Signature};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Gate, Guard};
use tollgate_core::secret::{Secret, SecretRef};
use tollgate_core::stage::Stage;
use tollgate_layers::auth::{Auth, Sentry, Tokens};
use tollgate_layers::authz;
use tollgate_layers::contract::{Contract, Contracts};
use tollgate_layers::cost::{Classes, Costs, Priced};
use tollgate_layers::limits::{Bank, LimitNames};
use tollgate_layers::network::{Exposure, check_admin_bind, check_bind};
use tollgate_layers::parse::ParseModel;
use tollgate_layers::protocol::oip;
use tollgate_layers::routes::{self, Protocol, ReplyMode, RouteConfig, RouteNames, Routes};
use tollgate_layers::waf::{Given, Waf, WafLogConfig};

use super::caching;
use super::dial::{Address, dial};
use super::document::{
    Config, EmbeddedConfig, HeadChecks, ListenerConfig, ModelConfig, ProxyProtocol, Serves, UpstreamConfig,
};
use super::openapi;
use super::presets::{self, Opened};
use super::rules::RuleFiles;
use crate::issuers::{Fresh, IssuerDesk};
use crate::keys::{Keyed, Place, Recipe};
use crate::listen::head::HeadLimits;
use crate::quota::Published;
use crate::secrets::{Opened as OpenedSecrets, Opener};
use crate::snapshot::{Model, Policy};
use crate::state::State;
use crate::store::Dial;
use crate::tls::{Certified, Reception};
use crate::upstream::{Target, Upstream};
pub(crate) use remote::{endpoint, is_endpoint};

/// What a compilation yields beside the policy: applied together with it, or not at all.
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// API keys.
    pub keys: Keyed,
    /// Issuers of access tokens, and where their keys come from.
    pub issuers: Vec<(Arc<IssuerDesk>, Fresh)>,
    /// Certificates of each listener.
    pub certs: HashMap<String, Certified>,
    /// How listeners ask for client certificates, by name.
    pub receptions: HashMap<String, Arc<Reception>>,
    /// Every loaded secret.
    pub secrets: OpenedSecrets,
    /// The admin listener's key.
    pub admin_key: Option<Secret>,
    /// The log of the rules, to be opened when the policy begins to serve.
    pub waf_log: Option<WafLogConfig>,
    /// What presets opened.
    pub opened: Vec<Opened>,
    /// How the store of shared balances is reached.
    pub dial: Option<Dial>,
}

/// Where a compilation stands.
struct Desk<'a> {
    config: &'a Config,
    /// The folder that paths of the configuration begin in.
    base: &'a Path,
    state: &'a State,
    opener: Opener<'a>,
    models: BTreeMap<String, ModelId>,
    upstreams: BTreeMap<String, usize>,
}

/// Reports every mistake of `config`, then builds the policy. `None` stands for at least one reported mistake.
pub fn compile(
    config: &Config,
    base: &Path,
    state: &State,
    mut opener: Opener<'_>,
    check: &mut Checker,
) -> Option<Compiled> {
    opener.configure(&config.secrets, check);
    let (mut config, opened) = presets::opened(config, check);
    openapi::fill(&mut config, base, check);
    let config = &config;
    let models = (0..).map(ModelId).zip(config.models.keys()).map(|(id, name)| (name.clone(), id)).collect();
    let upstreams = config.upstreams.keys().cloned().enumerate().map(|(place, name)| (name, place)).collect();
    let mut desk = Desk { config, base, state, opener, models, upstreams };
    check_names(config, check);
    let upstreams = check.within("upstreams", |check| desk.upstreams(base, check));
    let certs = desk.listeners(base, check);
    let admin_key = desk.admin_key(check);
    let classes = check.within("cost", |check| config.cost.compile(check));
    let waf = desk.waf(base, check);
    let routes = check.within("routes", |check| {
        let names = RouteNames { models: &desk.models, upstreams: &desk.upstreams, classes: &config.cost.names() };
        routes::compile(&capped(&config.routes, waf.as_ref()), check, &names)
    });
    check.require(!config.routes.is_empty(), "routes", "no route: nothing would be served");
    let keys = desk.keys(base, check);
    let (tokens, issuers) = desk.tokens(check);
    let trust::Asking { layer, receptions } = desk.client_auth(base, check);
    let mut policy = desk.policy(check, upstreams, Rules { routes, waf, tokens }, classes);
    policy.auth.layer = policy.auth.layer.with_certificates(layer);
    let dial = desk.dial(base, check);
    let secrets = desk.opener.opened();
    let waf_log = config.waf.log.clone();
    let compiled = Compiled { policy, keys, issuers, certs, receptions, secrets, admin_key, waf_log, opened, dial };
    check.is_clean().then_some(compiled)
}

/// What decides about requests by their form.
struct Rules {
    routes: Routes,
    waf: Option<Waf>,
    tokens: Tokens,
}

/// The routes under the limits of their rules: `SecRequestBodyLimit` lowers a cap and never raises it.
fn capped(routes: &[RouteConfig], waf: Option<&Waf>) -> Vec<RouteConfig> {
    let mut routes = routes.to_vec();
    for (index, route) in routes.iter_mut().enumerate() {
        let limit = waf.and_then(|waf| waf.body_limit(index)).unwrap_or(u64::MAX);
        route.max_body_bytes = Some(route.body_cap().min(limit));
    }
    routes
}

fn check_names(config: &Config, check: &mut Checker) {
    let sections: [(&str, Vec<&String>); 4] = [
        ("listeners", config.listeners.keys().collect()),
        ("certs", config.certs.keys().collect()),
        ("upstreams", config.upstreams.keys().collect()),
        ("models", config.models.keys().collect()),
    ];
    for (section, names) in sections {
        check.within(section, |check| {
            for name in names {
                // Names of models come from servers, which use `org/name` and `name:tag`.
                let signs: &[u8] = if section == "models" { b"_-.:/" } else { b"_-." };
                let fit = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
                let more = if section == "models" { ", `:`, `/`" } else { "" };
                let named = (1..=128).contains(&name.len()) && name.bytes().all(fit);
                check.require(
                    named,
                    name.as_str(),
                    format!("`{name}` is not 1 to 128 of letters, digits, `_`, `-`, `.`{more}"),
                );
            }
        });
    }
    if !config.listeners.values().any(|listener| listener.serves == Serves::Data) {
        check.problem("listeners", "no listener serves `data`");
    }
}

impl Desk<'_> {
    fn upstreams(&mut self, base: &Path, check: &mut Checker) -> Vec<Option<Upstream>> {
        let config = self.config;
        config
            .upstreams
            .iter()
            .map(|(name, upstream)| check.within(name.as_str(), |check| self.upstream(name, upstream, base, check)))
            .collect()
    }

    fn upstream(&mut self, name: &str, config: &UpstreamConfig, base: &Path, check: &mut Checker) -> Option<Upstream> {
        let key = self.key_of(config, check);
        let target = match (&config.embedded, config.endpoints.is_empty() && config.grpc.is_empty()) {
            (Some(_), false) => {
                check.problem("embedded", "an upstream has either `endpoints` or an `embedded` model");
                None
            }
            (Some(embedded), true) => self.embedded(embedded, base, check).map(Target::Local),
            (None, true) => {
                check.problem_here("an upstream needs `endpoints`, `grpc` or an `embedded` model");
                None
            }
            (None, false) => self.remote(name, config, (key, base), check).map(Target::Remote),
        };
        let bounds = queueing::bounds(&self.config.queue, &config.inflight, check);
        let signals = queueing::signals(config, &bounds, base, check);
        Some(Upstream {
            name: name.into(),
            preset: config.preset,
            target: target?,
            queue: self.state.queue(name, bounds),
            signals: signals.map(Arc::new),
        })
    }

    fn embedded(&self, embedded: &EmbeddedConfig, base: &Path, check: &mut Checker) -> Option<Arc<dyn Backend>> {
        let state = self.state;
        let loaded = state.backend(embedded, || match embedded {
            EmbeddedConfig::Shipped(name) => state.embed.shipped(name),
            EmbeddedConfig::File(file) => {
                let path = base.join(&file.file);
                let bytes = super::disk::read_up_to(&path, 1 << 30)
                    .map_err(|error| format!("`{}` cannot be read: {error}", file.file))?;
                state.embed.file(bytes, file.sha256.as_deref(), &file.labels)
            }
        });
        loaded.map_err(|why| check.problem("embedded", why)).ok()
    }

    fn listeners(&mut self, base: &Path, check: &mut Checker) -> HashMap<String, Certified> {
        let config = self.config;
        let mut keys = HashMap::new();
        check.within("certs", |check| {
            for (name, cert) in &config.certs {
                check.within(name.as_str(), |check| {
                    check.require(!cert.names.is_empty(), "names", "a certificate serves at least one name");
                    let key = self.open(&cert.key, "key", check);
                    let chain = super::disk::read_up_to(&base.join(&cert.cert), 1 << 20)
                        .map_err(|error| check.problem("cert", format!("`{}` cannot be read: {error}", cert.cert)));
                    let (Some(key), Ok(chain)) = (key, chain) else { return };
                    match Certified::key(&chain, &key) {
                        Ok(certified) => drop(keys.insert(name.clone(), certified)),
                        Err(why) => check.problem("cert", why),
                    }
                });
            }
        });
        let mut tables = HashMap::new();
        check.within("listeners", |check| {
            for (name, listener) in &config.listeners {
                check.within(name.as_str(), |check| {
                    match listener.bind.parse() {
                        Ok(bind) if listener.serves == Serves::Admin => {
                            check_admin_bind(check, bind, listener.exposure);
                        }
                        Ok(bind) => check_bind(check, bind, listener.exposure),
                        Err(_) => check.problem("bind", format!("`{}` is not an address and a port", listener.bind)),
                    }
                    check_leniency(check, listener);
                    check_proxies(check, listener, config);
                    let Some(tls) = &listener.tls else { return };
                    let table = check.within("tls", |check| certified(&tls.certs, config, &keys, check));
                    tables.insert(name.clone(), table);
                });
            }
        });
        tables
    }

    fn waf(&self, base: &Path, check: &mut Checker) -> Option<Waf> {
        let files = RuleFiles::new(base);
        let threads = self.state.workers + self.state.compute.threads();
        self.config.waf.compile(check, &Given { routes: &self.config.routes, source: &files, threads })
    }

    fn admin_key(&mut self, check: &mut Checker) -> Option<Secret> {
        let serves = self.config.listeners.values().any(|listener| listener.serves == Serves::Admin);
        let Some(admin) = &self.config.admin else {
            check.require(!serves, "listeners", "a listener that serves `admin` needs `admin: { key: … }`");
            return None;
        };
        let key = check.within("admin", |check| self.open(&admin.key, "key", check))?;
        let long = key.expose().len() >= 16;
        check.within("admin", |check| check.require(long, "key", "the admin key has fewer than 16 characters"));
        Some(key)
    }

    /// How the store of shared balances is reached.
    fn dial(&mut self, base: &Path, check: &mut Checker) -> Option<Dial> {
        let store = self.config.limits.store.as_ref()?;
        check.within("limits", |check| {
            check.within("store", |check| {
                let (cluster, namespace) = (store.cluster, &*store.namespace);
                let ca = store.ca.as_ref().map(|ca| base.join(ca));
                dial(&Address { url: &store.url, ca, cluster, namespace }, &mut self.opener, check)
            })
        })
    }

    fn open(&mut self, reference: &SecretRef, at: &str, check: &mut Checker) -> Option<Secret> {
        self.opener.open(reference, at, check)
    }

    fn keys(&mut self, base: &Path, check: &mut Checker) -> Keyed {
        let config = self.config;
        let ids = self.state.id_key;
        let models = self.models.clone();
        let mut values = BTreeMap::new();
        let mut before = Vec::new();
        let opener = &mut self.opener;
        check.within("auth", |check| {
            check.within("keys", |check| {
                check.within("pepper", |check| {
                    for (name, reference) in config.auth.keys.iter().flat_map(|keys| &keys.pepper) {
                        // The stand-in is for a policy that is never used, or for a pepper that was withdrawn: no seal was
                        // made with it, and its keys need not be told of as well.
                        let value = opener.open(reference, name, check).unwrap_or_else(|| opener.stand_in());
                        before.extend(opener.before(reference).map(|value| (name.clone(), value)));
                        values.insert(name.clone(), value);
                    }
                });
            });
            let mut peppers = config.auth.compile(check, &values);
            before.iter().for_each(|(name, value)| peppers.accept_also(name, value));
            let Some(keys) = &config.auth.keys else { return Keyed::default() };
            let place = check.within("keys", |check| Place::of(keys, base, opener, check));
            let Some(place) = place else { return Keyed::default() };
            let (tenants, opaque) = (config.tenants.clone(), keys.opaque);
            Keyed::read(Recipe { place, tenants, models, ids, peppers, values, opaque }, check)
        })
    }

    /// What stands before a credential.
    fn sentry(&self, check: &mut Checker) -> Sentry {
        let (ledger, refusals) = (&self.state.ledger, Arc::clone(&self.state.refusals));
        check.within("auth", |check| self.config.auth.sentry(check, ledger, refusals))
    }

    /// Calendar quotas without a directory to keep them in.
    fn warn_of_what_is_forgotten(&self, check: &mut Checker) {
        if self.config.state.directory.is_some() {
            return;
        }
        check.within("budgets", |check| {
            let calendars =
                self.config.limits.budgets.iter().enumerate().filter(|(_, budget)| budget.calendar.is_some());
            for (i, _) in calendars {
                let why = "a restart forgets what was used: `state.directory` is not set";
                check.within(i, |check| check.warn("calendar", why));
            }
        });
    }

    fn policy(
        &self,
        check: &mut Checker,
        upstreams: Vec<Option<Upstream>>,
        Rules { routes, waf, tokens }: Rules,
        classes: Classes,
    ) -> Policy {
        let config = self.config;
        let mut built = Built::default();
        check.within("models", |check| {
            for (name, model) in &config.models {
                check.within(name.as_str(), |check| {
                    self.model((name, model), &upstreams, &classes, (check, &mut built));
                });
            }
        });
        let authz = self.authz(&routes, check);
        let listed: BTreeMap<_, _> = check.within("tenants", |check| {
            let tenants = config.tenants.iter();
            let list = |(name, tenant): (&String, &authz::TenantConfig)| {
                let listed = check.within(name.as_str(), |check| config.limits.list(check, &tenant.budgets));
                (name.clone(), listed)
            };
            tenants.map(list).collect()
        });
        let ledger = Arc::clone(&self.state.ledger);
        let limits = check.within("limits", |check| {
            self.warn_of_what_is_forgotten(check);
            let names = LimitNames { models: &self.models, tenants: &listed };
            let (gauges, levers) = (Arc::clone(&self.state.gauges), Arc::clone(&self.state.levers));
            let bank = Bank { ledger: Arc::clone(&self.state.balances), gauges, levers, seed: self.state.seed };
            config.limits.compile(check, &names, bank)
        });
        let shares =
            config.tenants.iter().map(|(name, tenant)| (self.state.id_key.tenant(name), queueing::share(tenant)));
        let meters = routes.all().iter().map(|route| self.state.meters.route(&route.name)).collect();
        Policy {
            generation: 0,
            hygiene: Gate {
                stage: Stage::Hygiene,
                layer: check.within("hygiene", |check| config.hygiene.compile(check)),
            },
            routes: Gate { stage: Stage::Routes, layer: routes },
            network: Guard {
                stage: Stage::Network,
                switch: config.network.switch(),
                layer: Some(check.within("network", |check| config.network.compile(check))),
            },
            flood: Guard {
                stage: Stage::Flood,
                switch: config.flood.switch(),
                layer: check.within("flood", |check| config.flood.compile(check, &ledger)),
            },
            auth: Gate {
                stage: Stage::Auth,
                layer: Auth::new(Arc::clone(&self.state.ring), tokens).behind(self.sentry(check)),
            },
            authz: Guard {
                stage: Stage::Authz,
                switch: check.within("authz", |check| config.authz.switch(check)),
                layer: Some(authz),
            },
            waf: Guard { stage: Stage::Waf, switch: config.waf.switch(), layer: waf },
            waf_log: None,
            intake: Gate { stage: Stage::Intake, layer: check.within("intake", |check| config.intake.compile(check)) },
            parse: Gate {
                stage: Stage::Parse,
                layer: check.within("parse", |check| config.parse.compile(check, built.parse)),
            },
            contract: Guard {
                stage: Stage::Contract,
                switch: config.contract.switch(),
                layer: Some(Contracts::new(built.contracts)),
            },
            cost: Costs::new(classes, built.costs),
            limits: Guard { stage: Stage::Limits, switch: config.limits.switch(), layer: Some(limits) },
            drift_every: config.contract.drift_every.0,
            output: check.within("output", |check| config.output.compile(check)),
            models: built.models,
            upstreams: upstreams.into_iter().flatten().collect(),
            http: config.http,
            heads: HeadLimits {
                max_head_bytes: config.hygiene.max_head_bytes,
                max_headers: config.hygiene.max_headers,
                max_target_bytes: config.hygiene.max_target_bytes,
            },
            caches: check.within("routes", |check| caching::caches(config, self.state.dice, check)),
            published: Published::of(&config.limits),
            server_metadata: Bytes::from(oip::server_metadata(env!("CARGO_PKG_VERSION"))),
            route_meters: meters,
            shares: shares.collect(),
            clock: self.state.clock.clone(),
        }
    }

    /// Whether a route speaks of the tensors of a model, so that it must be known what they are.
    fn speaks_tensors(&self, model: &str) -> bool {
        let mut routes = self.routes_of(model).peekable();
        let upstream = self.config.models.get(model).and_then(|model| self.config.upstreams.get(&model.upstream));
        // Behind a preset a model without a route is warned of: nobody can say yet what it takes.
        let closed = upstream.is_some_and(|upstream| upstream.preset.is_some());
        (routes.peek().is_none() && !closed) || routes.any(|route| route.protocol.has_tensors())
    }

    fn routes_of(&self, model: &str) -> impl Iterator<Item = &RouteConfig> {
        self.config.routes.iter().filter(move |route| route.models.iter().any(|listed| listed == model))
    }

    fn model(
        &self,
        (name, model): (&str, &ModelConfig),
        upstreams: &[Option<Upstream>],
        classes: &Classes,
        (check, built): (&mut Checker, &mut Built),
    ) {
        let place = self.upstreams.get(&model.upstream).copied();
        let known = place.is_some();
        check.require(known, "upstream", format!("`{}` is not an upstream", model.upstream));
        let upstream = place.and_then(|place| upstreams.get(place)).and_then(Option::as_ref);
        if let Some(Target::Remote(remote)) = upstream.map(|upstream| &upstream.target) {
            self.check_faces(name, &model.upstream, remote, check);
        }
        let embedded: Option<&Signature> = match upstream.map(|upstream| &upstream.target) {
            Some(Target::Local(backend)) => Some(backend.signature()),
            _ => None,
        };
        // The contract of a model whose upstream has a mistake of its own cannot be judged.
        let unknown = upstream.is_none() && model.contract.inputs.is_empty();
        let contract = if unknown {
            Contract::default()
        } else {
            check.within("contract", |check| {
                if embedded.is_none() && self.speaks_tensors(name) {
                    model.contract.check_tensors(check);
                }
                if self.routes_of(name).any(|route| route.protocol == Protocol::Json) {
                    model.contract.check_schema(check);
                }
                let lets_by = |route: &&RouteConfig| matches!(route.reply, Some(ReplyMode::Pass | ReplyMode::Window));
                if let Some(route) = self.routes_of(name).find(lets_by).filter(|_| model.contract.reply.is_some()) {
                    let message = format!("route `{}` never holds a reply, so that none can be judged", route.name);
                    check.problem("reply", message);
                }
                if self.routes_of(name).any(|route| route.protocol == Protocol::Multipart) {
                    model.contract.check_form(check);
                }
                model.contract.beside(self.base).compile(check, embedded)
            })
        };
        let contract = Arc::new(contract);
        let fallback = self.fallbacks(name, model, upstreams, check);
        built.costs.push(self.priced((name, model), &contract, classes, check));
        let platform = if embedded.is_some() { "tollgate_onnx" } else { "" };
        let metadata = oip::model_metadata(name, platform, contract.signature());
        built.models.push(Model {
            name: name.into(),
            upstream: place.unwrap_or_default(),
            fallback,
            platform: platform.into(),
            signature: contract.signature().clone(),
            metadata: Bytes::from(metadata),
            seen: self.state.observed.of(name),
            release: self.release((name, model), upstreams, check),
            published: model.contract.openapi.clone().zip(model.contract.schema.clone()),
        });
        built.parse.push(ParseModel { name: name.into(), contract: Arc::clone(&contract) });
        built.contracts.push(contract);
    }
}

impl Desk<'_> {
    /// How calls of a model are priced.
    fn priced(
        &self,
        (name, model): (&str, &ModelConfig),
        contract: &Contract,
        classes: &Classes,
        check: &mut Checker,
    ) -> Priced {
        let writes = self.routes_of(name).any(|route| route.protocol.writes_text());
        check.within("cost", |check| {
            let weights = model.cost.compile(check, classes);
            let prior = model.cost.expected(check, writes);
            let learner = self.state.learned.of(name, &model.upstream, prior);
            let counted = contract.counts_tokens();
            let elsewhere = model.versions.values().filter_map(|version| {
                let upstream = version.upstream.as_ref().filter(|upstream| **upstream != model.upstream)?;
                Some((*self.upstreams.get(upstream)?, self.state.learned.of(name, upstream, prior)))
            });
            let elsewhere = elsewhere.collect();
            Priced { weights, counted, batched: model.cost.batched, prior, learner, elsewhere }
        })
    }
}

/// Tables by model, in the making.
#[derive(Default)]
struct Built {
    models: Vec<Model>,
    parse: Vec<ParseModel>,
    contracts: Vec<Arc<Contract>>,
    costs: Vec<Priced>,
}

/// A lenient listener is a testing ground: nobody else may reach it.
fn check_leniency(check: &mut Checker, listener: &ListenerConfig) {
    if listener.head_checks == HeadChecks::Strict {
        return;
    }
    let near = listener.exposure == Exposure::Loopback && listener.serves == Serves::Data && listener.tls.is_none();
    if check.require(near, "head_checks", "`lenient` is for a listener on loopback that serves `data` without TLS") {
        check.warn("head_checks", "malformed heads reach the rules here: for conformance runs, never for clients");
    }
}

/// A listener whose clients a proxy names needs one to be trusted.
fn check_proxies(check: &mut Checker, listener: &ListenerConfig, config: &Config) {
    if listener.proxy_protocol == ProxyProtocol::Refused {
        return;
    }
    let data = listener.serves == Serves::Data;
    check.require(data, "proxy_protocol", "`required` is for listeners that serve `data`");
    let trusted = !config.network.trusted_proxies.is_empty();
    let why = "every connection would be closed: `network.trusted_proxies` is empty";
    check.require(trusted, "proxy_protocol", why);
}

fn certified(
    listed: &[String],
    config: &Config,
    keys: &HashMap<String, Arc<rustls::sign::CertifiedKey>>,
    check: &mut Checker,
) -> Certified {
    let mut table = Certified::default();
    check.require(!listed.is_empty(), "certs", "TLS needs at least one certificate");
    check.within("certs", |check| {
        for (i, name) in listed.iter().enumerate() {
            match (config.certs.get(name), keys.get(name)) {
                (Some(cert), Some(key)) => table.add(&cert.names, key),
                (Some(_), None) => {} // Its own mistake is reported where it stands.
                (None, _) => check.problem(i, format!("`{name}` is not one of `certs`")),
            }
        }
    });
    table
}
