//! The life of a key while a gateway runs: made, used, followed by another one, revoked; by whoever does it, and how soon.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use tokio::time::Instant;

use serde_json::{Value, json};
use tollgate_gateway::config::KeyDesk;
use tollgate_gateway::keys::{Done, KeyAct};
use tollgate_layers::auth::{DEFAULT_GRACE, NewKey, Rotation, Timestamp};
use tollgate_testkit::client::post;
use tollgate_testkit::house::environment;
use tollgate_testkit::store::StoreServer;
use tollgate_testkit::{House, ModelServer, Reply};

/// What the issue promises of one node.
const ONE_NODE: Duration = Duration::from_secs(1);
/// And of several.
const SEVERAL: Duration = Duration::from_secs(5);
/// Enough requests to say that a key is never accepted again.
const AFTERWARDS: usize = 200;

fn config(server: &ModelServer) -> String {
    format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes: [{{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}]
tenants: {{ acme: {{ routes: [all] }} }}
",
        server.url(),
    )
}

async fn scene() -> (House, ModelServer) {
    let server = ModelServer::agreeable().await;
    (House::start(&config(&server)), server)
}

fn now() -> Timestamp {
    Timestamp::of_unix_ms(tollgate_core::time::Clock::real().unix_ms())
}

fn desk(house: &House) -> KeyDesk {
    let env = environment();
    KeyDesk::open(&house.folder.join("tollgate.yaml"), &|name| env.get(name).cloned()).expect("a key file")
}

/// Does something with keys as `tollgate keys` does, beside the gateway.
fn act(house: &House, act: KeyAct) -> Done {
    let mut desk = desk(house);
    let done = desk.act(act, None, now()).expect("it can be done");
    desk.save().expect("it can be written");
    done
}

fn request() -> NewKey {
    NewKey { env: "test".into(), tenant: "acme".into(), created_by: "a test".into(), ..NewKey::default() }
}

fn id_of(key: &str) -> String {
    key.split('_').nth(2).expect("a key has an id").to_owned()
}

async fn ask(house: &House, key: &str) -> Reply {
    house.plain().await.ask(post("/p", &format!("X-API-Key: {key}\r\n"), "{}")).await
}

/// Asks on one connection until the status is another: how long that took.
async fn until_answered(house: &House, key: &str, status: u16) -> Duration {
    let began = Instant::now();
    let request = post("/p", &format!("X-API-Key: {key}\r\n"), "{}");
    let mut client = house.plain().await;
    while client.ask(&request).await.status != status {
        assert!(began.elapsed() < Duration::from_secs(20), "never answered {status}");
    }
    began.elapsed()
}

#[tokio::test]
async fn a_key_that_is_revoked_on_disk_is_refused_within_a_second_and_for_ever() {
    let (house, server) = scene().await;
    let key = house.key("acme").to_owned();
    assert_eq!(ask(&house, &key).await.status, 200);
    house.revoke("acme");
    let took = until_answered(&house, &key, 401).await;
    assert!(took < ONE_NODE, "{took:?}");
    let (before, mut client) = (server.count(), house.plain().await);
    let request = post("/p", &house.bearer("acme"), "{}");
    for _ in 0..AFTERWARDS {
        // Who goes on trying is told to wait.
        assert!(matches!(client.ask(&request).await.status, 401 | 429));
    }
    assert_eq!(server.count(), before);
    assert_eq!(house.metric("tollgate_keys_swaps_total").await, Some(1.0));
    assert_eq!(house.metric("tollgate_config_generation").await, Some(1.0), "no policy was compiled for it");
}

#[tokio::test]
async fn a_rotated_key_says_when_it_ends_and_its_follower_is_the_same_user() {
    let (house, _server) = scene().await;
    let old = house.key("acme").to_owned();
    assert!(ask(&house, &old).await.field("tollgate-key-expires").is_none());
    let rotation = Rotation { grace: DEFAULT_GRACE, days: None, created_by: "a test".into() };
    let before = now();
    let done = act(&house, KeyAct::Rotate { id: id_of(&old), rotation });
    let new = done.issued.expect("a key").reveal().to_owned();
    until_answered(&house, &new, 200).await;
    let reply = ask(&house, &old).await;
    assert_eq!(reply.status, 200);
    let until = Timestamp::parse(reply.field("tollgate-key-expires").expect("its end")).expect("a time");
    assert!(until >= before.after(DEFAULT_GRACE) && until <= now().after(DEFAULT_GRACE), "{until}");
    let line = house.line(&reply.id()).await;
    assert_eq!((&line["principal"], &line["credential"]), (&json!(id_of(&old)), &Value::Null));
    let reply = ask(&house, &new).await;
    assert!(reply.field("tollgate-key-expires").is_none());
    let line = house.line(&reply.id()).await;
    assert_eq!((&line["principal"], &line["credential"]), (&json!(id_of(&old)), &json!(id_of(&new))));
    let rows = house.admin("GET", "/keys").await;
    let rows: Value = serde_json::from_str(&rows.text()).expect("JSON");
    assert_eq!(rows["keys"][0]["standing"], "retiring");
    assert_eq!(rows["keys"][0]["successor"], json!(id_of(&new)));
    assert!(rows["keys"][1]["last_used"].is_string(), "the gateway knows of its use: {rows}");
}

