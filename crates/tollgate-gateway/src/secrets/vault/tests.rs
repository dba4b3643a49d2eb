//! The way to Vault against the stateful double, on a clock that the tests move; once against a real server where there is one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};
use tollgate_core::time::Clock;
use tollgate_testkit::{Ca, Folder, VaultServer};

use super::wire::{Question, ask};
use super::{Line, Trouble};
use crate::record::Redactor;
use crate::secrets::{Opener, Secrets, SecretsConfig};

const DB: &str = "secret://vault/database/creds/gate#password";
const KEY: &str = "secret://vault/secret/team/vllm#key";

/// A gateway's secrets, and the double they come from.
struct Scene {
    server: VaultServer,
    clock: Clock,
    folder: Folder,
    secrets: Secrets,
    redactor: Redactor,
    section: SecretsConfig,
}

impl Scene {
    /// With `login`, and `more` members of `secrets.vault`.
    fn new(login: impl FnOnce(&VaultServer, &Folder) -> String, more: &str) -> Self {
        let clock = Clock::driven();
        let (server, folder) = (VaultServer::start(clock.clone()), Folder::fresh());
        let login = login(&server, &folder);
        let section = section(&server.url(), &login, more);
        let secrets = Secrets::new(clock.clone());
        server.put("secret/team/vllm", json!({ "key": "the first value", "port": 8000 }));
        server.put_plain("legacy/x", json!({ "key": "without versions" }));
        server.make_at("database/creds/gate", 600, 3000);
        Self { server, clock, folder, secrets, redactor: Redactor::default(), section }
    }

    fn app_role(more: &str) -> Self {
        Self::new(app_role, more)
    }

    /// Compiles: opens these references, and serves with them if that is possible.
    fn open(&self, references: &[&str]) -> Vec<Result<String, String>> {
        let mut opener = Opener::new(self.folder.path(), &|_| None).beside(&self.secrets);
        let mut check = Checker::default();
        opener.configure(&self.section, &mut check);
        assert_eq!(check.finish().0, []);
        let open = |reference: &&str| {
            let (mut check, reference) = (Checker::default(), SecretRef((*reference).to_owned()));
            let value = opener.open(&reference, "key", &mut check);
            let (mut problems, mut warnings) = check.finish();
            problems.append(&mut warnings);
            value
                .map(|value| String::from_utf8_lossy(value.expose()).into_owned())
                .ok_or_else(|| problems.remove(0).message)
        };
        let opened = references.iter().map(open).collect();
        self.secrets.adopt(opener.opened(), &self.redactor);
        opened
    }

    fn line(&self) -> Arc<Line> {
        self.secrets.line().expect("a way to Vault")
    }

    /// Lets so many seconds go by, with a step in each. Returns whether a value changed.
    async fn pass(&self, seconds: u64) -> bool {
        let mut changed = false;
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            changed |= self.line().step().await;
        }
        changed
    }
}

fn section(url: &str, login: &str, more: &str) -> SecretsConfig {
    let yaml = format!(
        "vault:\n  url: {url}\n  login: {login}\n  mounts: {{ database: dynamic, legacy: kv1 }}\n  timeout: 2s\n{more}"
    );
    serde_saphyr::from_str(&yaml).expect("a section")
}

