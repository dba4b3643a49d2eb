//! Tokens are accepted, mapped, remembered and refused.

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

fn compile(yaml: &str, room: &Arc<KeyRoom>) -> (Tokens, Vec<String>) {
    let configs: BTreeMap<String, IssuerConfig> = serde_saphyr::from_str(yaml).expect("it parses");
    let tenants = BTreeMap::from(["acme", "globex"].map(|name| (name.to_owned(), TenantConfig::default())));
    let room = |_: &str| (Arc::clone(room), None);
    let replays = Arc::default();
    let (ids, seed, resource) = (IdKey::new([7; 16]), [9; 16], Some("https://api.test/v1"));
    let names = TokenNames { tenants: &tenants, ids, room: &room, seed, resource, dpop: true, replays: &replays };
    let mut check = Checker::default();
    let tokens = Tokens::compile(&configs, &mut check, &names);
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
        certificate: Some(Arc::new(Certificate { sha256: [byte; 32], ..Certificate::default() })),
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
    // No word about scopes is all of the tenant's; words that mean nothing are nothing.
    assert!(ask(json!({ "org": { "id": "o1" } })).expect("it is good").scopes.is_empty());
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

mod bound {
    //! Tokens that are bound to a key.

    use aws_lc_rs::digest::{SHA256, digest};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
    use serde_json::{Value, json};
    use tollgate_core::identity::Identity;
    use tollgate_core::ruling::{Code, Ruling, Stop};

    use super::super::corpus::{Signers, b64, with};
    use super::{CONFIG, NOW, Scene, reason, scene};
    use crate::auth::Asking;
    use crate::auth::tests::{at_once, head, peer};
    use crate::routes::AuthNeed;

    fn jwk(key: &EcdsaKeyPair) -> Value {
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) })
    }

    fn thumbprint(key: &Value) -> String {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, key["x"], key["y"]);
        b64(digest(&SHA256, canonical.as_bytes()))
    }

    /// A proof for `POST /predict` with a token, changed in its header and its claims.
    fn proof(key: &EcdsaKeyPair, token: &str, header: Value, claims: Value) -> String {
        let ath = b64(digest(&SHA256, token.as_bytes()));
        let base = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(key) });
        let said = json!({ "htm": "POST", "htu": "https://api.test/predict", "iat": NOW, "jti": "one", "ath": ath });
        let signed = format!("{}.{}", b64(with(&base, header).to_string()), b64(with(&said, claims).to_string()));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("it signs");
        format!("{signed}.{}", b64(signature))
    }

    fn ask(scene: &Scene, scheme: &str, token: &str, proofs: &[&str]) -> Ruling<Identity> {
        let mut headers = vec![("authorization".to_owned(), format!("{scheme} {token}"))];
        headers.extend(proofs.iter().map(|proof| ("dpop".to_owned(), (*proof).to_owned())));
        let (head, peer) = (head("/predict?x=1", &headers), peer());
        let unix_ms = NOW * 1000;
        at_once(scene.auth.identify(&Asking {
            head: &head,
            peer: &peer,
            from: peer.ip,
            at: tollgate_core::time::Tick(0),
            unix_ms,
            need: AuthNeed::Required,
        }))
    }

    fn bound() -> (Scene, String) {
        let scene = scene(CONFIG);
        let token = scene.token(json!({ "cnf": { "jkt": thumbprint(&jwk(&scene.signers.stranger)) } }));
        (scene, token)
    }

    #[test]
    fn a_proof_of_its_key_opens_a_bound_token_once() {
        let (scene, token) = bound();
        let key = &scene.signers.stranger;
        let first = proof(key, &token, json!({}), json!({}));
        assert!(ask(&scene, "DPoP", &token, &[&first]).is_ok());
        assert_eq!(reason(ask(&scene, "DPoP", &token, &[&first])), "its proof was used before");
        let second = proof(key, &token, json!({}), json!({ "jti": "two", "htu": "https://API.test:443/predict" }));
        assert!(ask(&scene, "dpop", &token, &[&second]).is_ok());
    }

    #[test]
    fn proofs_that_prove_nothing_are_refused_each_for_its_own_reason() {
        let (scene, token) = bound();
        let key = &scene.signers.stranger;
        let none = "its proof is none";
        let other = "its proof is for another request or another token";
        let time = "its proof is not of now";
        let private = with(&jwk(key), json!({ "d": "AAAA" }));
        for (header, claims, why) in [
            (json!({}), json!({ "htm": "GET" }), other),
            (json!({}), json!({ "htm": "post" }), other),
            (json!({}), json!({ "htu": "https://api.test/other" }), other),
            (json!({}), json!({ "htu": "http://api.test/predict" }), other),
            (json!({}), json!({ "htu": "https://evil.test/predict" }), other),
            (json!({}), json!({ "htu": null }), other),
            (json!({}), json!({ "ath": b64([0; 32]) }), other),
            (json!({}), json!({ "ath": null }), other),
            (json!({}), json!({ "iat": NOW - 61 }), time),
            (json!({}), json!({ "iat": NOW + 61 }), time),
            (json!({}), json!({ "iat": NOW.to_string() }), none),
            (json!({}), json!({ "iat": null }), none),
            (json!({}), json!({ "jti": null }), none),
            (json!({}), json!({ "jti": "" }), none),
            (json!({}), json!({ "jti": "j".repeat(257) }), none),
            (json!({ "typ": "JWT" }), json!({}), none),
            (json!({ "typ": null }), json!({}), none),
            (json!({ "alg": "none" }), json!({}), none),
            (json!({ "alg": "HS256" }), json!({}), none),
            (json!({ "alg": "ES384" }), json!({}), none),
            (json!({ "jwk": null }), json!({}), none),
            (json!({ "jwk": private }), json!({}), none),
            (json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), json!({}), none),
            (json!({ "jwk": jwk(&scene.signers.es256) }), json!({}), none),
            (json!({ "crit": ["x"] }), json!({}), none),
        ] {
            let proof = proof(key, &token, header.clone(), claims.clone());
            assert_eq!(reason(ask(&scene, "DPoP", &token, &[&proof])), why, "{header} {claims}");
        }
        let stranger = proof(&scene.signers.es256, &token, json!({}), json!({}));
        assert_eq!(reason(ask(&scene, "DPoP", &token, &[&stranger])), "it is not bound to the key of its proof");
        for text in ["", "x", "a.b.c", &"A".repeat(5_000)] {
            assert_eq!(reason(ask(&scene, "DPoP", &token, &[text])), none);
        }
        // None of these used the good one up.
        assert!(ask(&scene, "DPoP", &token, &[&proof(key, &token, json!({}), json!({}))]).is_ok());
    }

    #[test]
    fn the_scheme_says_whether_a_proof_is_needed() {
        let (scene, token) = bound();
        let good = proof(&scene.signers.stranger, &token, json!({}), json!({}));
        let lacks = "it is bound to a key, and no proof of that came with it";
        assert_eq!(reason(ask(&scene, "Bearer", &token, &[&good])), lacks);
        assert_eq!(reason(ask(&scene, "DPoP", &token, &[])), lacks);
        let plain = scene.token(json!({}));
        let for_plain = proof(&scene.signers.stranger, &plain, json!({}), json!({}));
        assert_eq!(reason(ask(&scene, "DPoP", &plain, &[&for_plain])), "it is not bound to the key of its proof");
        match ask(&scene, "DPoP", &token, &[&good, &good]) {
            Err(stop @ Stop::Refuse(_)) => assert_eq!(stop.denial().code, Code::BadRequest),
            other => panic!("{other:?}"),
        }
        assert!(ask(&scene, "DPoP", &token, &[&good]).is_ok());
    }

    #[test]
    fn signers_differ() {
        let (one, other) = (Signers::new(), Signers::new());
        assert_ne!(jwk(&one.stranger), jwk(&other.stranger));
    }
}

