//! Keys are made, written, read, recognised and refused.

mod hostile;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use proptest::prelude::proptest;
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::identity::{Identity, Peer};
use tollgate_core::ruling::{Code, Denial, Ruling, Stop};
use tollgate_core::secret::Secret;
use tollgate_core::time::Tick;

use super::token::tests::problems_of_issuers;
use super::{
    Asking, Auth, AuthConfig, IdKey, KeyFile, KeyId, KeyNames, KeyRecord, KeyRing, KeyState, Keys, NewKey, Pepper,
    PepperValue, Peppers, Presented, Timestamp, Tokens, compose,
};
use crate::authz::{Scope, TenantConfig};
use crate::hygiene::Head;
use crate::routes::AuthNeed;

pub(super) const NOW: &str = "2027-01-01T00:00:00Z";

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

/// SplitMix64: random enough for tests, the same on every run.
pub(super) fn random(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for byte in bytes {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed >> 56) as u8;
        }
    }
}

pub(super) fn pepper(name: &str) -> Secret {
    Secret::new(format!("pepper {name} of the tests, 32 bytes").into_bytes())
}

pub(super) fn peppers(names: &[&str]) -> Peppers {
    let config = format!("keys: {{ file: keys.yaml, pepper: {{ {} }} }}", {
        names.iter().map(|name| format!("{name}: 'secret://env/{name}'")).collect::<Vec<_>>().join(", ")
    });
    let config: AuthConfig = serde_saphyr::from_str(&config).expect("it parses");
    let values = names.iter().map(|name| ((*name).to_owned(), pepper(name))).collect();
    let mut check = Checker::default();
    let peppers = config.compile(&mut check, &values);
    assert_eq!(check.finish(), (vec![], vec![]));
    peppers
}

pub(super) fn request() -> NewKey {
    NewKey { env: "test".into(), tenant: "acme".into(), created_by: "ops".into(), ..NewKey::default() }
}

/// Issues a key under pepper `v1`; its text comes back.
pub(super) fn issue(file: &mut KeyFile, request: NewKey, seed: u64) -> String {
    let value = pepper("v1");
    let pepper = PepperValue { id: "v1", value: &value };
    let issued = file.issue(request, pepper, &mut random(seed), at(NOW)).expect("a fit request");
    issued.reveal().to_owned()
}

/// Compiles a key file as the gateway would; problems and warnings come as `place: message`.
fn compile(file: &KeyFile, peppers: Peppers) -> (Keys, Vec<String>, Vec<String>) {
    let tenant = |models: &[&str]| TenantConfig {
        models: models.iter().map(ToString::to_string).collect(),
        ..TenantConfig::default()
    };
    let tenants = BTreeMap::from([("acme".to_owned(), tenant(&["digits"])), ("globex".to_owned(), tenant(&[]))]);
    let models = BTreeMap::from([("digits".to_owned(), ModelId(0)), ("fraud".to_owned(), ModelId(1))]);
    let names = KeyNames { tenants: &tenants, models: &models, ids: IdKey::new([7; 16]) };
    let mut check = Checker::default();
    let keys = Keys::compile(file, &mut check, &names, peppers);
    let (problems, warnings) = check.finish();
    (keys, problems.iter().map(told).collect(), warnings.iter().map(told).collect())
}

pub(super) fn told(problem: &tollgate_core::check::Problem) -> String {
    let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
    format!("{}: {}", path.join("."), problem.message)
}

pub(super) fn auth_of(file: &KeyFile) -> Auth {
    let (keys, problems, warnings) = compile(file, peppers(&["v1", "v2"]));
    assert_eq!((problems, warnings), (vec![], vec![]));
    Auth::new(Arc::new(KeyRing::new(keys)), Tokens::none())
}

pub(super) fn head(target: &str, headers: &[(String, String)]) -> Head {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a header name");
        map.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    let uri = target.parse().expect("a target");
    Head { method: Method::POST, uri, version: Version::HTTP_11, headers: map, host: "gate.test".into() }
}

