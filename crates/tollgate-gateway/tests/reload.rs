//! Reloads that nobody notices: new policies, broken files, new certificates and revoked keys, while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;
use tokio::task::{JoinSet, spawn_blocking};
use tollgate_testkit::client::post;
use tollgate_testkit::dial::Io as _;
use tollgate_testkit::h2::request;
use tollgate_testkit::{Act, Client, H2Client, House, ModelServer, dial};

fn config(server: &ModelServer, turn: u32) -> String {
    format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: {} }} }} }}
limits: {{ budgets: [{{ name: gold, per: tenant, unit: requests, burst: 10000000, refill_per_sec: 1000000 }}] }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m }}
  - {{ name: extra-{turn}, path: /extra, methods: [PUT], protocol: none, upstream: m }}
tenants:
  acme: {{ routes: [all], budgets: [gold] }}
  globex: {{ routes: [all] }}
",
        server.url(),
        8 + turn % 3,
    )
}

/// Clients that ask until they are told to stop, on kept connections and on fresh ones, and count their answers.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<u32>,
}

impl Load {
    fn start(house: &House) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let request = post("/p", &house.bearer("acme"), "{}");
        for fresh in [false, false, true] {
            let (stop, at, request) = (Arc::clone(&stop), house.at("plain"), request.clone());
            tasks.spawn(async move {
                let (mut count, mut client) = (0, Client::plain(at).await);
                while !stop.load(Ordering::Relaxed) {
                    let reply = client.ask(&request).await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    count += 1;
                    if fresh {
                        client = Client::plain(at).await;
                    }
                }
                count
            });
        }
        for fresh in [false, true] {
            let (stop, at, tls) = (Arc::clone(&stop), house.at("tls"), house.trust(&["h2"]));
            let key = format!("Bearer {}", house.key("acme"));
            tasks.spawn(async move {
                let (mut count, mut client) = (0, H2Client::tls(at, &tls).await);
                while !stop.load(Ordering::Relaxed) {
                    let reply = client.ask(request_with(&key), "{}").await.expect("an answer");
                    assert_eq!(reply.status, 200);
                    count += 1;
                    if fresh {
                        client = H2Client::tls(at, &tls).await;
                    }
                }
                count
            });
        }
        Self { stop, tasks }
    }

    async fn stop(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        while let Some(done) = self.tasks.join_next().await {
            count += done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        count
    }
}

fn request_with(key: &str) -> http::Request<()> {
    request("POST", "/p", &[("authorization", key)])
}

#[tokio::test]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let server = ModelServer::agreeable().await;
    let house = Arc::new(House::start(&config(&server, 0)));
    let load = Load::start(&house);
    for turn in 1..=100_u32 {
        house.configure(&config(&server, turn));
        if turn % 2 == 0 {
            let reply = house.admin("POST", "/reload").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.text(), format!("{{\"generation\":{}}}", turn + 1));
        } else {
            let house = Arc::clone(&house);
            let generation = spawn_blocking(move || house.reload()).await.expect("no panic");
            assert_eq!(generation.expect("a good file"), u64::from(turn) + 1);
        }
    }
    let served = load.stop().await;
    assert!(served > 100, "{served}");
    assert_eq!(house.metric("tollgate_config_reloads_total").await, Some(100.0));
    assert_eq!(house.metric("tollgate_config_generation").await, Some(101.0));
    assert_eq!(server.count(), served as usize, "each was sent once");
    house.quiet().await;
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_policy_and_says_so_until_a_good_one_comes() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&config(&server, 0));
    let load = Load::start(&house);
    let good = config(&server, 1);
    let broken = [
        good.replace("upstream: m", "upstream: nowhere"),
        good.replace("protocol: none", "protocol: telepathy"),
        good.replace("routes:", "routes: ["),
        good.clone() + "unknown: 1\n",
        good.replace("burst: 10000000", "burst: 0"),
        good.replace("http://", "ftp://"),
        String::new(),
    ];
    for (turn, text) in broken.iter().enumerate() {
        house.configure(text);
        let reply = house.admin("POST", "/reload").await;
        assert_eq!(reply.status, 422, "file {turn}: {}", reply.text());
        assert!(reply.text().contains("\"line\""), "{}", reply.text());
        assert_eq!(house.metric("tollgate_config_rejected").await, Some(1.0), "file {turn}");
        assert_eq!(house.metric("tollgate_config_generation").await, Some(1.0), "file {turn}");
    }
    house.configure(&good);
    assert_eq!(house.admin("POST", "/reload").await.status, 200);
    assert_eq!(house.metric("tollgate_config_rejected").await, Some(0.0));
    assert!(load.stop().await > 10);
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_refused_as_a_whole() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&config(&server, 0));
    let text = std::fs::read_to_string(house.folder.join("tollgate.yaml")).expect("our own file");
    let changes = [
        text.replace("  plain: { bind: \"127.0.0.1:0\" }\n", ""),
        text.replace("  plain: { bind: \"127.0.0.1:0\" }\n", "  plain: { bind: \"127.0.0.1:1\" }\n"),
        text.replace("routes:\n", "runtime: { workers: 7 }\nroutes:\n"),
        text.replace("routes:\n", "memory: { bodies: 1MiB }\nroutes:\n"),
        text.replace("routes:\n", "http: { max_connections: 7 }\nroutes:\n"),
    ];
    for changed in changes {
        assert_ne!(changed, text);
        house.folder.write("tollgate.yaml", &changed);
        let reply = house.admin("POST", "/reload").await;
        assert_eq!(reply.status, 422, "{}", reply.text());
        assert!(reply.text().contains("restart"), "{}", reply.text());
        let served = house.plain().await.ask(post("/p", &house.bearer("acme"), "{}")).await;
        assert_eq!(served.status, 200);
    }
}

