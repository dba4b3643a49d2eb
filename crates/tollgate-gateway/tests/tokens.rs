//! Access tokens through a running gateway: accepted, refused all alike, their keys fetched and changed, their issuer asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tollgate_core::time::Clock;
use tollgate_testkit::client::{get, post};
use tollgate_testkit::{Act, Ca, House, ModelServer, Taken, until};

#[path = "../../tollgate-layers/src/auth/token/corpus.rs"]
mod corpus;

use corpus::{AUDIENCE, ISSUER, Signers, claims, header, with};

fn now() -> u64 {
    Clock::real().unix_ms() / 1000
}

fn config(server: &ModelServer) -> String {
    format!(
        "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes: [{{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}]
",
        server.url()
    )
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// An issuer on loopback whose key set and answers can be changed while it serves.
struct IdServer {
    server: ModelServer,
    ca: Ca,
    jwks: Arc<Mutex<Option<String>>>,
    said: Arc<Mutex<Option<Value>>>,
    fetched: Arc<AtomicUsize>,
}

impl IdServer {
    async fn start(jwks: String) -> Self {
        let ca = Ca::new();
        let jwks = Arc::new(Mutex::new(Some(jwks)));
        let (said, fetched) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let script = {
            let (jwks, said, fetched) = (Arc::clone(&jwks), Arc::clone(&said), Arc::clone(&fetched));
            move |taken: &Taken| Self::answer(taken, &jwks, &said, &fetched)
        };
        let server = ModelServer::over_tls(ca.server(&["127.0.0.1"]), script).await;
        Self { server, ca, jwks, said, fetched }
    }

    fn answer(
        taken: &Taken,
        jwks: &Mutex<Option<String>>,
        said: &Mutex<Option<Value>>,
        fetched: &AtomicUsize,
    ) -> Vec<Act> {
        let host = taken.fields("host").first().copied().unwrap_or_default().to_owned();
        let target = taken.line().split(' ').nth(1).unwrap_or_default().to_owned();
        match target.as_str() {
            "/.well-known/oauth-authorization-server" => Act::json(
                &json!({
                    "issuer": format!("https://{host}"),
                    "jwks_uri": format!("https://{host}/keys"),
                    "introspection_endpoint": format!("https://{host}/introspect"),
                })
                .to_string(),
            ),
            "/keys" => {
                fetched.fetch_add(1, Ordering::SeqCst);
                match &*jwks.lock() {
                    Some(jwks) => Act::json(jwks),
                    None => Act::answer("503 Service Unavailable", "", ""),
                }
            }
            "/introspect" => match &*said.lock() {
                Some(said) => Act::json(&said.to_string()),
                None => Act::answer("500 Internal Server Error", "", ""),
            },
            _ => Act::answer("404 Not Found", "", ""),
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.server.at())
    }

    /// A section `auth` that trusts it.
    fn trusted(&self, more: &str) -> String {
        format!(
            "resource: https://gateway.test, issuers: {{ corp: {{ issuer: '{}', audience: ['{AUDIENCE}'], tenant: acme, \
             ca: ca.pem{more} }} }}",
            self.url()
        )
    }

    async fn house(&self, model: &ModelServer, more: &str) -> House {
        let pem = self.ca.pem();
        House::start_trusting(&self.trusted(more), &config(model), |folder| {
            folder.write("ca.pem", pem);
            folder.write("client.key", "the-secret-of-the-gateway");
        })
    }

    fn token(&self, signers: &Signers, changes: Value) -> String {
        let claims = with(&with(&claims(now()), json!({ "iss": self.url() })), changes);
        signers.token(&header("ES256", "es256"), &claims)
    }
}

#[tokio::test]
async fn the_corpus_is_refused_all_alike_and_nothing_of_it_is_written_down() {
    let (signers, server) = (Signers::new(), ModelServer::agreeable().await);
    let auth = format!(
        "issuers: {{ corp: {{ issuer: '{ISSUER}', audience: ['{AUDIENCE}'], tenant: acme, jwks: {{ file: corp.jwks }}, \
         algorithms: [eddsa, es256, es384, ps256, rs256] }} }}"
    );
    let house = House::start_trusting(&auth, &config(&server), |folder| folder.write("corp.jwks", signers.jwks()));
    let mut client = house.plain().await;
    for (name, token) in corpus::good(&signers, now()) {
        let reply = client.ask(post("/p", &bearer(&token), "{}")).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
    let let_through = server.count();
    let (mut answers, mut reasons) = (BTreeSet::new(), 0);
    let cases = corpus::bad(&signers, now());
    // Spaces around the value of a field are no part of it.
    for case in cases.iter().filter(|case| case.name != "a space at the end") {
        let reply = client.ask(post("/p", &bearer(&case.token), "{}")).await;
        let mut body: Value = serde_json::from_str(&reply.text()).expect("a problem document");
        body["instance"].take();
        let fields = reply.head.to_ascii_lowercase();
        let fields: Vec<&str> =
            fields.lines().filter(|line| !line.starts_with("x-request-id:") && !line.starts_with("date:")).collect();
        answers.insert((reply.status, fields.join("\n"), body.to_string()));
        let line = house.line(&reply.id()).await;
        let evidence = format!("the token is refused: {}", case.because);
        assert_eq!(line["evidence"], Value::from(evidence), "{}: {line}", case.name);
        reasons += 1;
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(answers.first().map(|(status, ..)| *status), Some(401));
    assert!(reasons >= 120, "{reasons}");
    assert_eq!(server.count(), let_through);
    let written = std::fs::read_to_string(house.folder.join("access.jsonl")).expect("access lines");
    for case in &cases {
        let mut parts = case.token.split('.').filter(|part| part.len() > 12);
        assert!(!parts.any(|part| written.contains(part)), "{}", case.name);
    }
}

#[tokio::test]
async fn a_token_names_its_caller_in_the_record_and_does_not_reach_the_server() {
    let (signers, server) = (Signers::new(), ModelServer::agreeable().await);
    let id = IdServer::start(signers.jwks()).await;
    let house = id.house(&server, "").await;
    let token = id.token(&signers, json!({}));
    let reply = house.plain().await.ask(post("/p", &bearer(&token), "{}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let taken = server.requests().remove(0);
    assert!(taken.fields("authorization").is_empty(), "{}", taken.head);
    let line = house.line(&reply.id()).await;
    assert_eq!((&line["principal"], &line["tenant"]), (&json!("corp:alice"), &json!("acme")), "{line}");
    assert_eq!(house.metric("tollgate_issuer_keys{issuer=\"corp\"}").await, Some(4.0));
}

#[tokio::test]
async fn a_new_key_is_fetched_by_the_first_request_that_needs_it_and_a_flood_of_others_fetches_nothing() {
    let (old, new, server) = (Signers::new(), Signers::new(), ModelServer::agreeable().await);
    let id = IdServer::start(old.jwks()).await;
    let house = id.house(&server, "").await;
    let mut client = house.plain().await;
    let reply = client.ask(post("/p", &bearer(&id.token(&old, json!({}))), "{}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let before = id.fetched.load(Ordering::SeqCst);
    // The issuer publishes a key of another name beside the old ones.
    let mut both: Value = serde_json::from_str(&old.jwks()).expect("JSON");
    let mut added: Value = serde_json::from_str(&new.jwks()).expect("JSON");
    added["keys"][0]["kid"] = json!("next");
    both["keys"].as_array_mut().expect("a list").push(added["keys"][0].clone());
    *id.jwks.lock() = Some(both.to_string());
    let next = new.token(&header("ES256", "next"), &with(&claims(now()), json!({ "iss": id.url() })));
    let reply = client.ask(post("/p", &bearer(&next), "{}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(id.fetched.load(Ordering::SeqCst), before + 1);
    for i in 0..200 {
        let stranger = with(&header("ES256", "es256"), json!({ "kid": format!("k{i}") }));
        let token = old.token(&stranger, &with(&claims(now()), json!({ "iss": id.url() })));
        assert_eq!(client.ask(post("/p", &bearer(&token), "{}")).await.status, 401);
    }
    assert_eq!(id.fetched.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn keys_serve_on_while_their_issuer_is_down_and_then_nobody_is_let_in() {
    let (signers, server) = (Signers::new(), ModelServer::agreeable().await);
    let id = IdServer::start(signers.jwks()).await;
    let house = id.house(&server, ", jwks: { max_stale_secs: 6 }").await;
    let mut client = house.plain().await;
    let token = id.token(&signers, json!({}));
    assert_eq!(client.ask(post("/p", &bearer(&token), "{}")).await.status, 200);
    *id.jwks.lock() = None;
    assert_eq!(client.ask(post("/p", &bearer(&token), "{}")).await.status, 200);
    let room = Arc::clone(&house.gateway().control().state.issuers.serving()[0].room);
    // The gateway's clock was read at another moment than ours.
    until("the keys to be too old", || !room.is_good(Clock::real().unix_ms() - 100)).await;
    for _ in 0..2 {
        let reply = client.ask(post("/p", &bearer(&token), "{}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "unavailable"), "{}", reply.text());
    }
}

#[tokio::test]
async fn an_issuer_is_asked_about_tokens_that_say_nothing() {
    let (signers, server) = (Signers::new(), ModelServer::agreeable().await);
    let id = IdServer::start(signers.jwks()).await;
    let asked = ", introspection: { client_id: 'a gate', client_secret: 'secret://file/client.key' }";
    let house = id.house(&server, asked).await;
    let mut client = house.plain().await;
    let active = json!({ "active": true, "sub": "bob", "aud": AUDIENCE, "scope": "infer", "exp": now() + 100 });
    *id.said.lock() = Some(active);
    let reply = client.ask(post("/p", &bearer("an-opaque/token+of.some~length=="), "{}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(house.line(&reply.id()).await["principal"], "corp:bob");
    let questions = || id.server.requests().into_iter().filter(|taken| taken.line().starts_with("POST"));
    let question = questions().next().expect("it was asked");
    let expected = "token=an-opaque%2Ftoken%2Bof.some%7Elength%3D%3D&token_type_hint=access_token";
    assert_eq!(String::from_utf8_lossy(&question.body), expected);
    // `a%20gate:the-secret-of-the-gateway`
    let basic = "Basic YSUyMGdhdGU6dGhlLXNlY3JldC1vZi10aGUtZ2F0ZXdheQ==";
    assert_eq!(question.fields("authorization"), [basic]);
    assert_eq!(client.ask(post("/p", &bearer("an-opaque/token+of.some~length=="), "{}")).await.status, 200);
    assert_eq!(questions().count(), 1);
    *id.said.lock() = Some(json!({ "active": false }));
    assert_eq!(client.ask(post("/p", &bearer("another-opaque-token"), "{}")).await.status, 401);
    *id.said.lock() = None;
    assert_eq!(client.ask(post("/p", &bearer("a-third-opaque-token"), "{}")).await.status, 503);
    // A key of ours is never shown to anybody.
    assert_eq!(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status, 200);
    assert_eq!(questions().count(), 3);
}

#[tokio::test]
async fn clients_are_told_where_tokens_come_from() {
    let (signers, server) = (Signers::new(), ModelServer::agreeable().await);
    let id = IdServer::start(signers.jwks()).await;
    let house = id.house(&server, "").await;
    let mut client = house.plain().await;
    let refused = client.ask(post("/p", "", "{}")).await;
    let place = "https://gateway.test/.well-known/oauth-protected-resource";
    for challenge in ["Bearer ", "DPoP algs=\"EdDSA ES256 ES384 PS256 RS256\", "] {
        let line = format!("www-authenticate: {challenge}resource_metadata=\"{place}\"\r\n");
        assert!(refused.head.to_ascii_lowercase().contains(&line.to_ascii_lowercase()), "{}", refused.head);
    }
    let reply = client.ask(get("/.well-known/oauth-protected-resource")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document: Value = serde_json::from_str(&reply.text()).expect("JSON");
    assert_eq!(document["resource"], "https://gateway.test");
    assert_eq!(document["authorization_servers"], json!([id.url()]));
    assert_eq!(document["scopes_supported"], json!(["infer", "list"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
}

#[tokio::test]
async fn a_server_is_shown_a_token_of_ours_that_is_got_anew_and_that_nobody_else_sees() {
    let (given, dry) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let script = {
        let (given, dry) = (Arc::clone(&given), Arc::clone(&dry));
        move |_: &Taken| {
            if dry.load(Ordering::SeqCst) > 0 {
                return Act::answer("503 Service Unavailable", "", "");
            }
            let number = given.fetch_add(1, Ordering::SeqCst);
            Act::json(&format!(r#"{{"access_token":"a-token-of-ours-{number}","token_type":"Bearer","expires_in":5}}"#))
        }
    };
    let ca = Ca::new();
    let issuer = ModelServer::over_tls(ca.server(&["127.0.0.1"]), script).await;
    let server = ModelServer::agreeable().await;
    let oauth = format!(
        "oauth: {{ token_url: 'https://{}/token', client_id: gate, client_secret: 'secret://file/client.key', scope: infer, \
         ca: ca.pem }}",
        issuer.at()
    );
    let config = format!(
        "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], {oauth} }} }}
routes: [{{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}]
",
        server.url()
    );
    let pem = ca.pem();
    let house = House::start_in(&config, |folder| {
        folder.write("ca.pem", pem);
        folder.write("client.key", "the-secret-of-the-gateway");
    });
    until("the first token", || given.load(Ordering::SeqCst) == 1).await;
    let mut client = house.plain().await;
    let mut ask = async || client.ask(post("/p", &house.bearer("acme"), "{}")).await.status;
    // The answer with the token may still be on its way.
    while ask().await != 200 {}
    let shown = |server: &ModelServer| server.requests().last().map(|taken| taken.fields("authorization").join(","));
    assert_eq!(shown(&server).as_deref(), Some("Bearer a-token-of-ours-0"));
    let question = issuer.requests().remove(0);
    assert_eq!(String::from_utf8_lossy(&question.body), "grant_type=client_credentials&scope=infer");
    assert!(question.fields("authorization")[0].starts_with("Basic "));
    // At four fifths of its life another one is there; no request was without.
    while shown(&server).as_deref() != Some("Bearer a-token-of-ours-1") {
        assert_eq!(ask().await, 200);
    }
    dry.store(1, Ordering::SeqCst);
    let mut status = 200;
    while status == 200 {
        status = ask().await;
    }
    assert_eq!(status, 502);
    let before = server.count();
    assert_eq!(ask().await, 502);
    assert_eq!(server.count(), before, "nothing is sent without a token");
    dry.store(0, Ordering::SeqCst);
    while ask().await != 200 {}
    assert!(!format!("{:?}", house.lines()).contains("a-token-of-ours"));
    assert!(!house.admin("GET", "/backends").await.text().contains("a-token-of-ours"));
    assert!(!house.admin("GET", "/metrics").await.text().contains("a-token-of-ours"));
}