fn with_key(key: &str) -> Head {
    head("/predict", &[("x-api-key".to_owned(), key.to_owned())])
}

pub(super) fn peer() -> Peer {
    let ip = [192, 0, 2, 7].into();
    Peer { ip, port: 4711, local: (ip, 443), listener: "public".into(), sni: None, tls: true, certificate: None }
}

fn ask(auth: &Auth, head: &Head, unix_ms: u64) -> Ruling<Identity> {
    let peer = peer();
    at_once(auth.identify(&Asking { head, peer: &peer, from: peer.ip, at: Tick(0), unix_ms, need: AuthNeed::Required }))
}

/// The value of a future that waits for nothing.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn refused(auth: &Auth, head: &Head, now: &str) -> (Denial, String) {
    match ask(auth, head, at(now).unix_ms()) {
        Err(stop @ Stop::Refuse(_)) => {
            let denial = stop.denial();
            let Stop::Refuse(refusal) = stop else { panic!("it is a refusal") };
            (denial, refusal.evidence().to_owned())
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

/// The same key with its secret, or its id, exchanged: well-formed, with the right checksum.
fn forged(key: &str) -> String {
    let id = Presented::parse(key.as_bytes()).expect("a key").id;
    compose("test", id, &mut random(99)).expect("random").to_string()
}

fn unknown() -> String {
    let id = KeyId::draw(&mut random(98)).expect("random");
    compose("test", id, &mut random(99)).expect("random").to_string()
}

fn typo(key: &str) -> String {
    let last = if key.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &key[..key.len() - 1])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    given: Vec<Given>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    #[serde(default)]
    cidrs: Vec<String>,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    #[serde(default)]
    state: KeyState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Option<Timestamp>,
    from: Option<IpAddr>,
    #[serde(default)]
    route: AuthNeed,
    target: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    is: String,
    because: Option<String>,
}

impl Case {
    fn run(&self) {
        let mut file = KeyFile::default();
        let mut texts = BTreeMap::new();
        for (i, given) in self.given.iter().enumerate() {
            let request = NewKey { cidrs: given.cidrs.clone(), not_before: given.not_before, ..request() };
            texts.insert(given.name.clone(), issue(&mut file, request, i as u64));
            let record = file.keys.last_mut().expect("it was just made");
            record.state = given.state;
            record.expires_at = given.expires_at.unwrap_or(record.expires_at);
        }
        let auth = auth_of(&file);
        for (i, step) in self.steps.iter().enumerate() {
            step.run(&auth, &texts, &format!("{}, step {i}", self.what));
        }
    }
}

impl Step {
    fn run(&self, auth: &Auth, texts: &BTreeMap<String, String>, place: &str) {
        let filled: Vec<_> = self.headers.iter().map(|(name, value)| (name.clone(), fill(value, texts))).collect();
        let head = head(&fill(self.target.as_deref().unwrap_or("/predict"), texts), &filled);
        let from = self.from.unwrap_or_else(|| [192, 0, 2, 7].into());
        let now = self.at.unwrap_or_else(|| at(NOW));
        let peer = peer();
        let asking = Asking { head: &head, peer: &peer, from, at: Tick(0), unix_ms: now.unix_ms(), need: self.route };
        match at_once(auth.identify(&asking)) {
            Ok(who) => {
                let expected = texts.get(&self.is).map_or("anonymous", |text| id_of(text));
                assert_eq!(*who.principal, *expected, "{place}");
                assert_eq!(who.is_anonymous(), self.is == "anonymous", "{place}");
            }
            Err(Stop::Refuse(refusal)) => {
                assert_eq!(refusal.code.name(), self.is, "{place}: {}", refusal.evidence());
                if let Some(why) = &self.because {
                    assert_eq!(refusal.evidence(), fill(why, texts), "{place}");
                }
                for text in texts.values() {
                    let secret = text.rsplit('_').next().expect("a secret");
                    assert!(!refusal.evidence().contains(&secret[..6]), "{place}: the evidence tells a secret");
                }
            }
            Err(Stop::Fault(fault)) => panic!("{place}: {}", fault.evidence()),
        }
    }
}

pub(super) fn id_of(key: &str) -> &str {
    key.split('_').nth(2).expect("a key has an id")
}

/// `{name}` is a key, `{name:forged}`, `{name:unknown}` and `{name:typo}` are not, `{name:id}` is its id.
fn fill(text: &str, texts: &BTreeMap<String, String>) -> String {
    texts.iter().fold(text.to_owned(), |text, (name, key)| {
        text.replace(&format!("{{{name}}}"), key)
            .replace(&format!("{{{name}:forged}}"), &forged(key))
            .replace(&format!("{{{name}:unknown}}"), &unknown())
            .replace(&format!("{{{name}:typo}}"), &typo(key))
            .replace(&format!("{{{name}:id}}"), id_of(key))
    })
}

#[test]
fn every_case_of_the_folder_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/cases");
    let mut steps = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        case.run();
        steps += case.steps.len();
    }
    assert!(steps > 50, "only {steps} steps were found");
}

