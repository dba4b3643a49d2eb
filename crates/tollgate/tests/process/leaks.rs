//! No secret leaves the process: more than twenty are planted wherever one may stand, every error path is walked, and all that
//! the program wrote anywhere is searched for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tollgate_core::time::Clock;
use tollgate_testkit::{Ca, Folder, VaultServer};

const ADMIN: &str = "PLANTED-admin-key-of-the-gateway";
const ADMIN_NEXT: &str = "PLANTED-admin-key-that-came-later";
const PEPPER: &str = "PLANTED-pepper-of-a-file-with-32-bytes";
const PEPPER_ENV: &str = "PLANTED-pepper-of-the-environment-32b";
const UP_FILE: &str = "PLANTED-upstream-key-of-a-file";
const UP_NEXT: &str = "PLANTED-upstream-key-that-came-later";
const UP_UNFIT: &str = "PLANTED-upstream key that fits nowhere";
const UP_SYSTEMD: &str = "PLANTED-upstream-key-of-systemd";
const UP_EXEC: &str = "PLANTED-upstream-key-of-a-command";
const UP_V1: &str = "PLANTED-upstream-key-of-kv1";
const UP_V2: &str = "PLANTED-upstream-key-of-kv2";
const UP_V2_NEXT: &str = "PLANTED-upstream-key-of-another-version";
const BESIDE: &str = "PLANTED-field-beside-the-one-that-is-named";
const STORE: &str = "PLANTED-password-of-the-store";
const LITERAL: &str = "PLANTED-literal-where-a-reference-stands";
const BEARER: &str = "PLANTED-bearer-of-a-stranger";
const BASIC: &str = "UExBTlRFRDpiYXNpYy1wYXNzd29yZA==";
const COOKIE: &str = "PLANTED-session-of-a-browser";
const PROMPT: &str = "PLANTED-text-of-a-prompt";
const QUERY: &str = "PLANTED-key-in-a-query";
const HEAD: &str = "PLANTED-field-of-a-broken-head";
const PATH: &str = "PLANTED-part-of-a-path";

/// Everything that must be found nowhere.
struct Planted(BTreeMap<String, String>);

impl Planted {
    fn add(&mut self, what: &str, value: &str) {
        self.0.insert(what.to_owned(), value.to_owned());
    }

    fn search(&self, place: &str, text: &str) {
        for (what, value) in &self.0 {
            assert!(!text.contains(value.as_str()), "{what} stands in {place}:\n{text}");
        }
    }
}

/// A model server that says all it heard, as an error.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut heard = vec![0; 65_536];
            let read = stream.read(&mut heard).unwrap_or(0);
            let said = String::from_utf8_lossy(&heard[..read]).replace(['\r', '\n'], " ");
            let head = format!("HTTP/1.1 500 x\r\nX-Debug: {said}\r\nContent-Length: {}\r\n", said.len());
            drop(stream.write_all(format!("{head}Connection: close\r\n\r\n{said}").as_bytes()));
        }
    });
    at
}

/// The program, serving.
struct Program {
    child: Child,
    at: BTreeMap<String, SocketAddr>,
}

impl Program {
    fn serve(folder: &Folder, env: &[(&str, &str)]) -> Self {
        let file = |name: &str| File::create(folder.join(name)).expect("a file");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        serve.args(["serve", "--config"]).arg(folder.join("tollgate.yaml")).env_clear().envs(env.iter().copied());
        let mut child = serve
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program starts");
        let mut at = BTreeMap::new();
        for _ in 0..3000 {
            let said = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            let lines = said.lines().filter_map(|line| line.strip_prefix("tollgate: `")?.split_once("` listens on "));
            at = lines.filter_map(|(name, at)| Some((name.to_owned(), at.parse().ok()?))).collect();
            assert!(child.try_wait().expect("a child").is_none(), "it ended: {said}");
            if at.len() == 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(at.len(), 3, "it listens");
        Self { child, at }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a living process");
    }

    /// The whole answer to these bytes.
    fn send(&self, listener: &str, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.at[listener]).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        stream.write_all(bytes.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        // A refused head may end with a reset.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> String {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n"
        );
        self.send("plain", &format!("{head}{fields}\r\n{body}"))
    }

