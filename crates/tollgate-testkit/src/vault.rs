//! A Vault of one test, written to the published API: versions of key and value, AppRole, tokens of pods, wrapping, tokens and
//! leases that end, a seal. Its clock is the test's, and it runs on threads of its own, so that a test may wait for it.
//!
//! It is a double, not a server: it knows no policies but [`VaultServer::forbid`], and keeps nothing secret.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tollgate_core::time::Clock;

/// A running double; stopped when it is dropped.
pub struct VaultServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Clock,
    tls: Option<Arc<ServerConfig>>,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    down: bool,
    sealed: bool,
    /// Answers with this instead of what was asked for.
    nonsense: Option<Vec<u8>>,
    /// The one namespace that exists.
    namespace: Option<String>,
    versions: BTreeMap<String, Vec<Option<Value>>>,
    plain: BTreeMap<String, Value>,
    engines: BTreeMap<String, (u64, u64)>,
    roles: BTreeMap<String, BTreeSet<String>>,
    pods: BTreeMap<String, String>,
    wrapped: BTreeMap<String, (String, String)>,
    tokens: BTreeMap<String, Grant>,
    leases: BTreeMap<String, (String, Grant)>,
    forbidden: BTreeSet<String>,
    life: (u64, u64),
    drawn: u64,
    calls: Vec<String>,
}

/// Something with a term, in seconds.
#[derive(Clone, Copy)]
struct Grant {
    ttl: u64,
    ends: u64,
    last: u64,
}

impl Grant {
    const fn new(now: u64, ttl: u64, most: u64) -> Self {
        Self { ttl, ends: now + ttl, last: now + most }
    }

    fn renew(&mut self, now: u64) -> u64 {
        self.ends = self.last.min(now + self.ttl);
        self.ends.saturating_sub(now)
    }
}

/// What is answered.
struct Answer(u16, Value);

impl VaultServer {
    /// A double that lives by `clock`, in plain text.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start(clock: Clock) -> Self {
        Self::serve(clock, None)
    }

    /// A double over TLS.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn over_tls(clock: Clock, tls: Arc<ServerConfig>) -> Self {
        Self::serve(clock, Some(tls))
    }

    fn serve(clock: Clock, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let state = State { life: (3600, 86_400), ..State::default() };
        let shared = Arc::new(Shared { clock, tls, stop: AtomicBool::new(false), state: Mutex::new(state) });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&own, &listener));
        Self { address, shared, thread: Some(thread) }
    }

    /// Its address, as a configuration has it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock())
    }

    /// Writes another version at `mount/path` of key and value with versions.
    pub fn put(&self, path: &str, fields: Value) {
        self.state(|state| state.versions.entry(path.to_owned()).or_default().push(Some(fields)));
    }

    /// Deletes the newest version there.
    pub fn delete(&self, path: &str) {
        self.state(|state| state.versions.entry(path.to_owned()).or_default().push(None));
    }

    /// Writes at `mount/path` of key and value without versions.
    pub fn put_plain(&self, path: &str, fields: Value) {
        self.state(|state| state.plain.insert(path.to_owned(), fields));
    }

    /// Credentials are made at `path` from now on, for `ttl` seconds and `most` at all.
    pub fn make_at(&self, path: &str, ttl: u64, most: u64) {
        self.state(|state| state.engines.insert(path.to_owned(), (ttl, most)));
    }

    /// How many seconds tokens live from now on: until they are renewed, and at all.
    pub fn tokens_live(&self, ttl: u64, most: u64) {
        self.state(|state| state.life = (ttl, most));
    }

    /// A token, as an operator gets it.
    #[must_use]
    pub fn token(&self) -> String {
        let now = self.now();
        self.state(|state| state.grant(now))
    }

    /// A role id that did not exist before, and its secret id.
    #[must_use]
    pub fn app_role(&self) -> (String, String) {
        self.state(|state| {
            let (role, secret) = (state.draw("role"), state.draw("secret-id"));
            state.roles.entry(role.clone()).or_default().insert(secret.clone());
            (role, secret)
        })
    }

    /// A token that wraps a new secret id of `role`.
    #[must_use]
    pub fn wrap(&self, role: &str) -> String {
        self.wrap_as(role, "auth/approle/role/gateway/secret-id")
    }

    /// The same, said to come from elsewhere.
    #[must_use]
    pub fn wrap_as(&self, role: &str, path: &str) -> String {
        self.state(|state| {
            let (token, secret) = (state.draw("wrapping"), state.draw("secret-id"));
            state.roles.entry(role.to_owned()).or_default().insert(secret.clone());
            state.wrapped.insert(token.clone(), (path.to_owned(), secret));
            token
        })
    }

    /// Lets pods with this token in, as `role`.
    pub fn let_pod_in(&self, role: &str, jwt: &str) {
        self.state(|state| state.pods.insert(role.to_owned(), jwt.to_owned()));
    }

    /// Nothing is known outside this namespace from now on.
    pub fn only_in(&self, namespace: &str) {
        self.state(|state| state.namespace = Some(namespace.to_owned()));
    }

    /// Seals or unseals it.
    pub fn seal(&self, sealed: bool) {
        self.state(|state| state.sealed = sealed);
    }

    /// Hangs up on everybody from now on, or no longer.
    pub fn go_down(&self, down: bool) {
        self.state(|state| state.down = down);
    }

    /// Answers everything with these bytes, whatever they are.
    pub fn talk_nonsense(&self, bytes: Option<Vec<u8>>) {
        self.state(|state| state.nonsense = bytes);
    }

    /// Forbids a path, or allows it again.
    pub fn forbid(&self, path: &str, forbidden: bool) {
        self.state(|state| match forbidden {
            true => state.forbidden.insert(path.to_owned()),
            false => state.forbidden.remove(path),
        });
    }

    /// Revokes all tokens, and all leases with them.
    pub fn revoke_all(&self) {
        self.state(|state| {
            state.tokens.clear();
            state.leases.clear();
        });
    }

    /// What was asked since this was asked last: method and path.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state(|state| std::mem::take(&mut state.calls))
    }

    /// How many leases and tokens live.
    #[must_use]
    pub fn living(&self) -> (usize, usize) {
        let now = self.now();
        self.state(|state| {
            state.end(now);
            (state.leases.len(), state.tokens.len())
        })
    }

    fn now(&self) -> u64 {
        self.shared.now()
    }
}