#[test]
fn every_failure_looks_the_same_from_outside() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let revoked = issue(&mut file, request(), 2);
    let elsewhere = issue(&mut file, NewKey { cidrs: vec!["10.0.0.0/8".into()], ..request() }, 3);
    let later = issue(&mut file, NewKey { not_before: Some(at("2027-02-01T00:00:00Z")), ..request() }, 4);
    let other_pepper = issue(&mut file, request(), 5);
    file.revoke(id_of(&revoked), at(NOW)).expect("it is there");
    file.keys[4].pepper_id = "v2".into();
    let auth = auth_of(&file);
    ask(&auth, &with_key(&good), at(NOW).unix_ms()).expect("it is good");

    let end = "2028-01-01T00:00:00Z";
    let tries = [
        (head("/predict", &[]), NOW),
        (head(&format!("/predict?key={good}"), &[]), NOW),
        (head("/predict", &[("authorization".to_owned(), "Basic eDp5".to_owned())]), NOW),
        (with_key("nonsense"), NOW),
        (with_key(&typo(&good)), NOW),
        (with_key(&unknown()), NOW),
        (with_key(&forged(&good)), NOW),
        (with_key(&revoked), NOW),
        (with_key(&good), end),
        (with_key(&later), NOW),
        (with_key(&elsewhere), NOW),
        (with_key(&other_pepper), NOW),
    ];
    let mut evidence = BTreeSet::new();
    for (head, now) in &tries {
        let (denial, why) = refused(&auth, head, now);
        assert_eq!(denial, Denial { code: Code::Unauthenticated, retry_after: None, spot: None, short: None }, "{why}");
        evidence.insert(why);
    }
    assert_eq!(evidence.len(), tries.len(), "operators see which it was: {evidence:?}");
}

#[test]
fn an_identity_is_made_once_and_carries_keyed_ids() {
    let mut file = KeyFile::default();
    let narrow = NewKey { scopes: vec![Scope::Infer], models: vec!["digits".into()], ..request() };
    let key = issue(&mut file, narrow, 1);
    let auth = auth_of(&file);
    let again = || ask(&auth, &with_key(&key), at(NOW).unix_ms()).expect("it is good");
    let (first, second) = (again(), again());
    assert!(std::ptr::eq(&raw const *first, &raw const *second), "passing allocates no identity");
    assert_eq!((&*first.tenant, &*first.principal), ("acme", id_of(&key)));
    assert_eq!(first.scopes, ["infer".into()]);
    assert_eq!(first.models, ["digits".into()]);
    let ids = IdKey::new([7; 16]);
    assert_eq!((first.principal_id, first.tenant_id), (ids.principal(id_of(&key)), ids.tenant("acme")));
    assert_ne!(ids.tenant("acme"), ids.principal("acme"));
    assert_ne!(ids.tenant("acme"), IdKey::new([8; 16]).tenant("acme"));
}