    fn operate(&self, method: &str, path: &str, key: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n");
        self.send("admin", &format!("{head}Authorization: Bearer {key}\r\n\r\n"))
    }

    /// Waits until an operator is told of something.
    fn is_told(&self, path: &str, key: &str, what: &str) {
        for _ in 0..4000 {
            if self.operate("GET", path, key).contains(what) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("`{path}` never says `{what}`: {}", self.operate("GET", path, key));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(server: SocketAddr, vault: &VaultServer, role: &str) -> String {
    let references = [
        "secret://file/up.key",
        "secret://systemd/up",
        "secret://exec/up",
        "secret://vault/legacy/up#key",
        "secret://vault/secret/up#key",
        "secret://vault/database/creds/up#password",
    ];
    let mut upstreams = String::new();
    let mut routes = String::new();
    for (place, reference) in references.iter().enumerate() {
        let line = format!("  u{place}: {{ endpoints: [\"http://{server}\"], key: \"{reference}\" }}\n");
        upstreams.push_str(&line);
        let line =
            format!("  - {{ name: r{place}, path: /u{place}, methods: [POST], protocol: none, upstream: u{place} }}\n");
        routes.push_str(&line);
    }
    format!(
        "version: 1
listeners:
  plain: {{ bind: \"127.0.0.1:0\" }}
  tls: {{ bind: \"127.0.0.1:0\", tls: {{ certs: [main] }} }}
  admin: {{ bind: \"127.0.0.1:0\", serves: admin }}
certs:
  main: {{ names: [gateway.test], cert: cert.pem, key: secret://file/key.pem }}
admin: {{ key: secret://file/admin.key }}
auth: {{ keys: {{ file: keys.yaml, pepper: {{ v1: secret://file/pepper.key, v2: secret://env/PEPPER }} }} }}
secrets:
  exec: {{ up: {{ command: [/bin/echo, {UP_EXEC}] }} }}
  vault:
    url: {}
    login: {{ app_role: {{ role_id: {role}, secret_id: secret://file/wrapped, wrapped: true }} }}
    mounts: {{ legacy: kv1, database: dynamic }}
    poll: 200ms
tenants: {{ acme: {{ routes: [r0, r1, r2, r3, r4, r5, gone, chat] }} }}
limits:
  store: {{ url: secret://file/store.url }}
  budgets: [{{ name: b, per: tenant, burst: 1000000000, refill_per_sec: 1000000000 }}]
upstreams:
{upstreams}  gone: {{ endpoints: [\"http://127.0.0.1:1\"], key: \"secret://file/up.key\" }}
models: {{ llm: {{ upstream: u0 }} }}
routes:
{routes}  - {{ name: gone, path: /gone, methods: [POST], protocol: none, upstream: gone }}
  - {{ name: chat, path: /v1/chat/completions, methods: [POST], protocol: openai, models: [llm] }}
",
        vault.url()
    )
}

fn verb(folder: &Folder, env: &[(&str, &str)], words: &[&str]) -> Output {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    verb.args(words).arg("--config").arg(folder.join("tollgate.yaml")).env_clear().envs(env.iter().copied());
    verb.output().expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the program and its files say, before and behind the gateway's back.
#[test]
fn twenty_planted_secrets_are_found_nowhere() {
    let (folder, vault, server) = (Folder::fresh(), VaultServer::start(Clock::real()), echo());
    let mut planted = Planted(BTreeMap::new());
    vault.put("secret/up", json!({ "key": UP_V2, "beside": BESIDE }));
    vault.put_plain("legacy/up", json!({ "key": UP_V1 }));
    vault.make_at("database/creds/up", 3600, 3600);
    let (role, other) = vault.app_role();
    let wrapped = vault.wrap(&role);
    let pair = Ca::new().issue(&["gateway.test"]);
    let files = [
        ("admin.key", ADMIN),
        ("pepper.key", PEPPER),
        ("up.key", UP_FILE),
        ("up", UP_SYSTEMD),
        ("wrapped", &wrapped),
        ("cert.pem", &pair.cert),
        ("key.pem", &pair.key),
        ("store.url", &format!("redis://gate:{STORE}@127.0.0.1:1/0")),
        ("tollgate.yaml", &config(server, &vault, &role)),
    ];
    files.iter().for_each(|(name, text)| folder.write(name, text));
    let directory = folder.path().display().to_string();
    let env = [("PEPPER", PEPPER_ENV), ("CREDENTIALS_DIRECTORY", &*directory)];

    let issued = verb(&folder, &env, &["keys", "new", "--tenant", "acme", "--pepper", "v1"]);
    assert!(issued.status.success(), "{}", said(&issued));
    let key = String::from_utf8_lossy(&issued.stdout).trim().to_owned();
    let revoked = verb(&folder, &env, &["keys", "new", "--tenant", "acme", "--pepper", "v2"]);
    let revoked = String::from_utf8_lossy(&revoked.stdout).trim().to_owned();
    let id = revoked.split('_').nth(2).expect("a key has an id").to_owned();
    assert!(verb(&folder, &env, &["keys", "revoke", &id]).status.success());

    for (what, value) in [
        ("the admin key", ADMIN),
        ("the next admin key", ADMIN_NEXT),
        ("a pepper", PEPPER),
        ("a pepper of the environment", PEPPER_ENV),
        ("a key of a file", UP_FILE),
        ("the next key of a file", UP_NEXT),
        ("a key that fits nowhere", UP_UNFIT),
        ("a key of systemd", UP_SYSTEMD),
        ("a key of a command", UP_EXEC),
        ("a key of KV 1", UP_V1),
        ("a key of KV 2", UP_V2),
        ("another version", UP_V2_NEXT),
        ("a field beside", BESIDE),
        ("the password of the store", STORE),
        ("a literal", LITERAL),
        ("a stranger's bearer", BEARER),
        ("a basic password", BASIC),
        ("a cookie", COOKIE),
        ("a prompt", PROMPT),
        ("a key in a query", QUERY),
        ("a field of a broken head", HEAD),
        ("a part of a path", PATH),
        ("the wrapping token", &wrapped),
        ("a secret id", &other),
        ("any secret id", "secret-id-of-the-double"),
        ("our token", "hvs.token-of-the-double"),
        ("a leased password", "password-of-the-double"),
        ("a tenant's key", &key),
        ("the secret part of it", key.rsplit('_').next().expect("a part")),
        ("a revoked key", &revoked),
        ("a line of the TLS key", pair.key.lines().nth(1).expect("a line")),
    ] {
        planted.add(what, value);
    }
    assert!(planted.0.len() >= 30);

    let program = Program::serve(&folder, &env);
    let mut outputs: Vec<(String, String)> = Vec::new();
    provoke(&program, &folder, &vault, (&key, &revoked), &mut outputs);
    for words in [&["keys", "list"][..], &["check"], &["check", "--json"], &["limits", "list"], &["release", "status"]]
    {
        outputs.push((format!("{words:?}"), said(&verb(&folder, &env, words))));
    }
    broken(&folder, &env, &program, &mut outputs);

    program.signal(Signal::TERM);
    let mut program = program;
    assert_eq!(program.child.wait().expect("it ends").code(), Some(0));
    let (leases, tokens) = vault.living();
    assert_eq!((leases, tokens), (0, 0), "what Vault granted is given back");
    for name in ["stdout", "stderr"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("a file");
        assert!(!text.is_empty(), "{name} was written");
        outputs.push((name.to_owned(), text));
    }
    assert!(outputs.len() > 40, "{}", outputs.len());
    for (place, text) in &outputs {
        planted.search(place, text);
    }
    assert!(core_files(folder.path()).is_empty());
}

/// Every way in which a request, a secret or a server can be wrong.
fn provoke(
    program: &Program,
    folder: &Folder,
    vault: &VaultServer,
    (key, revoked): (&str, &str),
    outputs: &mut Vec<(String, String)>,
) {
    let bearer = format!("Authorization: Bearer {key}\r\n");
    let mut note = |what: &str, answer: String| {
        assert!(!answer.is_empty(), "{what} has an answer");
        outputs.push((what.to_owned(), answer));
    };
    let body = format!("{{\"text\": \"{PROMPT}\"}}");
    for place in 0..6 {
        // The server repeats all it heard, its own key with it.
        note("an echo", program.ask("POST", &format!("/u{place}"), &bearer, &body));
    }
    let mut typo = key.to_owned();
    typo.pop();
    for (what, fields) in [
        ("no credential", String::new()),
        ("a stranger", format!("Authorization: Bearer {BEARER}\r\n")),
        ("basic", format!("Authorization: Basic {BASIC}\r\n")),
        ("revoked", format!("Authorization: Bearer {revoked}\r\n")),
        ("a typo", format!("X-API-Key: {typo}\r\n")),
        ("twice", format!("{bearer}X-API-Key: {key}\r\n")),
        ("the admin key", format!("Authorization: Bearer {ADMIN}\r\n")),
        ("a cookie", format!("{bearer}Cookie: session={COOKIE}\r\n")),
        ("a bad type", format!("{bearer}Content-Encoding: {HEAD}\r\n")),
    ] {
        note(what, program.ask("POST", "/u0", &fields, &body));
        note(what, program.ask("POST", "/v1/chat/completions", &fields, &body));
    }
    note("a query", program.ask("POST", &format!("/u0?api_key={QUERY}"), "", &body));
    note("a query of a key", program.ask("POST", &format!("/u0?key={key}"), &bearer, &body));
    note("a path", program.ask("POST", &format!("/{PATH}/../x"), &bearer, &body));
    note("a method", program.ask("DELETE", "/u0", &bearer, &body));
    note("no server", program.ask("POST", "/gone", &bearer, &body));
    note("half a body", program.ask("POST", "/v1/chat/completions", &bearer, &format!("{{\"messages\": [{PROMPT}")));
    let chat = format!("{{\"model\":\"{PROMPT}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{PROMPT}\"}}]}}");
    note("an unknown model", program.ask("POST", "/v1/chat/completions", &bearer, &chat));
    let chat = chat.replacen(PROMPT, "llm", 1);
    note("a chat", program.ask("POST", "/v1/chat/completions", &bearer, &chat));
    note(
        "a broken head",
        program.send("plain", &format!("POST /u0 HTTP/1.1\r\nHost: a\r\nX: {HEAD}\r\n b\r\n{bearer}\r\n")),
    );
    note("two lengths", program.ask("POST", "/u0", &format!("{bearer}Content-Length: 9\r\nX: {HEAD}\r\n"), &body));
    program.send("tls", &format!("GET /{HEAD} HTTP/1.1\r\n{bearer}\r\n"));

    note("no operator", program.operate("GET", "/metrics", BEARER));
    for path in ["/healthz", "/readyz", "/metrics", "/backends", "/costs", "/drift", "/observed", "/nothing"] {
        note(path, program.operate("GET", path, ADMIN));
    }
    // What changes behind its back: a value that fits nowhere, one that fits, another version, no right, a seal.
    folder.write("up.key", UP_UNFIT);
    note("a reload that fails", program.operate("POST", "/reload", ADMIN));
    folder.write("up.key", UP_NEXT);
    folder.write("admin.key", ADMIN_NEXT);
    note("a reload", program.operate("POST", "/reload", ADMIN));
    vault.put("secret/up", json!({ "key": UP_V2_NEXT, "beside": BESIDE }));
    program.is_told("/metrics", ADMIN_NEXT, "\ntollgate_secret_rotations_total 3\n");
    note("another key", program.ask("POST", "/u4", &bearer, &body));
    vault.forbid("secret/data/up", true);
    program.is_told("/readyz", ADMIN_NEXT, "Vault forbids it (403)");
    vault.forbid("secret/data/up", false);
    vault.seal(true);
    program.is_told("/readyz", ADMIN_NEXT, "Vault is sealed");
    note("a sealed Vault", program.operate("GET", "/readyz", ADMIN_NEXT));
    note("metrics of that", program.operate("GET", "/metrics", ADMIN_NEXT));
    vault.seal(false);
}

/// A configuration with literals, for every verb that reads one, and for the gateway that serves.
fn broken(folder: &Folder, env: &[(&str, &str)], program: &Program, outputs: &mut Vec<(String, String)>) {
    let good = std::fs::read_to_string(folder.join("tollgate.yaml")).expect("a configuration");
    for reference in
        ["secret://file/admin.key", "secret://file/pepper.key", "secret://file/store.url", "secret://file/wrapped"]
    {
        folder.write("tollgate.yaml", good.replace(reference, LITERAL));
        outputs
            .push((format!("a reload of a literal for `{reference}`"), program.operate("POST", "/reload", ADMIN_NEXT)));
        for words in [&["check"][..], &["check", "--json"], &["keys", "list"], &["serve"]] {
            let output = verb(folder, env, words);
            assert!(!output.status.success(), "{words:?}: {}", said(&output));
            outputs.push((format!("{words:?} of a literal"), said(&output)));
        }
    }
    program.signal(Signal::HUP);
    for _ in 0..2000 {
        if std::fs::read_to_string(folder.join("stderr")).is_ok_and(|said| said.contains("the old policy goes on")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    folder.write("tollgate.yaml", good);
}

fn core_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("core")).collect()
}

#[test]
fn the_process_leaves_no_core_and_cannot_be_attached_to() {
    let (folder, vault, server) = (Folder::fresh(), VaultServer::start(Clock::real()), echo());
    let pair = Ca::new().issue(&["gateway.test"]);
    for (name, text) in [("admin.key", ADMIN), ("pepper.key", PEPPER), ("cert.pem", &pair.cert), ("key.pem", &pair.key)]
    {
        folder.write(name, text);
    }
    drop((vault, server));
    folder.write("keys.yaml", "keys: []\n");
    folder.write(
        "tollgate.yaml",
        "version: 1
listeners:
  plain: { bind: \"127.0.0.1:0\" }
  tls: { bind: \"127.0.0.1:0\", tls: { certs: [main] } }
  admin: { bind: \"127.0.0.1:0\", serves: admin }
certs: { main: { names: [gateway.test], cert: cert.pem, key: secret://file/key.pem } }
admin: { key: secret://file/admin.key }
routes: [{ name: health, path: /health, protocol: health, auth: none }]
",
    );
    let program = Program::serve(&folder, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.child.id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What cannot be dumped belongs to root, whoever runs it.
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(format!("/proc/{}/mem", program.child.id())).expect("a file"),
    );
    assert_eq!(owner, 0);
}

#[test]
fn a_start_without_a_secret_ends_with_69_and_names_the_reference() {
    let (folder, vault, server) = (Folder::fresh(), VaultServer::start(Clock::real()), echo());
    let (role, _) = vault.app_role();
    folder.write("wrapped", vault.wrap(&role));
    for (name, text) in [("admin.key", ADMIN), ("pepper.key", PEPPER), ("up.key", UP_FILE), ("up", UP_SYSTEMD)] {
        folder.write(name, text);
    }
    let pair = Ca::new().issue(&["gateway.test"]);
    folder.write("cert.pem", &pair.cert);
    folder.write("key.pem", &pair.key);
    folder.write("keys.yaml", "keys: []\n");
    folder.write("store.url", "redis://127.0.0.1:1/0");
    let text = config(server, &vault, &role).replace("    poll: 200ms\n", "    poll: 200ms\n    start_wait: 500ms\n");
    folder.write("tollgate.yaml", text);
    vault.seal(true);
    let directory = folder.path().display().to_string();
    let env = [("PEPPER", PEPPER_ENV), ("CREDENTIALS_DIRECTORY", &*directory)];
    let output = verb(&folder, &env, &["serve"]);
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    let why = "no secret, no start: `secret://vault/legacy/up#key`: Vault is sealed";
    assert!(said(&output).contains(why), "{}", said(&output));
    // A mere check asks no server and runs no command.
    drop(vault.calls());
    let checked = verb(&folder, &env, &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert_eq!(vault.calls(), Vec::<String>::new());
    assert!(said(&checked).contains("a check runs no command and asks no server"), "{}", said(&checked));
}
