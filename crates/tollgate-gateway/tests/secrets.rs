//! Secrets that change while the gateway runs: no restart, no reload, and nobody refused who was right.

use std::collections::BTreeMap;

use tollgate_core::time::Clock;
use tollgate_testkit::client::post;
use tollgate_testkit::house::environment;
use tollgate_testkit::{Client, Folder, House, ModelServer, Reply, VaultServer, until};

const ADMIN: &str = "the-first-admin-key";

/// A house whose admin key, pepper and upstream key are files.
async fn scene() -> (House, ModelServer) {
    let server = ModelServer::agreeable().await;
    let rest = format!(
        "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], key: \"secret://file/up.key\" }} }}
routes:
  - {{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}
",
        server.url()
    );
    let house = House::start_in(&rest, |folder| {
        let text = std::fs::read_to_string(folder.join("tollgate.yaml")).expect("a configuration");
        let text = text.replace("secret://env/ADMIN_KEY", "secret://file/admin.key");
        folder.write("tollgate.yaml", text.replace("secret://env/PEPPER", "secret://file/pepper.key"));
        folder.write("admin.key", ADMIN);
        folder.write("up.key", "sk-of-the-server-1");
        let env: BTreeMap<String, String> = environment();
        folder.write("pepper.key", &env["PEPPER"]);
    });
    (house, server)
}

/// Changes a secret, and waits until it has come round.
async fn change(house: &House, name: &str, value: &str) {
    let state = &house.gateway().control().state;
    let before = state.generation();
    house.folder.write(name, value);
    state.secrets.look();
    until(format!("`{name}` to come round"), || state.generation() > before).await;
}

async fn ask(house: &House) -> Reply {
    house.plain().await.ask(post("/p", &house.bearer("acme"), "{}")).await
}

async fn operator(house: &House, key: &str) -> u16 {
    let mut client = Client::plain(house.at("admin")).await;
    client.ask(format!("GET /healthz HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {key}\r\n\r\n")).await.status
}

#[tokio::test]
async fn every_kind_of_secret_changes_without_a_reload() {
    let (house, server) = scene().await;
    assert_eq!(ask(&house).await.status, 200);
    change(&house, "up.key", "sk-of-the-server-2").await;
    assert_eq!(ask(&house).await.status, 200);
    let taken = server.requests();
    let sent: Vec<_> = taken.iter().flat_map(|taken| taken.fields("authorization")).collect();
    assert_eq!(sent, ["Bearer sk-of-the-server-1", "Bearer sk-of-the-server-2"]);

    change(&house, "admin.key", "the-second-admin-key").await;
    assert_eq!(operator(&house, ADMIN).await, 401);
    assert_eq!(operator(&house, "the-second-admin-key").await, 200);

    // Keys that were sealed with the old pepper are good for the grace.
    change(&house, "pepper.key", "another pepper of at least thirty-two bytes").await;
    assert_eq!(ask(&house).await.status, 200);
    change(&house, "up.key", "sk-of-the-server-3").await;
    assert_eq!(ask(&house).await.status, 200, "another change does not end the grace");
}

#[tokio::test]
async fn a_configuration_that_was_only_written_is_not_read_for_a_secret() {
    let (house, server) = scene().await;
    house.folder.write("tollgate.yaml", "half of a configur");
    change(&house, "up.key", "sk-of-the-server-2").await;
    assert_eq!(ask(&house).await.status, 200);
    let taken = server.requests().pop().expect("a request");
    assert_eq!(taken.fields("authorization"), ["Bearer sk-of-the-server-2"]);
}

#[tokio::test]
async fn a_value_that_fits_nowhere_leaves_the_old_one_in_its_place() {
    let (house, server) = scene().await;
    let state = std::sync::Arc::clone(&house.gateway().control().state);
    let before = state.generation();
    house.folder.write("up.key", "two words");
    state.secrets.look();
    let failures = || {
        let mut text = String::new();
        state.secrets.render(&mut text);
        text.contains("\ntollgate_secret_rotation_failures_total 1\n")
    };
    until("the failure to be counted", failures).await;
    assert_eq!(state.generation(), before);
    assert_eq!(ask(&house).await.status, 200);
    let taken = server.requests().pop().expect("a request");
    assert_eq!(taken.fields("authorization"), ["Bearer sk-of-the-server-1"]);
}

#[tokio::test]
async fn nobody_is_refused_while_secrets_change_under_load() {
    let (house, _server) = scene().await;
    let folder: &Folder = &house.folder;
    let state = &house.gateway().control().state;
    let load = async {
        let mut client = house.plain().await;
        let mut statuses = Vec::new();
        while state.generation() < 8 {
            statuses.push(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status);
        }
        statuses
    };
    let changes = async {
        for round in 0..7 {
            let before = state.generation();
            folder.write("up.key", format!("sk-of-the-server-{round}-and-on"));
            if round == 3 {
                folder.write("pepper.key", "another pepper of at least thirty-two bytes");
            }
            state.secrets.look();
            until("a new policy", || state.generation() > before).await;
        }
    };
    let (statuses, ()) = tokio::join!(load, changes);
    assert!(statuses.len() > 8, "{statuses:?}");
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn an_upstream_whose_key_was_withdrawn_is_sent_nothing_until_it_comes_back() {
    let server = ModelServer::agreeable().await;
    let vault = VaultServer::start(Clock::real());
    vault.put("secret/up", serde_json::json!({ "key": "sk-of-vault" }));
    let token = vault.token();
    let plain = format!(
        "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}
",
        server.url()
    );
    let keyed = plain.replace("] } }\nroutes", "], key: \"secret://vault/secret/up#key\" } }\nroutes");
    let login = "login: { token: secret://file/token }, poll: 100ms, max_stale: 2s";
    let keyed = format!("{keyed}secrets: {{ vault: {{ url: \"{}\", {login} }} }}\n", vault.url());
    // Keys are made before the token is there: with the configuration as it was without it.
    let house = House::start_in(&plain, |folder| {
        folder.write("token", &token);
        let text = std::fs::read_to_string(folder.join("tollgate.yaml")).expect("a configuration");
        folder.write("tollgate.yaml", text.replace(&plain, &keyed));
    });
    let state = &house.gateway().control().state;
    assert_eq!(ask(&house).await.status, 200);
    let before = state.generation();
    vault.seal(true);
    until("the key to be withdrawn", || state.generation() > before).await;
    let sent = server.requests().len();
    let reply = ask(&house).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(server.requests().len(), sent, "nothing is sent without its key");
    let ready = house.admin("GET", "/readyz").await.text();
    assert!(ready.contains("\"ready\":true") && ready.contains("Vault is sealed"), "{ready}");
    let closed = state.generation();
    vault.seal(false);
    until("the key to come back", || state.generation() > closed).await;
    assert_eq!(ask(&house).await.status, 200);
}