#[test]
fn a_swap_revokes_at_once_and_keeps_when_keys_were_used() {
    let mut file = KeyFile::default();
    let (kept, gone) = (issue(&mut file, request(), 1), issue(&mut file, request(), 2));
    let auth = auth_of(&file);
    let now = at("2027-01-01T00:01:30Z").unix_ms();
    let ask = |key: &str, now| ask(&auth, &with_key(key), now);
    ask(&kept, now).expect("it is good");
    ask(&gone, now).expect("it is good");
    file.revoke(id_of(&gone), at(NOW)).expect("it is there");
    auth.ring().swap(compile(&file, peppers(&["v1", "v2"])).0);
    ask(&gone, now).expect_err("it is revoked");
    let used: BTreeMap<_, _> = auth.ring().used().into_iter().collect();
    assert_eq!(used.len(), 2);
    assert_eq!(used[&KeyId::parse(id_of(&kept)).expect("an id")], at("2027-01-01T00:01:00Z"));
    ask(&kept, now + 29_999).expect("it is good");
    assert_eq!(auth.ring().used().into_iter().collect::<BTreeMap<_, _>>(), used, "within a minute nothing is written");
    ask(&kept, now + 30_000).expect("it is good");
    assert_ne!(auth.ring().used().into_iter().collect::<BTreeMap<_, _>>(), used);
}

#[test]
fn seals_cannot_be_swapped_between_records() {
    let mut file = KeyFile::default();
    let (first, second) = (issue(&mut file, request(), 1), issue(&mut file, request(), 2));
    let (a, b) = (file.keys[0].hash.clone(), file.keys[1].hash.clone());
    (file.keys[0].hash, file.keys[1].hash) = (b, a);
    let auth = auth_of(&file);
    for key in [&first, &second] {
        let (_, why) = refused(&auth, &with_key(key), NOW);
        assert_eq!(why, format!("the secret of key `{}` is wrong", id_of(key)));
    }
}

#[test]
fn an_empty_ring_knows_nobody() {
    let auth = Auth::new(Arc::new(KeyRing::default()), Tokens::none());
    let (denial, _) = refused(&auth, &with_key(&unknown()), NOW);
    assert_eq!(denial.code, Code::Unauthenticated);
}

#[test]
fn the_seal_is_hmac_sha256_of_id_and_secret() {
    let mut file = KeyFile::default();
    let key = issue(&mut file, request(), 1);
    let (id, rest) = (id_of(&key), key.rsplit('_').next().expect("a secret"));
    let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, pepper("v1").expose());
    let tag = aws_lc_rs::hmac::sign(&mac, format!("{id}{}", &rest[..43]).as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(file.keys[0].hash, hex);
}

#[test]
fn every_mistake_of_a_key_file_is_reported() {
    let mut file = KeyFile::default();
    for seed in 0..6 {
        issue(&mut file, request(), seed);
    }
    file.keys[0].hash = "ABC".into();
    file.keys[1].tenant = "nobody".into();
    file.keys[1].pepper_id = "v9".into();
    file.keys[2].models = vec!["fraud".into(), "none".into()];
    file.keys[2].expires_at = at("2028-01-01T00:00:01Z");
    file.keys[3].id = file.keys[4].id.clone();
    file.keys[3].revoked_at = Some(at(NOW));
    file.keys[3].scopes = vec![Scope::Admin];
    // A revoked key may name what is gone.
    file.keys[5].state = KeyState::Revoked;
    file.keys[5].pepper_id = "v0".into();
    file.keys[5].tenant = "gone".into();
    file.keys[5].models = vec!["gone".into()];
    let (_, problems, warnings) = compile(&file, peppers(&["v1"]));
    let twice = format!("keys.4.id: `{}` is the id of two keys", file.keys[4].id);
    assert_eq!(
        problems,
        [
            "keys.0.hash: a hash is 64 lower-case hexadecimal digits",
            "keys.1.tenant: `nobody` is not a tenant",
            "keys.1.pepper_id: `v9` is not a pepper",
            "keys.2.expires_at: a key lives at most 365 days",
            "keys.2.models.1: `none` is not a model",
            "keys.3.revoked_at: the state is `active`",
            &twice,
        ]
    );
    assert_eq!(
        warnings,
        [
            "keys.2.models.0: tenant `acme` may not use `fraud`, so neither may this key",
            "keys.3.scopes: tenant `acme` is not given `admin`, so neither is this key",
        ]
    );
}

