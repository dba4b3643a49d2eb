//! A gateway in a test: its directory, its configuration, its keys, its records and its metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::Value;
use tollgate_core::time::Clock;
use tollgate_gateway::config::KeyDesk;
use tollgate_gateway::record::RecordTarget;
use tollgate_gateway::start::{Gateway, Setup, StartError};
use tollgate_gateway::state::{Embed, NoModels};
use tollgate_gateway::upstream::Upstream;
use tollgate_layers::auth::{NewKey, PepperValue, Timestamp};

use crate::ca::Pair;
use crate::client::Client;
use crate::folder::Folder;
use crate::{Ca, until};

/// What every configuration of a test begins with.
const BASE: &str = r#"version: 1
listeners:
  plain: { bind: "127.0.0.1:0" }
  tls: { bind: "127.0.0.1:0", tls: { certs: [main] } }
  admin: { bind: "127.0.0.1:0", serves: admin }
certs:
  main: { names: [gateway.test], cert: cert.pem, key: secret://file/key.pem }
admin: { key: secret://env/ADMIN_KEY }
flood: { per_address: { burst: 10000000, refill_per_sec: 1000000 } }
"#;
const ADMIN_KEY: &str = "the-admin-key-of-a-test";

/// A running gateway.
pub struct House {
    /// The authority of its certificate.
    pub ca: Ca,
    /// Its directory.
    pub folder: Folder,
    gateway: Option<Gateway>,
    addresses: BTreeMap<String, SocketAddr>,
    keys: BTreeMap<String, String>,
    /// Members of `auth` beside its keys.
    auth: String,
}

impl House {
    /// Starts a gateway. `rest` is the configuration without the sections of the tests' common base: `version`,
    /// `listeners` (`plain`, `tls`, `admin`), `certs`, `admin`, `auth` and `flood`.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn start(rest: &str) -> Self {
        Self::start_with(rest, Box::new(NoModels))
    }

    /// Starts a gateway with embedded models.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn start_with(rest: &str, embed: Box<dyn Embed>) -> Self {
        Self::furnish(rest).open(embed)
    }

    /// Starts a gateway whose configuration names files that `prepare` writes.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn start_in(rest: &str, prepare: impl FnOnce(&Folder)) -> Self {
        let house = Self::furnish(rest);
        prepare(&house.folder);
        house.open(Box::new(NoModels))
    }

    /// Starts a gateway whose section `auth` has more members than its keys, such as `issuers: { … }`.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn start_trusting(auth: &str, rest: &str, prepare: impl FnOnce(&Folder)) -> Self {
        let mut house = Self::furnish(rest);
        auth.clone_into(&mut house.auth);
        house.configure(rest);
        prepare(&house.folder);
        house.open(Box::new(NoModels))
    }

    fn open(mut self, embed: Box<dyn Embed>) -> Self {
        let house = &mut self;
        let setup = Setup {
            config: house.folder.join("tollgate.yaml"),
            env: environment(),
            embed,
            access: Some(RecordTarget::File(house.folder.join("access.jsonl"))),
        };
        let gateway = Gateway::start(setup).unwrap_or_else(|error| panic!("{error}"));
        house.addresses = gateway.addresses().clone();
        house.gateway = Some(gateway);
        self
    }

    /// Ends the gateway and starts another one in the same directory, without embedded models.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn restart(mut self) -> Self {
        drop(self.gateway.take());
        self.open(Box::new(NoModels))
    }

    /// Everything but a gateway: for tests that run one as a process of its own. [`environment`] belongs to it.
    ///
    /// # Panics
    /// If the configuration has mistakes.
    #[must_use]
    pub fn furnish(rest: &str) -> Self {
        let (ca, folder) = (Ca::new(), Folder::fresh());
        let (addresses, keys, auth) = (BTreeMap::new(), BTreeMap::new(), String::new());
        let mut house = Self { ca, folder, gateway: None, addresses, keys, auth };
        house.certify();
        house.configure(rest);
        house.issue();
        house
    }

    /// Writes the configuration anew; a reload is another step.
    pub fn configure(&self, rest: &str) {
        let comma = if self.auth.is_empty() { "" } else { ", " };
        let keys = "keys: { file: keys.yaml, pepper: { v1: secret://env/PEPPER } }";
        let auth = format!("auth: {{ {keys}{comma}{} }}\n", self.auth);
        self.folder.write("tollgate.yaml", format!("{BASE}{auth}{rest}"));
    }

    /// Writes a new certificate and its key; a reload is another step.
    pub fn certify(&self) -> Pair {
        let pair = self.ca.issue(&[crate::dial::HOST]);
        self.folder.write("cert.pem", &pair.cert);
        self.folder.write("key.pem", &pair.key);
        pair
    }

    /// Makes one key for each tenant.
    fn issue(&mut self) {
        let env = environment();
        let path = self.folder.join("tollgate.yaml");
        let open = KeyDesk::open(&path, &|name: &str| env.get(name).cloned());
        let mut desk = open.unwrap_or_else(|error| panic!("{error}"));
        for tenant in desk.tenants.clone() {
            let (id, value) = desk.peppers.first_key_value().expect("the base names a pepper");
            let request = NewKey {
                env: "test".to_owned(),
                tenant: tenant.clone(),
                created_by: "a test".to_owned(),
                ..NewKey::default()
            };
            let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).expect("random numbers");
            let now = Timestamp::of_unix_ms(Clock::real().unix_ms());
            let key = desk.keys.issue(request, PepperValue { id, value }, &mut random, now).expect("a key");
            self.keys.insert(tenant, key.reveal().to_owned());
        }
        desk.save().expect("a key file");
    }

    /// Revokes the key of a tenant in the key file; the gateway sees that within a second, or with the next reload.
    ///
    /// # Panics
    /// If the tenant has none.
    pub fn revoke(&self, tenant: &str) {
        let env = environment();
        let path = self.folder.join("tollgate.yaml");
        let mut desk = KeyDesk::open(&path, &|name: &str| env.get(name).cloned()).expect("a key file");
        let id = self.key(tenant).split('_').nth(2).expect("a key has an id").to_owned();
        desk.keys.revoke(&id, Timestamp::of_unix_ms(Clock::real().unix_ms())).expect("a known id");
        desk.save().expect("a key file");
    }

    /// The key of a tenant.
    ///
    /// # Panics
    /// If the tenant has none.
    #[must_use]
    pub fn key(&self, tenant: &str) -> &str {
        self.keys.get(tenant).unwrap_or_else(|| panic!("`{tenant}` has no key"))
    }

    /// The line that carries the key of a tenant.
    #[must_use]
    pub fn bearer(&self, tenant: &str) -> String {
        format!("Authorization: Bearer {}\r\n", self.key(tenant))
    }

    /// Where a listener is.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn at(&self, listener: &str) -> SocketAddr {
        *self.addresses.get(listener).unwrap_or_else(|| panic!("no listener `{listener}`"))
    }

    /// A connection in plain text.
    pub async fn plain(&self) -> Client {
        Client::plain(self.at("plain")).await
    }

    /// TLS of a client that trusts the house, offering `alpn`.
    #[must_use]
    pub fn trust(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.ca.client(alpn)
    }

    /// The gateway.
    ///
    /// # Panics
    /// If it was drained.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the gateway runs")
    }

    /// Takes the gateway, to drain it elsewhere.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn take(&mut self) -> Gateway {
        self.gateway.take().expect("the gateway runs")
    }

    /// Reloads; blocks until the new policy serves.
    ///
    /// # Errors
    /// Every mistake.
    pub fn reload(&self) -> Result<u64, StartError> {
        self.gateway().control().reload()
    }

    /// Sends a request to the admin listener, with its key.
    pub async fn admin(&self, method: &str, path: &str) -> crate::Reply {
        let mut client = Client::plain(self.at("admin")).await;
        client
            .ask(format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n"))
            .await
    }

    /// Sends a request with a body of JSON to the admin listener, with its key.
    pub async fn order(&self, path: &str, body: &Value) -> crate::Reply {
        let lines = format!("Authorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n");
        let mut client = Client::plain(self.at("admin")).await;
        client.ask(crate::client::post(path, &lines, &body.to_string())).await
    }

    /// The value of a row of `/metrics`, such as `tollgate_connections` or `name{label="value"}`.
    pub async fn metric(&self, row: &str) -> Option<f64> {
        let text = self.admin("GET", "/metrics").await.text();
        let line = text.lines().find(|line| line.strip_prefix(row).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
    }

    /// The sum of all rows of `/metrics` that begin so.
    pub async fn sum(&self, start: &str) -> f64 {
        let text = self.admin("GET", "/metrics").await.text();
        let rows = text.lines().filter(|line| line.starts_with(start));
        rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until nothing runs, waits or is held any more.
    ///
    /// # Panics
    /// If something is left over.
    pub async fn quiet(&self) {
        let state = &self.gateway().control().state;
        let idle = || {
            let policy = state.policy();
            let at_rest = |upstream: &Upstream| upstream.queue.level() == (0, 0) && upstream.running() == 0;
            state.bodies.held() == 0 && policy.upstreams.iter().all(at_rest)
        };
        until("places and held bytes to be given back", idle).await;
    }

    /// Every access line so far.
    ///
    /// # Panics
    /// If one is no JSON.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join("access.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole.lines().map(|line| serde_json::from_str(line).expect("an access line is JSON")).collect()
    }

    /// Waits for the access line of an exchange.
    ///
    /// # Panics
    /// If it does not come, or comes twice.
    pub async fn line(&self, id: &str) -> Value {
        self.line_where(id, |line| line["id"] == id).await
    }

    /// Waits for the one access line that is so.
    ///
    /// # Panics
    /// If it does not come, or comes twice.
    pub async fn line_where(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut found = Vec::new();
        until(format_args!("the access line of {what}"), || {
            found = self.lines().into_iter().filter(|line| is_so(line)).collect();
            !found.is_empty()
        })
        .await;
        assert_eq!(found.len(), 1, "one exchange, one line: {found:?}");
        found.remove(0)
    }
}

/// Sends a request to an admin listener, with its key.
pub async fn admin(at: SocketAddr, method: &str, path: &str) -> crate::Reply {
    let mut client = Client::plain(at).await;
    client.ask(format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n")).await
}

/// The environment that a gateway of a test sees.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let pairs = [("ADMIN_KEY", ADMIN_KEY), ("PEPPER", "a pepper of a test, 32 bytes or more")];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
