//! Tokens are accepted, mapped, remembered and refused.

mod bound;
mod said;
mod sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_core::check::Checker;
use tollgate_core::identity::{Certificate, Identity, Method, Peer};
use tollgate_core::ruling::{Code, Ruling, Stop};
use tollgate_core::time::Tick;

use super::corpus::{self, Signers, claims, header, with};
use super::{IssuerConfig, KeyRoom, KeySet, TokenNames, Tokens};
use crate::auth::tests::{at_once, head, peer};
use crate::auth::{Asking, Auth, IdKey, KeyRing};
use crate::authz::TenantConfig;
use crate::routes::AuthNeed;

/// Seconds since the Unix epoch.
const NOW: u64 = 1_800_000_000;

const CONFIG: &str = "
corp:
  issuer: https://id.test/
  audience: [https://api.test]
  algorithms: [eddsa, es256, es384, ps256, rs256]
  jwks: { file: corp.jwks }
  tenant: acme
";

/// A layer with one key set for every issuer, and where its keys are.
struct Scene {
    auth: Auth,
    room: Arc<KeyRoom>,
    signers: Signers,
}

/// What is wrong with issuers.
pub(in crate::auth) fn problems_of_issuers(configs: &BTreeMap<String, IssuerConfig>) -> Vec<String> {
    compile_all(configs, &Arc::default()).1
}

fn compile(yaml: &str, room: &Arc<KeyRoom>) -> (Tokens, Vec<String>) {
    compile_all(&serde_saphyr::from_str(yaml).expect("it parses"), room)
}

fn compile_all(configs: &BTreeMap<String, IssuerConfig>, room: &Arc<KeyRoom>) -> (Tokens, Vec<String>) {
    let tenants = BTreeMap::from(["acme", "globex"].map(|name| (name.to_owned(), TenantConfig::default())));
    let room = |_: &str| (Arc::clone(room), None);
    let replays = Arc::default();
    let (ids, seed, resource) = (IdKey::new([7; 16]), [9; 16], Some("https://api.test/v1"));
    let names = TokenNames { tenants: &tenants, ids, room: &room, seed, resource, dpop: true, replays: &replays };
    let mut check = Checker::default();
    let tokens = Tokens::compile(configs, &mut check, &names);
    let (problems, _) = check.finish();
    (tokens, problems.iter().map(crate::auth::tests::told).collect())
}

fn scene(yaml: &str) -> Scene {
    let (room, signers) = (Arc::new(KeyRoom::default()), Signers::new());
    let (set, left_out) = KeySet::parse(signers.jwks().as_bytes(), u64::MAX).expect("a key set");
    assert_eq!((set.len(), left_out.len()), (4, 1));
    room.put(set);
    let (tokens, problems) = compile(yaml, &room);
    assert_eq!(problems, Vec::<String>::new());
    Scene { auth: Auth::new(Arc::new(KeyRing::default()), tokens), room, signers }
}

impl Scene {
    fn ask_as(&self, token: &str, now: u64, peer: &Peer) -> Ruling<Identity> {
        let head = head("/predict", &[("authorization".to_owned(), format!("Bearer {token}"))]);
        let asking =
            Asking { head: &head, peer, from: peer.ip, at: Tick(0), unix_ms: now * 1000, need: AuthNeed::Required };
        at_once(self.auth.identify(&asking))
    }

    fn ask(&self, token: &str) -> Ruling<Identity> {
        self.ask_as(token, NOW, &peer())
    }

    fn token(&self, changes: Value) -> String {
        self.signers.token(&header("ES256", "es256"), &with(&claims(NOW), changes))
    }
}

/// Why a ruling is a refusal; the answer to all of them is the same.
fn reason(ruling: Ruling<Identity>) -> String {
    match ruling {
        Err(Stop::Refuse(refusal)) => {
            assert_eq!((refusal.code, refusal.retry_after), (Code::Unauthenticated, None));
            let told = refusal.evidence().strip_prefix("the token is refused: ").expect("it is about a token");
            told.to_owned()
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

#[test]
fn good_tokens_are_accepted_twice() {
    let scene = scene(CONFIG);
    for (name, token) in corpus::good(&scene.signers, NOW) {
        for _ in 0..2 {
            let who = scene.ask(&token).unwrap_or_else(|stop| panic!("{name}: {stop:?}"));
            let sub = if name == "a client and no subject" { "corp:app" } else { "corp:alice" };
            assert_eq!((&*who.principal, &*who.tenant, who.method), (sub, "acme", Method::Token), "{name}");
            assert_eq!(who.scopes, ["infer".into(), "list".into()], "{name}");
        }
    }
}

#[test]
fn every_token_of_the_corpus_is_refused_for_its_own_reason_and_stays_refused() {
    let scene = scene(CONFIG);
    let cases = corpus::bad(&scene.signers, NOW);
    assert!(cases.len() >= 120, "{}", cases.len());
    let mut others = Vec::new();
    for case in cases {
        for _ in 0..2 {
            let told = reason(scene.ask(&case.token));
            others.extend((told != case.because).then(|| format!("{}: {told}", case.name)));
        }
    }
    assert_eq!(others, Vec::<String>::new());
}

#[test]
fn nothing_of_a_refused_token_is_repeated() {
    let scene = scene(CONFIG);
    for case in corpus::bad(&scene.signers, NOW) {
        let told = format!("{:?}", scene.ask(&case.token));
        let cut: Vec<&str> = case.token.split('.').filter(|part| part.len() > 12).collect();
        assert!(!cut.iter().any(|part| told.contains(&part[..12])), "{}: {told}", case.name);
    }
}

#[test]
fn a_token_ends_when_it_says_also_when_it_is_remembered() {
    let scene = scene(CONFIG);
    let token = scene.token(json!({}));
    assert!(scene.ask(&token).is_ok());
    assert!(scene.ask_as(&token, NOW + 329, &peer()).is_ok());
    assert_eq!(reason(scene.ask_as(&token, NOW + 330, &peer())), "it has expired");
}

#[test]
fn a_key_that_is_gone_ends_its_tokens_at_once_and_others_stay() {
    let scene = scene(CONFIG);
    let (old, kept) = (scene.token(json!({})), scene.signers.token(&header("EdDSA", "ed"), &claims(NOW)));
    assert!(scene.ask(&old).is_ok() && scene.ask(&kept).is_ok());
    let mut set: Value = serde_json::from_str(&scene.signers.jwks()).expect("JSON");
    set["keys"].as_array_mut().expect("a list").remove(0);
    scene.room.put(KeySet::parse(set.to_string().as_bytes(), u64::MAX).expect("a key set").0);
    assert_eq!(reason(scene.ask(&old)), "its issuer has no such key");
    assert!(scene.ask(&kept).is_ok());
}

#[test]
fn keys_that_are_too_old_are_a_fault_and_not_a_refusal() {
    let scene = scene(CONFIG);
    let token = scene.token(json!({}));
    assert!(scene.ask(&token).is_ok());
    let until = (NOW + 10) * 1000;
    scene.room.put(KeySet::parse(scene.signers.jwks().as_bytes(), until).expect("a key set").0);
    assert!(scene.ask_as(&token, NOW + 9, &peer()).is_ok());
    for _ in 0..2 {
        match scene.ask_as(&token, NOW + 10, &peer()) {
            Err(stop @ Stop::Fault(_)) => assert_eq!(stop.denial().code, Code::Unavailable),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_that_is_bound_to_a_certificate_needs_it_each_time() {
    let scene = scene(CONFIG);
    let token = scene.token(json!({ "cnf": { "x5t#S256": corpus::b64([7; 32]) } }));
    let with = |byte: u8| Peer {
        certificate: Some(Arc::new(Certificate {
            sha256: [byte; 32],
            not_after_ms: u64::MAX,
            ..Certificate::default()
        })),
        ..peer()
    };
    assert!(scene.ask_as(&token, NOW, &with(7)).is_ok());
    for other in [with(8), peer()] {
        assert_eq!(reason(scene.ask_as(&token, NOW, &other)), "it is bound to another certificate");
    }
    assert!(scene.ask_as(&token, NOW, &with(7)).is_ok());
}

#[test]
fn claims_say_which_tenant_and_what_for() {
    let scene = scene(
        "
corp:
  issuer: https://id.test/
  audience: [https://api.test]
  jwks: { file: corp.jwks }
  principal_claim: client_id
  tenant_claim: { claim: /org/id, names: { o1: acme, o2: globex } }
  scopes: { claim: scp, names: { 'models:use': [infer, list], 'models:see': [list], root: [admin] } }
",
    );
    let ask = |changes| scene.ask(&scene.token(changes));
    let who = ask(json!({ "org": { "id": "o2" }, "scp": ["models:see", "other", "models:use"] })).expect("it is good");
    assert_eq!((&*who.principal, &*who.tenant), ("corp:app", "globex"));
    assert_eq!(who.scopes, ["list".into(), "infer".into()]);
    // Where scopes mean something, no word about them is nothing, and so are words that mean nothing.
    assert_eq!(ask(json!({ "org": { "id": "o1" } })).expect("it is good").scopes, ["none".into()]);
    assert_eq!(ask(json!({ "org": { "id": "o1" }, "scp": "infer" })).expect("it is good").scopes, ["none".into()]);
    for org in [json!(null), json!({}), json!({ "id": "o3" }), json!({ "id": 1 }), json!("o1"), json!({ "id": "" })] {
        assert_eq!(reason(ask(json!({ "org": org }))), "its claims name no tenant");
    }
}

#[test]
fn a_token_is_accepted_in_one_header_only() {
    let scene = scene(CONFIG);
    let token = scene.token(json!({}));
    let ask = |target: &str, headers: &[(&str, String)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (head, peer) = (head(target, &headers), peer());
        let unix_ms = NOW * 1000;
        let asking = Asking { head: &head, peer: &peer, from: peer.ip, at: Tick(0), unix_ms, need: AuthNeed::Required };
        at_once(scene.auth.identify(&asking)).map_err(|stop| stop.denial().code)
    };
    let bearer = ("authorization", format!("Bearer {token}"));
    assert!(ask("/predict", std::slice::from_ref(&bearer)).is_ok());
    for name in ["x-api-key", "api-key"] {
        assert_eq!(ask("/predict", &[(name, token.clone())]).err(), Some(Code::Unauthenticated), "{name}");
        assert_eq!(ask("/predict", &[bearer.clone(), (name, token.clone())]).err(), Some(Code::BadRequest), "{name}");
    }
    assert_eq!(ask("/predict", &[bearer.clone(), bearer.clone()]).err(), Some(Code::BadRequest));
    assert_eq!(ask(&format!("/predict?x={token}"), &[]).err(), Some(Code::Unauthenticated));
    assert_eq!(ask(&format!("/predict?access_token={token}"), &[bearer]).err(), Some(Code::Unauthenticated));
}

#[test]
fn mistakes_of_issuers_are_reported_together() {
    let yaml = "
a: { issuer: https://id.test/, audience: [], jwks: { file: a }, tenant: acme }
b: { issuer: https://id.test/, audience: [x, x], jwks: { file: b }, tenant: nobody, algorithms: [], types: [JWT, dpop+jwt] }
C: { issuer: '', audience: [x], jwks: { file: c } }
d: { issuer: d, audience: [x], jwks: { file: d }, tenant: acme, tenant_claim: { claim: org, names: { a: acme } } }
e: { issuer: e, audience: [x], jwks: { file: e, url: 'http://x' }, tenant_claim: { claim: '', names: { a: nobody } } }
f: { issuer: 'http://id.test', audience: [x], tenant: acme }
";
    let (_, problems) = compile(yaml, &Arc::default());
    assert_eq!(
        problems,
        [
            "C: `C` is not 1 to 32 of `a-z`, `0-9`, `_`, `-`",
            "C.issuer: an issuer has 1 to 256 characters",
            "C: nothing says which tenant a token is for: `tenant` or `tenant_claim` is missing",
            "a.audience: 1 to 64 entries",
            "b.issuer: `https://id.test/` is the issuer `a` as well",
            "b.audience: one of the entries is listed twice",
            "b.algorithms: 1 to 64 entries",
            "b.types: types stand here in lower case and without `application/`",
            "b.types: `dpop+jwt` is the type of a proof, never that of a token",
            "b.tenant: `nobody` is not a tenant",
            "d.tenant_claim: either `tenant` or `tenant_claim`, not both",
            "e.jwks.file: with a `file` nothing is fetched: `url`, `ca` and `allow_private` say nothing",
            "e.jwks.url: keys come over `https://` alone",
            "e.tenant_claim.claim: the claim has no name",
            "e.tenant_claim.names.a: `nobody` is not a tenant",
            "f.issuer: metadata comes over `https://` alone, and this is no such address",
        ]
    );
}

#[test]
fn a_full_table_forgets_and_accepts_all_the_same() {
    let scene = scene(CONFIG);
    for i in 0..300 {
        let token = scene.signers.token(&header("EdDSA", "ed"), &with(&claims(NOW), json!({ "jti": i.to_string() })));
        assert!(scene.ask(&token).is_ok());
    }
}