#[tokio::test]
async fn an_operator_does_over_the_admin_listener_what_the_verb_does() {
    let (house, _server) = scene().await;
    let order = async |body: Value| house.order("/keys", &body).await;
    let made = order(json!({ "act": "new", "tenant": "acme", "client": "batch", "purpose": "a", "note": "n" })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(made.field("cache-control"), Some("no-store"));
    let made: Value = serde_json::from_str(&made.text()).expect("JSON");
    let key = made["key"].as_str().expect("the key, once").to_owned();
    assert_eq!(ask(&house, &key).await.status, 200, "it is good at once");

    let turned = order(json!({ "act": "rotate", "id": id_of(&key), "grace_hours": 1 })).await;
    let turned: Value = serde_json::from_str(&turned.text()).expect("JSON");
    let next = turned["key"].as_str().expect("another key").to_owned();
    assert_eq!(ask(&house, &next).await.status, 200);
    assert!(ask(&house, &key).await.field("tollgate-key-expires").is_some());
    let third = order(json!({ "act": "new", "tenant": "acme", "client": "batch", "purpose": "a" })).await;
    assert_eq!(third.status, 422, "two live already: {}", third.text());

    assert_eq!(order(json!({ "act": "revoke", "id": id_of(&next) })).await.status, 200);
    assert_eq!(ask(&house, &next).await.status, 401, "at once");
    let listed = house.admin("GET", "/keys").await.text();
    for wrong in [
        json!({ "act": "new", "tenant": "nobody" }),
        json!({ "act": "new", "tenant": "acme", "models": ["none"] }),
        json!({ "act": "revoke", "id": "0000000000" }),
        json!({ "act": "rotate", "id": id_of(&next) }),
        json!({ "act": "import", "tenant": "acme", "key": "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd" }),
        json!({ "act": "new", "tenant": "acme", "days": 366 }),
        json!({ "act": "new", "tenant": "acme", "key": "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd" }),
    ] {
        let told = order(wrong.clone()).await;
        assert_eq!(told.status, 422, "{wrong}: {}", told.text());
    }
    for unread in [json!({ "act": "new", "tenant": "acme", "expires": 3 }), json!({ "act": "fly", "key": key })] {
        let told = order(unread).await;
        assert_eq!((told.status, told.text().contains(&key)), (400, false), "{}", told.text());
    }
    assert_eq!(house.admin("GET", "/keys").await.text(), listed, "nothing of that has changed anything");

    let acts: Vec<Value> = house.lines().into_iter().filter(|line| line["act"].is_string()).collect();
    let names: Vec<_> = acts.iter().map(|act| act["act"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["keys.new", "keys.rotate", "keys.revoke"]);
    assert_eq!(acts[1]["what"]["keys"], json!([id_of(&key), id_of(&next)]));
    let written = format!("{:?} {listed} {}", house.lines(), house.admin("GET", "/metrics").await.text());
    for key in [&key, &next] {
        assert!(!written.contains(key.rsplit('_').next().expect("a secret")), "a key was written down");
    }
}

#[tokio::test]
async fn a_broken_key_file_leaves_the_keys_and_says_so() {
    let (house, _server) = scene().await;
    let key = house.key("acme").to_owned();
    let path = house.folder.join("keys.yaml");
    let good = std::fs::read_to_string(&path).expect("the key file");
    for broken in ["keys: [", "keys: [{ id: x }]", &good.replace("tenant: \"acme\"", "tenant: \"nobody\"")] {
        house.folder.write("keys.yaml", broken);
        let began = Instant::now();
        while house.metric("tollgate_keys_rejected").await != Some(1.0) {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody noticed");
        }
        assert_eq!(ask(&house, &key).await.status, 200);
        house.folder.write("keys.yaml", &good);
        while house.metric("tollgate_keys_rejected").await != Some(0.0) {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody noticed that it is good again");
        }
    }
    std::fs::remove_file(&path).expect("it is there");
    let told = house.order("/keys", &json!({ "act": "revoke", "id": id_of(&key) })).await;
    assert_eq!(told.status, 422, "{}", told.text());
    assert_eq!(ask(&house, &key).await.status, 200);
}

#[tokio::test]
async fn no_change_is_lost_when_many_change_the_file_at_once() {
    let (house, _server) = scene().await;
    let house = Arc::new(house);
    let began = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (house, began) = (Arc::clone(&house), Arc::clone(&began));
            std::thread::spawn(move || {
                began.wait();
                for _ in 0..8 {
                    act(&house, KeyAct::Issue(request()));
                }
            })
        })
        .collect();
    for _ in 0..8 {
        let made = house.order("/keys", &json!({ "act": "new", "tenant": "acme" })).await;
        assert_eq!(made.status, 200, "{}", made.text());
    }
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(desk(&house).keys.keys.len(), 1 + 4 * 8 + 8);
}