mod said {
    //! Tokens that say nothing themselves.

    use std::collections::{BTreeMap, VecDeque};
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

        fn introspect<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Bytes, Fault>> {
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
        let names =
            TokenNames { tenants: &tenants, ids, room: &room, seed, resource: None, dpop: true, replays: &replays };
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
        let said =
            json!({ "active": true, "sub": "alice", "aud": "https://api.test", "scope": "infer", "exp": NOW + 300 });
        super::with(&said, changes).to_string()
    }

    const TOKEN: &str = "an-opaque-token-of-some-length";
    const MS: u64 = NOW * 1000;

    #[test]
    fn an_answer_counts_for_its_time_and_a_no_for_less() {
        let (auth, teller) = scene();
        let asked = || teller.1.lock().len();
        teller.0.lock().extend([
            active(json!({})),
            r#"{"active":false}"#.to_owned(),
            active(json!({ "exp": NOW + 60 })),
        ]);
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
}

mod sets {
    use serde_json::{Value, json};

    use super::super::corpus::{Signers, b64};
    use super::super::{BadKey, BadSet, KeySet};

    fn left_out(key: Value) -> BadKey {
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([9; 32]) });
        let set = json!({ "keys": [good, key] }).to_string();
        let (_, left_out) = KeySet::parse(set.as_bytes(), 0).expect("one key is good");
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        left_out[0].1
    }

    #[test]
    fn keys_that_must_not_be_used_are_left_out() {
        let set: Value = serde_json::from_str(&Signers::new().jwks()).expect("JSON");
        let (ec, rsa) = (set["keys"][0].clone(), set["keys"][3].clone());
        let changed = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        for (key, why) in [
            (changed(&ec, "d", json!("AAAA")), BadKey::Private),
            (changed(&ec, "use", json!("enc")), BadKey::OtherUse),
            (changed(&ec, "key_ops", json!(["sign"])), BadKey::OtherUse),
            (changed(&ec, "alg", json!("HS256")), BadKey::OtherUse),
            (changed(&ec, "alg", json!("ES384")), BadKey::OtherUse),
            (changed(&ec, "crv", json!("secp256k1")), BadKey::OtherUse),
            (changed(&ec, "kid", json!("a b")), BadKey::Malformed),
            (changed(&ec, "y", json!(b64([1; 32]))), BadKey::Malformed),
            (changed(&ec, "x", json!(b64([1; 31]))), BadKey::Malformed),
            (changed(&ec, "x", json!("====")), BadKey::Malformed),
            (changed(&rsa, "n", json!(b64([0xff; 128]))), BadKey::Size),
            (changed(&rsa, "n", json!(b64([0xff; 1024]))), BadKey::Size),
            (changed(&rsa, "e", json!(b64([2]))), BadKey::Size),
            (changed(&rsa, "e", json!(b64([1]))), BadKey::Size),
            (changed(&rsa, "e", json!(b64([0xff; 9]))), BadKey::Size),
            (json!({ "kty": "oct", "k": "c2VjcmV0" }), BadKey::Private),
            (json!({ "crv": "P-256" }), BadKey::Malformed),
            (json!("key"), BadKey::Malformed),
        ] {
            assert_eq!(left_out(key.clone()), why, "{key}");
        }
    }

    #[test]
    fn texts_that_are_no_key_sets_are_refused() {
        let many = json!({ "keys": vec![json!({}); 101] }).to_string();
        for (text, why) in [
            ("", BadSet::Malformed),
            ("[]", BadSet::Malformed),
            ("{\"keys\":{}}", BadSet::Malformed),
            ("{\"keys\":[],\"keys\":[]}", BadSet::Malformed),
            ("{\"keys\":[]}", BadSet::Empty),
            (many.as_str(), BadSet::Many),
            (&" ".repeat(512 * 1024 + 1), BadSet::Large),
        ] {
            assert_eq!(KeySet::parse(text.as_bytes(), 0).err(), Some(why));
        }
    }
}