impl Drop for VaultServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes who accepts.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.now().0 / 1_000_000_000
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            drop(stream.set_read_timeout(Some(Duration::from_secs(10))));
            // Who asks has gone, or will see that it got nothing.
            drop(match &shared.tls {
                None => talk(&shared, stream),
                Some(tls) => ServerConnection::new(Arc::clone(tls))
                    .map_err(std::io::Error::other)
                    .and_then(|connection| talk(&shared, StreamOwned::new(connection, stream))),
            });
        });
    }
}

fn talk(shared: &Shared, stream: impl Read + Write) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = fields.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let path = path.strip_prefix("/v1/").unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = {
        let mut state = shared.state.lock();
        state.calls.push(format!("{method} {path}"));
        if state.down {
            return Ok(());
        }
        if let Some(bytes) = &state.nonsense {
            let bytes = bytes.clone();
            drop(state);
            return stream.get_mut().write_all(&bytes);
        }
        state.answer((&method, path), &fields, &body, shared.now())
    };
    let body = if answer.0 == 204 { String::new() } else { answer.1.to_string() };
    let head = format!(
        "HTTP/1.1 {} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.0,
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes())?;
    stream.get_mut().write_all(body.as_bytes())?;
    stream.get_mut().flush()
}

const DENIED: &str = "permission denied";

fn refused(status: u16, why: &str) -> Answer {
    Answer(status, json!({ "errors": [why] }))
}

impl State {
    fn draw(&mut self, what: &str) -> String {
        self.drawn += 1;
        format!("{what}-of-the-double-{:04}", self.drawn)
    }

    fn grant(&mut self, now: u64) -> String {
        let token = self.draw("hvs.token");
        self.tokens.insert(token.clone(), Grant::new(now, self.life.0, self.life.1));
        token
    }

    /// Ends what is over: a lease goes with the token under which it was granted.
    fn end(&mut self, now: u64) {
        self.tokens.retain(|_, grant| now < grant.ends);
        let tokens = &self.tokens;
        self.leases.retain(|_, (token, grant)| now < grant.ends && tokens.contains_key(token));
    }