fn app_role(server: &VaultServer, folder: &Folder) -> String {
    let (role, secret) = server.app_role();
    folder.write("secret-id", secret);
    format!("{{ app_role: {{ role_id: {role}, secret_id: \"secret://file/secret-id\" }} }}")
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[tokio::test]
async fn every_engine_is_read_and_one_reading_serves_all_fields_of_a_path() {
    let scene = Scene::app_role("");
    let (user, port) = ("secret://vault/database/creds/gate#username", "secret://vault/secret/team/vllm#port");
    let opened =
        scene.open(&[KEY, port, "secret://vault/legacy/x#key", DB, user, "secret://vault/secret/team/vllm#none"]);
    assert_eq!(opened[0..3], [ok("the first value"), ok("8000"), ok("without versions")]);
    assert!(opened[3].as_ref().is_ok_and(|text| text.starts_with("password-of-the-double")), "{opened:?}");
    assert!(opened[4].as_ref().is_ok_and(|text| text.starts_with("user-of-the-double")), "{opened:?}");
    let none = "`secret://vault/secret/team/vllm#none` names a field that is not there";
    assert_eq!(opened[5], Err(none.to_owned()));
    let asked = ["POST auth/approle/login", "GET secret/data/team/vllm", "GET legacy/x", "GET database/creds/gate"];
    assert_eq!(scene.server.calls(), asked);
    for secret in scene.line().secrets() {
        if let Ok(text) = str::from_utf8(secret.expose())
            && text.len() >= 8
        {
            assert_eq!(scene.redactor.clean(text), "[redacted]");
        }
    }
    let missing = scene.open(&["secret://vault/secret/nowhere#key"]);
    let why = "`secret://vault/secret/nowhere#key` cannot be read: Vault has nothing there (404)";
    assert_eq!(missing, [Err(why.to_owned())]);
}

#[tokio::test]
async fn another_version_is_found_within_the_poll_and_told() {
    let scene = Scene::app_role("");
    scene.open(&[KEY]);
    let mut changes = scene.secrets.changes();
    assert!(!scene.pass(70).await, "nothing new is no change");
    scene.server.put("secret/team/vllm", json!({ "key": "the second value" }));
    assert!(scene.pass(70).await);
    scene.server.put("secret/team/vllm", json!({ "key": "the third value" }));
    scene.clock.advance(Duration::from_secs(70));
    changes.mark_unchanged();
    scene.secrets.step(&scene.redactor).await;
    assert_eq!(changes.has_changed().ok(), Some(true));
    assert_eq!(scene.open(&[KEY]), [ok("the third value")]);
    assert_eq!(scene.redactor.clean("the first value and the third value"), "[redacted] and [redacted]");
    // A version that was deleted is not there: the last good one serves.
    scene.server.delete("secret/team/vllm");
    assert!(!scene.pass(70).await);
    assert_eq!(scene.open(&[KEY]), [ok("the third value")]);
    let troubles = ["`secret://vault/secret/team/vllm`: Vault has nothing there (404)"];
    assert_eq!(scene.secrets.troubles(), troubles);
}

#[tokio::test]
async fn during_an_outage_the_last_values_serve_until_they_are_too_old_and_come_back() {
    let scene = Scene::app_role("  max_stale: 1h\n");
    scene.open(&[KEY]);
    scene.server.go_down(true);
    drop(scene.server.calls());
    assert!(!scene.pass(3000).await);
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    assert!(scene.secrets.troubles()[0].starts_with("Vault "), "{:?}", scene.secrets.troubles());
    let calls = scene.server.calls().len();
    assert!((40..=70).contains(&calls), "{calls} calls in 50 minutes");
    assert!(scene.pass(700).await, "being withdrawn is a change");
    assert_eq!(scene.line().withdrawn(), 1);
    let mut opener = Opener::new(scene.folder.path(), &|_| None).beside(&scene.secrets);
    opener.configure(&scene.section, &mut Checker::default());
    let (mut check, reference) = (Checker::default(), SecretRef(KEY.to_owned()));
    assert_eq!(opener.open(&reference, "key", &mut check), None);
    assert!(opener.is_withdrawn(&reference) && check.is_clean(), "it closes what needs it, and is no mistake");
    scene.secrets.adopt(opener.opened(), &scene.redactor);
    scene.server.go_down(false);
    assert!(scene.pass(80).await, "coming back is a change");
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
}

#[tokio::test]
async fn leases_are_renewed_at_two_thirds_and_replaced_at_the_end_of_what_they_may_have() {
    let scene = Scene::app_role("");
    let first = scene.open(&[DB]);
    drop(scene.server.calls());
    assert!(!scene.pass(399).await);
    assert_eq!(scene.server.calls(), Vec::<String>::new());
    assert!(!scene.pass(2).await);
    assert_eq!(scene.server.calls(), ["POST sys/leases/renew"]);
    assert_eq!(scene.open(&[DB]), first);
    // It may have 3,000 seconds in all.
    assert!(scene.pass(2700).await, "new credentials were made in time");
    let second = scene.open(&[DB]);
    assert!(second[0].is_ok() && second != first, "{second:?}");
    assert!(scene.server.living().0 >= 1);
}

#[tokio::test]
async fn a_lease_that_ends_during_an_outage_is_withdrawn_at_its_end() {
    let scene = Scene::app_role("");
    scene.open(&[DB]);
    scene.server.go_down(true);
    assert!(!scene.pass(599).await);
    assert!(scene.open(&[DB])[0].is_ok());
    assert!(scene.pass(2).await);
    let why = format!("`{DB}` is withdrawn: it was not read for too long");
    assert_eq!(scene.open(&[DB]), [Err(why)]);
    scene.server.go_down(false);
    assert!(scene.pass(80).await);
    assert!(scene.open(&[DB])[0].as_ref().is_ok_and(|value| value.starts_with("password")));
}

#[tokio::test]
async fn our_token_is_renewed_and_a_new_login_comes_before_it_ends_for_good() {
    let scene = Scene::app_role("");
    scene.server.tokens_live(300, 900);
    let first = scene.open(&[DB]);
    assert!(!scene.pass(201).await);
    let calls = scene.server.calls();
    assert_eq!(calls[2..], ["POST auth/token/renew-self"], "{calls:?}");
    assert!(scene.pass(700).await, "leases end with their token, so there are new ones");
    let calls = scene.server.calls();
    assert_eq!(calls.iter().filter(|call| *call == "POST auth/approle/login").count(), 1, "{calls:?}");
    let second = scene.open(&[DB]);
    assert!(second[0].is_ok() && second != first);
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sealed_vault_is_waited_for() {
    let scene = Scene::app_role("");
    scene.open(&[KEY]);
    scene.server.seal(true);
    drop(scene.server.calls());
    assert!(!scene.pass(600).await);
    assert!((5..=14).contains(&scene.server.calls().len()));
    assert_eq!(scene.secrets.troubles(), ["Vault is sealed"]);
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    scene.server.put("secret/team/vllm", json!({ "key": "after the seal" }));
    scene.server.seal(false);
    assert!(scene.pass(80).await);
    assert_eq!(scene.open(&[KEY]), [ok("after the seal")]);
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_forbidden_is_asked_once_more_after_a_new_login_and_then_seldom() {
    let scene = Scene::app_role("");
    scene.open(&[KEY]);
    scene.server.forbid("secret/data/team/vllm", true);
    drop(scene.server.calls());
    assert!(!scene.pass(67).await);
    let asked = ["GET secret/data/team/vllm", "POST auth/approle/login", "GET secret/data/team/vllm"];
    assert_eq!(scene.server.calls(), asked);
    let troubles = ["`secret://vault/secret/team/vllm`: Vault forbids it (403)"];
    assert_eq!(scene.secrets.troubles(), troubles);
    assert!(!scene.pass(600).await);
    assert!(scene.server.calls().len() <= 12, "one call for each poll, and no more logins");
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    scene.server.forbid("secret/data/team/vllm", false);
    assert!(!scene.pass(70).await);
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_by_another_login() {
    let scene = Scene::app_role("");
    scene.open(&[KEY, DB]);
    scene.server.revoke_all();
    scene.server.put("secret/team/vllm", json!({ "key": "the second value" }));
    assert!(scene.pass(70).await);
    assert_eq!(scene.open(&[KEY]), [ok("the second value")]);
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    let scene = Scene::new(
        |server, folder| {
            let (role, _) = server.app_role();
            folder.write("wrapped", server.wrap(&role));
            format!("{{ app_role: {{ role_id: {role}, secret_id: \"secret://file/wrapped\", wrapped: true }} }}")
        },
        "",
    );
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    scene.server.revoke_all();
    scene.pass(70).await;
    let calls = scene.server.calls();
    let count = |call: &str| calls.iter().filter(|asked| *asked == call).count();
    assert_eq!((count("POST sys/wrapping/unwrap"), count("POST auth/approle/login")), (1, 2), "{calls:?}");
}

#[tokio::test]
async fn a_wrapping_token_that_was_used_or_made_elsewhere_is_refused_and_not_tried_again() {
    for stolen in [true, false] {
        let scene = Scene::new(
            |server, folder| {
                let (role, _) = server.app_role();
                let path = if stolen { "auth/approle/role/gateway/secret-id" } else { "sys/wrapping/wrap" };
                folder.write("wrapped", server.wrap_as(&role, path));
                format!("{{ app_role: {{ role_id: {role}, secret_id: \"secret://file/wrapped\", wrapped: true }} }}")
            },
            "",
        );
        if stolen {
            // Somebody was here before us.
            let token = Secret::new(std::fs::read(scene.folder.join("wrapped")).expect("a file"));
            let mut opener = Opener::new(scene.folder.path(), &|_| None);
            opener.configure(&scene.section, &mut Checker::default());
            let line = opener.opened().line.expect("a way");
            let unwrap = Question::post("sys/wrapping/unwrap", &json!({})).with(&token);
            ask(&line.plan, unwrap).await.expect("the first one gets it");
            drop(scene.server.calls());
        }
        let why = scene.open(&[KEY])[0].clone().expect_err("it is spent");
        assert!(why.contains("the wrapping token was used before, or wraps no secret id: treat"), "{why}");
        assert_eq!(scene.server.calls(), ["POST sys/wrapping/lookup"], "what comes from elsewhere is not unwrapped");
        scene.open(&[KEY])[0].clone().expect_err("still");
        assert_eq!(scene.server.calls(), Vec::<String>::new());
    }
}

/// A token that says whom it is meant for; nobody here looks at its signature.
fn jwt(audience: &str) -> String {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2ln", encode("{}"), encode(&json!({ "aud": [audience] }).to_string()))
}

#[tokio::test]
async fn the_token_of_a_pod_is_read_again_at_each_login_and_sent_only_where_it_is_meant_for() {
    let login = |server: &VaultServer, folder: &Folder| {
        server.let_pod_in("gate", &jwt("vault"));
        folder.write("pod", jwt("vault"));
        "{ kubernetes: { role: gate, token_file: pod, audience: vault } }".to_owned()
    };
    let scene = Scene::new(login, "");
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    let projected = format!("{}-and-newer", jwt("vault"));
    scene.server.let_pod_in("gate", &projected);
    scene.folder.write("pod", &projected);
    scene.server.revoke_all();
    scene.pass(70).await;
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
    scene.folder.write("pod", jwt("https://kubernetes.default.svc"));
    scene.server.revoke_all();
    drop(scene.server.calls());
    scene.pass(70).await;
    let troubles = scene.secrets.troubles();
    assert!(troubles[0].ends_with("pod` is no token for `vault`"), "{troubles:?}");
    assert!(!scene.server.calls().iter().any(|call| call.contains("login")));
}

#[tokio::test]
async fn a_token_of_somebody_else_is_read_again_and_never_renewed_or_revoked() {
    let scene = Scene::new(
        |server, folder| {
            folder.write("token", server.token());
            "{ token: \"secret://file/token\" }".to_owned()
        },
        "  namespace: team-a\n",
    );
    scene.server.only_in("team-a");
    assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
    scene.folder.write("token", scene.server.token());
    scene.pass(2401).await;
    let calls = scene.server.calls();
    assert!(!calls.iter().any(|call| call.contains("renew-self")), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "GET auth/token/lookup-self").count(), 2);
    assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
    scene.secrets.farewell().await;
    assert_eq!(scene.server.living().1, 2);
}

#[tokio::test]
async fn what_was_granted_is_given_back_at_the_end_and_when_nobody_names_it_any_more() {
    let scene = Scene::app_role("");
    scene.open(&[KEY, DB]);
    assert_eq!(scene.server.living(), (1, 1));
    scene.open(&[KEY]);
    scene.pass(1).await;
    assert_eq!(scene.server.living(), (0, 1));
    scene.open(&[KEY, DB]);
    scene.secrets.farewell().await;
    assert_eq!(scene.server.living(), (0, 0));
}

#[tokio::test]
async fn hostile_answers_are_bounded_and_change_nothing() {
    let scene = Scene::app_role("");
    scene.open(&[KEY]);
    let answer = |head: &str, body: &[u8]| {
        let mut bytes =
            format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        bytes
    };
    let deep = [b"{\"data\":".repeat(4000), b"}".repeat(4000)].concat();
    for (bytes, why) in [
        (answer("200 OK", &vec![b' '; (1 << 20) + 1]), "more than 1 MiB"),
        (answer("200 OK", b"<html>"), "something else than Vault does"),
        (answer("200 OK", &deep), "something else than Vault does"),
        (answer("200 OK", b"{\"data\":{\"data\":[1],\"metadata\":7}}"), "something else than Vault does"),
        (answer("307 x\r\nLocation: http://169.254.169.254/", b""), "sends on to another node"),
        (answer("500 x", b"{}"), "a failure of its own (500)"),
        (b"garbage\r\n\r\n".to_vec(), "breaks off"),
    ] {
        scene.server.talk_nonsense(Some(bytes));
        assert!(!scene.pass(130).await);
        let troubles = scene.secrets.troubles();
        assert!(troubles[0].contains(why), "{why}: {troubles:?}");
        assert_eq!(scene.open(&[KEY]), [ok("the first value")]);
        scene.server.talk_nonsense(None);
        scene.pass(130).await;
        assert_eq!(scene.secrets.troubles(), Vec::<String>::new());
    }
    // A lease of no time at all, for ever: one call in each step, and no more.
    scene.server.make_at("database/creds/gate", 1, 1);
    scene.open(&[DB]);
    drop(scene.server.calls());
    scene.pass(30).await;
    assert!(scene.server.calls().len() <= 31);
}

#[tokio::test]
async fn a_start_waits_for_its_time_and_then_says_what_is_missing() {
    let folder = Folder::fresh();
    let server = VaultServer::start(Clock::real());
    let login = app_role(&server, &folder);
    let section = section(&server.url(), &login, "  start_wait: 300ms\n");
    server.seal(true);
    let secrets = Secrets::new(Clock::real());
    let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
    let mut check = Checker::default();
    opener.configure(&section, &mut check);
    assert_eq!(opener.open(&SecretRef(KEY.to_owned()), "key", &mut check), None);
    assert_eq!(secrets.take_missing(), Some(format!("`{KEY}`: Vault is sealed")));
    // Unsealed in time, it is found.
    server.put("secret/team/vllm", json!({ "key": "the first value" }));
    server.seal(false);
    let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
    opener.configure(&section, &mut check);
    assert!(opener.open(&SecretRef(KEY.to_owned()), "key", &mut check).is_some());
}

#[tokio::test]
async fn over_tls_only_the_named_roots_are_believed() {
    let (ca, other, folder) = (Ca::new(), Ca::new(), Folder::fresh());
    let server = VaultServer::over_tls(Clock::real(), ca.server(&["127.0.0.1"]));
    server.put("secret/team/vllm", json!({ "key": "the first value" }));
    let login = app_role(&server, &folder);
    for (ca, good) in [(&ca, true), (&other, false)] {
        folder.write("ca.pem", ca.pem());
        let section = section(&server.url(), &login, "  ca: ca.pem\n  start_wait: 300ms\n");
        let mut opener = Opener::new(folder.path(), &|_| None);
        let mut check = Checker::default();
        opener.configure(&section, &mut check);
        assert_eq!(opener.open(&SecretRef(KEY.to_owned()), "key", &mut check).is_some(), good);
    }
}

#[test]
fn a_section_that_cannot_work_is_refused_with_every_mistake() {
    let folder = Folder::fresh();
    folder.write("id", "of a role");
    let problems = |section: &str| {
        let section: SecretsConfig = serde_saphyr::from_str(section).expect("a section");
        let (mut opener, mut check) = (Opener::new(folder.path(), &|_| None), Checker::default());
        opener.configure(&section, &mut check);
        let (problems, _) = check.finish();
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let found = problems(
        "vault: { url: \"http://vault.internal:8200\", ca: x.pem, login: {}, poll: 1ms, mounts: { a/: kv1 } }",
    );
    for (found, why) in found.iter().zip([
        "`ca` is for `https://`",
        "whoever stands between us and `http://` could read every secret",
        "exactly one of `token`, `app_role` and `kubernetes` says how to log in",
        "`a/` is no mount",
        "`1ms` is too short a time",
    ]) {
        assert!(found.starts_with(why), "{found}");
    }
    assert_eq!(found.len(), 5);
    let circular = "vault: { url: \"https://vault:8200\", login: { token: \"secret://vault/kv/x#token\" } }";
    assert_eq!(problems(circular), ["the way into Vault cannot come from Vault"]);
    let both =
        "vault: { url: \"https://vault:8200\", login: { token: \"secret://file/id\", kubernetes: { role: x } } }";
    assert_eq!(problems(both), ["exactly one of `token`, `app_role` and `kubernetes` says how to log in"]);
    let mut check = Checker::default();
    let mut opener = Opener::new(folder.path(), &|_| None);
    assert_eq!(opener.open(&SecretRef(KEY.to_owned()), "key", &mut check), None);
    let (problems, _) = check.finish();
    assert!(problems[0].message.ends_with("needs `secrets.vault`, which says where that is"), "{problems:?}");
}

/// Against a real Vault or OpenBao whose mount `secret` is key and value with versions, where both variables are set.
#[tokio::test]
async fn a_real_server_is_read_and_says_no_as_the_double_does() {
    let env = |name: &str| std::env::vars().find_map(|(known, value)| (known == name).then_some(value));
    let (Some(url), Some(token)) = (env("TOLLGATE_TEST_VAULT_ADDR"), env("TOLLGATE_TEST_VAULT_TOKEN")) else { return };
    let folder = Folder::fresh();
    folder.write("token", &token);
    let secrets = Secrets::new(Clock::real());
    let section = section(&url, "{ token: \"secret://file/token\" }", "");
    let opener = || {
        let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
        opener.configure(&section, &mut Checker::default());
        opener
    };
    let reference = SecretRef("secret://vault/secret/tollgate-test#key".to_owned());
    let line = opener().opened().line.expect("a way");
    let token = Secret::new(token.into_bytes());
    let put = |value: &str| Question::post("secret/data/tollgate-test", &json!({ "data": { "key": value } }));
    for value in ["the first value", "the second value"] {
        ask(&line.plan, put(value).with(&token)).await.expect("a mount of key and value with versions");
        let mut opener = opener();
        let read = opener.open(&reference, "key", &mut Checker::default()).expect("a value");
        assert_eq!(read.expose(), value.as_bytes());
    }
    let nowhere = ask(&line.plan, Question::get("secret/data/nowhere").with(&token)).await;
    assert_eq!(nowhere.err(), Some(Trouble::Missing));
    let stranger = Secret::new(b"hvs.stranger".to_vec());
    let refused = ask(&line.plan, Question::get("secret/data/tollgate-test").with(&stranger)).await;
    assert_eq!(refused.err(), Some(Trouble::Forbidden));
}