#[tokio::test]
async fn what_an_editor_wrote_meanwhile_is_not_overwritten() {
    let (house, _server) = scene().await;
    let mut desk = desk(&house);
    desk.act(KeyAct::Issue(request()), None, now()).expect("it can be done");
    let edited = std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file") + "# by hand\n";
    house.folder.write("keys.yaml", &edited);
    let error = desk.save().expect_err("it was changed");
    assert!(error.to_string().contains("somebody else has changed the keys"), "{error}");
    assert_eq!(std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file"), edited);
}

/// Two gateways whose keys are in one store; `None` where there is no server to run.
async fn two_nodes() -> Option<(StoreServer, [House; 2], ModelServer)> {
    let store = match StoreServer::start_one() {
        Ok(store) => store,
        Err(how) => {
            assert!(std::env::var_os("CI").is_none(), "{how}");
            return None;
        }
    };
    let server = ModelServer::agreeable().await;
    let house = || {
        House::start_in(&config(&server), |folder| {
            folder.write("store.url", store.url());
            std::fs::set_permissions(folder.join("store.url"), PermissionsExt::from_mode(0o600)).expect("a mode");
            let path = folder.join("tollgate.yaml");
            let text = std::fs::read_to_string(&path).expect("our own file");
            let kept = "store: { url: 'secret://file/store.url', max_stale_s: 60 }";
            assert!(text.contains("file: keys.yaml"));
            folder.write("tollgate.yaml", text.replace("file: keys.yaml", kept));
        })
    };
    let houses = [house(), house()];
    for house in &houses {
        let began = Instant::now();
        while house.metric("tollgate_keys_store_up").await != Some(1.0) {
            assert!(began.elapsed() < Duration::from_secs(20), "the store is not found");
        }
    }
    Some((store, houses, server))
}

#[tokio::test]
async fn several_gateways_read_their_keys_from_one_store_and_hear_of_a_revocation_within_five_seconds() {
    let Some((_store, [a, b], _server)) = two_nodes().await else { return };
    let made = a.order("/keys", &json!({ "act": "new", "tenant": "acme" })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made: Value = serde_json::from_str(&made.text()).expect("JSON");
    let key = made["key"].as_str().expect("the key, once").to_owned();
    assert_eq!(ask(&a, &key).await.status, 200, "good at once where it was made");
    assert!(until_answered(&b, &key, 200).await < SEVERAL);

    let revoked = a.order("/keys", &json!({ "act": "revoke", "id": id_of(&key) })).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    let took = until_answered(&b, &key, 401).await;
    assert!(took < SEVERAL, "{took:?}");
    assert_eq!(ask(&a, &key).await.status, 401);

    // What the verb does, beside both; of two changes at once the second one is not made.
    let (mut first, mut second) = blocking(&a, |house| (desk(house), desk(house)));
    let next = first.act(KeyAct::Issue(request()), None, now()).expect("it can be done").issued.expect("a key");
    second.act(KeyAct::Issue(request()), None, now()).expect("it can be done");
    let (first, second) = blocking(&a, |_| (first.save().map(drop), second.save().map(drop)));
    first.expect("it is written");
    assert!(second.expect_err("it was changed").to_string().contains("meanwhile"));
    for house in [&a, &b] {
        assert!(until_answered(house, next.reveal(), 200).await < SEVERAL);
    }
}

#[tokio::test]
async fn a_store_that_is_away_leaves_the_keys_for_a_while_and_one_that_forgot_is_not_believed() {
    let Some((mut store, [a, _b], _server)) = two_nodes().await else { return };
    let made = a.order("/keys", &json!({ "act": "new", "tenant": "acme" })).await;
    let made: Value = serde_json::from_str(&made.text()).expect("JSON");
    let key = made["key"].as_str().expect("the key, once").to_owned();
    store.kill();
    let began = Instant::now();
    while a.metric("tollgate_keys_store_up").await != Some(0.0) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody noticed");
        assert_eq!(ask(&a, &key).await.status, 200, "what was read is good for a minute");
    }
    let told = a.order("/keys", &json!({ "act": "revoke", "id": id_of(&key) })).await;
    assert_eq!(told.status, 503, "a change needs the store: {}", told.text());
    a.gateway().control().state.ring.good_until(0);
    let reply = ask(&a, &key).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    // It kept nothing on disk: whatever was revoked is forgotten as well.
    store.start();
    for _ in 0..AFTERWARDS {
        assert_eq!(ask(&a, &key).await.status, 503);
    }
    assert_eq!(a.metric("tollgate_keys_store_up").await, Some(0.0));
}

/// Does what waits for a store by itself where a runtime runs already.
fn blocking<T: Send>(house: &House, work: impl FnOnce(&House) -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| work(house)).join().expect("no panic"))
}