async fn leaf(house: &House) -> CertificateDer<'static> {
    let stream = dial::tls(house.at("tls"), &house.trust(&["h2"])).await.expect("a handshake");
    stream.certificate().expect("the server shows a certificate")
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_breaks_no_old_one() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&config(&server, 0));
    let load = Load::start(&house);
    let mut shown = vec![leaf(&house).await];
    for _ in 0..10 {
        house.certify();
        assert_eq!(house.admin("POST", "/reload").await.status, 200);
        let leaf = leaf(&house).await;
        assert!(!shown.contains(&leaf), "a new certificate is shown");
        shown.push(leaf);
    }
    // A key that does not belong to the certificate: the old pair goes on.
    house.folder.write("key.pem", house.ca.issue(&[dial::HOST]).key);
    assert_eq!(house.admin("POST", "/reload").await.status, 422);
    assert_eq!(Some(&leaf(&house).await), shown.last());
    assert!(load.stop().await > 10);
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_reload_on_also_on_a_connection_that_is_open() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&config(&server, 0));
    let ask = |tenant: &str| post("/p", &house.bearer(tenant), "{}");
    let mut client = house.plain().await;
    assert_eq!(client.ask(ask("acme")).await.status, 200);
    house.revoke("acme");
    assert_eq!(house.admin("POST", "/reload").await.status, 200);
    let refused = client.ask(ask("acme")).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "unauthenticated"), "{}", refused.text());
    assert_eq!(client.ask(ask("globex")).await.status, 200);
}

#[tokio::test]
async fn a_request_keeps_the_policy_that_it_came_under() {
    let gate = tollgate_testkit::Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |_| [vec![Act::Hold(held.clone())], Act::json("{}")].concat()).await;
    let house = House::start(&config(&server, 0));
    let mut client = house.plain().await;
    client.send(post("/p", &house.bearer("acme"), "{}")).await;
    server.has(1).await;
    // The new policy knows neither the route nor the upstream of the request that runs.
    let other = config(&server, 1)
        .replace(" m:", " n:")
        .replace("upstream: m", "upstream: n")
        .replace("path: \"/{*rest}\"", "path: /other");
    house.configure(&other);
    assert_eq!(house.admin("POST", "/reload").await.status, 200);
    gate.open();
    let reply = client.reply().await;
    assert_eq!(reply.status, 200);
    assert_eq!(house.line(&reply.id()).await["generation"], 1);
    assert_eq!(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status, 404);
    house.quiet().await;
}

#[tokio::test]
async fn the_last_exchange_of_an_old_policy_does_not_have_to_free_it() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&config(&server, 0));
    let state = || &house.gateway().control().state;
    // As an exchange holds it.
    let held = state().policy();
    let old = Arc::downgrade(&held);
    house.reload().expect("the same again");
    drop(held);
    assert!(old.upgrade().is_some(), "whoever held it last freed it");
    state().release_retired();
    assert!(old.upgrade().is_none(), "nobody holds it, and it is still there");
    // One that nobody holds is gone when the next one serves.
    let old = Arc::downgrade(&state().policy());
    house.reload().expect("and again");
    assert!(old.upgrade().is_none());
}