#[test]
fn every_mistake_of_the_section_is_reported() {
    let yaml = "keys: { file: '', pepper: { V1: 'secret://env/A', v2: 'secret://env/B', v3: 'secret://env/C', v4: 'secret://env/D' } }";
    let config: AuthConfig = serde_saphyr::from_str(yaml).expect("it parses");
    let value = |length| Secret::new(vec![7; length]);
    let values = [("V1", value(32)), ("v2", value(15)), ("v3", value(16))];
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut check = Checker::default();
    config.compile(&mut check, &values);
    let (problems, warnings) = check.finish();
    assert_eq!(
        problems.iter().map(told).collect::<Vec<_>>(),
        [
            "keys.file: the key file has no name",
            "keys.pepper.V1: `V1` is not 1 to 32 of `a-z`, `0-9`, `_`, `-`",
            "keys.pepper.v2: pepper `v2` has 15 bytes, at least 16 are needed",
            "keys.pepper.v4: pepper `v4` has no value",
        ]
    );
    assert_eq!(
        warnings.iter().map(told).collect::<Vec<_>>(),
        ["keys.pepper.v3: pepper `v3` has 16 bytes, 32 are better"]
    );
}

#[test]
fn the_blocks_of_the_page_load() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[serde(default)]
        auth: Option<AuthConfig>,
        #[serde(default)]
        keys: Vec<KeyRecord>,
    }
    let blocks: Vec<&str> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let yaml = block.split("```").next().expect("a block ends");
        let page: Page = serde_saphyr::from_str(yaml).expect("it parses");
        if let Some(auth) = page.auth {
            let values = BTreeMap::from([("v1".to_owned(), pepper("v1"))]);
            let mut check = Checker::default();
            auth.compile(&mut check, &values);
            assert_eq!(check.finish(), (vec![], vec![]));
            assert_eq!(problems_of_issuers(&auth.issuers), Vec::<String>::new());
        } else {
            let (keys, problems, warnings) = compile(&KeyFile { keys: page.keys }, peppers(&["v1"]));
            assert_eq!((problems, warnings), (vec![], vec![]));
            assert_eq!(KeyRing::new(keys).len(), 1);
        }
    }
}

#[test]
fn nothing_prints_a_secret() {
    let value = pepper("v1");
    let mut file = KeyFile::default();
    let issued = file.issue(request(), PepperValue { id: "v1", value: &value }, &mut random(1), at(NOW)).expect("fit");
    let secret = issued.reveal().rsplit('_').next().expect("a secret").to_owned();
    let presented = Presented::parse(issued.reveal().as_bytes()).expect("a key");
    let auth = auth_of(&file);
    let seal = Pepper::new(&value).seal(&presented);
    let printed = format!("{issued:?} {presented:?} {auth:?} {seal:?} {:?}", IdKey::new([7; 16]));
    for hidden in [&secret[..6], &file.keys[0].hash[..8], "pepper v1", "7, 7"] {
        // The record inside `IssuedKey` is not printed either.
        assert!(!printed.contains(hidden), "{hidden} in {printed}");
    }
    assert!(!file.to_yaml().contains(&secret[..6]));
}

proptest! {
    #[test]
    fn no_query_or_header_panics(query in "[!$-;=?-Z_a-z~%]{0,60}", value in "[ -~]{0,40}") {
        let auth = Auth::new(Arc::new(KeyRing::default()), Tokens::none());
        let head = head(&format!("/p?{query}"), &[("authorization".to_owned(), value)]);
        ask(&auth, &head, 0).expect_err("nobody is known");
    }
}