    fn answer(
        &mut self,
        (method, path): (&str, &str),
        fields: &BTreeMap<String, String>,
        body: &Value,
        now: u64,
    ) -> Answer {
        if self.sealed {
            return refused(503, "Vault is sealed");
        }
        if self.namespace.is_some() && fields.get("x-vault-namespace") != self.namespace.as_ref() {
            return refused(404, "no handler for route");
        }
        self.end(now);
        let token = fields.get("x-vault-token").cloned().unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (method, path) {
            ("POST", "auth/approle/login") => {
                let known = self.roles.get(&text("role_id")).is_some_and(|ids| ids.contains(&text("secret_id")));
                if known { self.logged_in(now) } else { refused(400, "invalid role or secret ID") }
            }
            ("POST", "auth/kubernetes/login") => match self.pods.get(&text("role")) {
                Some(jwt) if *jwt == text("jwt") => self.logged_in(now),
                _ => refused(403, DENIED),
            },
            ("POST", "sys/wrapping/lookup") => match self.wrapped.get(&text("token")) {
                Some((path, _)) => Answer(200, json!({ "data": { "creation_path": path, "creation_ttl": 60 } })),
                None => refused(403, "bad token"),
            },
            ("POST", "sys/wrapping/unwrap") => match self.wrapped.remove(&token) {
                Some((_, secret_id)) => Answer(200, json!({ "data": { "secret_id": secret_id, "secret_id_ttl": 0 } })),
                None => refused(400, "wrapping token is not valid or does not exist"),
            },
            _ if !self.tokens.contains_key(&token) => refused(403, DENIED),
            _ if self.forbidden.contains(path) => refused(403, DENIED),
            ("GET", path) => self.read(path, &token, now),
            (_, path) => self.act(path, &token, body, now),
        }
    }

    fn logged_in(&mut self, now: u64) -> Answer {
        let token = self.grant(now);
        let auth =
            json!({ "client_token": token, "lease_duration": self.life.0, "renewable": true, "policies": ["gateway"] });
        Answer(200, json!({ "lease_id": "", "data": null, "auth": auth }))
    }

    fn read(&mut self, path: &str, token: &str, now: u64) -> Answer {
        if path == "auth/token/lookup-self" {
            let ends = self.tokens.get(token).map_or(0, |grant| grant.ends);
            return Answer(200, json!({ "data": { "ttl": ends.saturating_sub(now), "renewable": true, "id": token } }));
        }
        if let Some((ttl, most)) = self.engines.get(path).copied() {
            let id = format!("{path}/{}", self.draw("lease"));
            self.leases.insert(id.clone(), (token.to_owned(), Grant::new(now, ttl, most)));
            let data = json!({ "username": self.draw("user"), "password": self.draw("password") });
            return Answer(200, json!({ "lease_id": id, "lease_duration": ttl, "renewable": true, "data": data }));
        }
        if let Some(data) = self.plain.get(path) {
            return Answer(
                200,
                json!({ "lease_id": "", "lease_duration": 2_764_800, "renewable": false, "data": data }),
            );
        }
        let place = path.split_once("/data/").map(|(mount, rest)| format!("{mount}/{rest}"));
        let versions = place.and_then(|place| self.versions.get(&place));
        let metadata = |version: usize| json!({ "version": version, "destroyed": false });
        match versions.and_then(|versions| Some((versions.len(), versions.last()?))) {
            Some((version, Some(data))) => {
                Answer(200, json!({ "data": { "data": data, "metadata": metadata(version) } }))
            }
            Some((version, None)) => Answer(404, json!({ "data": { "data": null, "metadata": metadata(version) } })),
            None => Answer(404, json!({ "errors": [] })),
        }
    }

    fn act(&mut self, path: &str, token: &str, body: &Value, now: u64) -> Answer {
        let lease = body.get("lease_id").and_then(Value::as_str).unwrap_or_default();
        match path {
            "auth/token/renew-self" => {
                let ttl = self.tokens.get_mut(token).map_or(0, |grant| grant.renew(now));
                let auth = json!({ "client_token": token, "lease_duration": ttl, "renewable": true });
                Answer(200, json!({ "auth": auth }))
            }
            "auth/token/revoke-self" => {
                self.tokens.remove(token);
                self.end(now);
                Answer(204, Value::Null)
            }
            "sys/leases/renew" => match self.leases.get_mut(lease) {
                Some((_, grant)) => {
                    let ttl = grant.renew(now);
                    Answer(200, json!({ "lease_id": lease, "lease_duration": ttl, "renewable": true }))
                }
                None => refused(400, "lease not found"),
            },
            "sys/leases/revoke" => {
                self.leases.remove(lease);
                Answer(204, Value::Null)
            }
            _ => refused(404, "no handler for route"),
        }
    }
}
