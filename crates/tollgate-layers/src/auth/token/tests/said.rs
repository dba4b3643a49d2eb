//! Tokens that say nothing themselves.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tollgate_core::backend::BoxFuture;
use tollgate_core::check::Checker;
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Code, Fault, Origin, Ruling, Stop};

use super::super::{IssuerConfig, KeyRoom, Outside, TokenNames, Tokens};
use super::{NOW, reason};
use crate::auth::tests::{at_once, head, peer};
use crate::auth::{Asking, Auth, IdKey, KeyRing};
use crate::authz::TenantConfig;
use crate::routes::AuthNeed;

const CONFIG: &str = "
corp:
  issuer: https://id.test/
  audience: [https://api.test]
  jwks: { file: corp.jwks }
  introspection: { client_id: gate, client_secret: 'secret://file/x' }
  tenant: acme
";

/// An issuer that gives these answers, one after another.
#[derive(Debug, Default)]
struct Teller(Mutex<VecDeque<String>>, Mutex<Vec<String>>);

impl Outside for Teller {
    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn introspect<'a>(&'a self, token: &'a str, _from: IpAddr) -> BoxFuture<'a, Result<Bytes, Fault>> {
        self.1.lock().push(token.to_owned());
        let answer = self.0.lock().pop_front().map(Bytes::from);
        Box::pin(async { answer.ok_or_else(|| Fault::new(Origin::Store, "nobody answers")) })
    }
}

fn scene() -> (Auth, Arc<Teller>) {
    let teller = Arc::new(Teller::default());
    let configs: BTreeMap<String, IssuerConfig> = serde_saphyr::from_str(CONFIG).expect("it parses");
    let tenants = BTreeMap::from([("acme".to_owned(), TenantConfig::default())]);
    let outside = Arc::clone(&teller);
    let room = move |_: &str| (Arc::new(KeyRoom::default()), Some(Arc::clone(&outside) as Arc<dyn Outside>));
    let (ids, seed, replays) = (IdKey::new([7; 16]), [9; 16], Arc::default());
    let names = TokenNames { tenants: &tenants, ids, room: &room, seed, resource: None, dpop: true, replays: &replays };
    let mut check = Checker::default();
    let tokens = Tokens::compile(&configs, &mut check, &names);
    assert!(check.is_clean());
    (Auth::new(Arc::new(KeyRing::default()), tokens), teller)
}

fn ask(auth: &Auth, token: &str, now_ms: u64) -> Ruling<Identity> {
    let (head, peer) = (head("/", &[("authorization".to_owned(), format!("Bearer {token}"))]), peer());
    let asking = Asking {
        head: &head,
        peer: &peer,
        from: peer.ip,
        at: tollgate_core::time::Tick(0),
        unix_ms: now_ms,
        need: AuthNeed::Required,
    };
    at_once(auth.identify(&asking))
}

fn active(changes: Value) -> String {
    let said = json!({ "active": true, "sub": "alice", "aud": "https://api.test", "scope": "infer", "exp": NOW + 300 });
    super::with(&said, changes).to_string()
}

const TOKEN: &str = "an-opaque-token-of-some-length";
const MS: u64 = NOW * 1000;

#[test]
fn an_answer_counts_for_its_time_and_a_no_for_less() {
    let (auth, teller) = scene();
    let asked = || teller.1.lock().len();
    teller.0.lock().extend([active(json!({})), r#"{"active":false}"#.to_owned(), active(json!({ "exp": NOW + 60 }))]);
    let who = ask(&auth, TOKEN, MS).expect("it is good");
    assert_eq!((&*who.principal, &*who.tenant), ("corp:alice", "acme"));
    assert!(ask(&auth, TOKEN, MS + 29_999).is_ok());
    assert_eq!(asked(), 1);
    for after in [30_000, 39_999] {
        assert_eq!(reason(ask(&auth, TOKEN, MS + after)), "its issuer says that it is not active");
    }
    assert_eq!(asked(), 2);
    assert!(ask(&auth, TOKEN, MS + 40_000).is_ok());
    // Never beyond its own end, and nobody answers by then.
    assert!(ask(&auth, TOKEN, MS + 59_999).is_ok());
    assert!(matches!(ask(&auth, TOKEN, MS + 60_000), Err(Stop::Fault(_))));
    assert_eq!(asked(), 4);
}

#[test]
fn without_an_answer_nobody_is_let_in() {
    let (auth, teller) = scene();
    for answer in [
        None,
        Some(""),
        Some("[]"),
        Some("{}"),
        Some(r#"{"active":"true"}"#),
        Some(r#"{"active":true,"active":false}"#),
    ] {
        teller.0.lock().extend(answer.map(str::to_owned));
        match ask(&auth, TOKEN, MS) {
            Err(stop @ Stop::Fault(_)) => assert_eq!(stop.denial().code, Code::Unavailable, "{answer:?}"),
            other => panic!("{answer:?}: {other:?}"),
        }
    }
}

#[test]
fn what_is_said_is_held_to_the_same_rules() {
    let (auth, teller) = scene();
    for (changes, why) in [
        (json!({ "aud": "https://other.test" }), "it is for another audience"),
        (json!({ "aud": null }), "the claim `aud` is missing"),
        (json!({ "iss": "https://evil.test/" }), "its issuer is not one of `auth.issuers`"),
        (json!({ "exp": NOW - 60 }), "it has expired"),
        (json!({ "exp": "soon" }), "the claim `exp` is not what it must be"),
        (json!({ "sub": null }), "the claim `sub` is missing"),
        (
            json!({ "cnf": { "jkt": super::corpus::b64([1; 32]) } }),
            "it is bound to a key, and no proof of that came with it",
        ),
    ] {
        teller.0.lock().push_back(active(changes.clone()));
        let token = format!("{TOKEN}{}", teller.1.lock().len());
        assert_eq!(reason(ask(&auth, &token, MS)), why, "{changes}");
    }
}

#[test]
fn what_is_no_token_is_not_shown_to_anybody() {
    let (auth, teller) = scene();
    for text in [
        "short",
        "tgk_test_aaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "with a space in it, too",
        &"A".repeat(8193),
        "eyJhbGciOiJub25lIn0.e30.",
    ] {
        assert!(ask(&auth, text, MS).is_err());
    }
    assert!(teller.1.lock().is_empty());
}
