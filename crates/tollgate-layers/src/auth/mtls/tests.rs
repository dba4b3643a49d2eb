//! Certificates become identities, and nothing else does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::identity::{Certificate, Method, Peer};
use tollgate_core::ruling::{Code, Stop};
use tollgate_core::time::Tick;

use super::super::tests::{at, at_once, auth_of, head, issue, random, request};
use super::super::{Asking, Auth, IdKey, KeyFile, KeyNames};
use super::{AskFor, ClientAuth, ClientAuthConfig, Door, SpiffeId, Surroundings, Unreadable, read_certificate};
use crate::authz::TenantConfig;
use crate::network::NetworkConfig;
use crate::routes::AuthNeed;

const NOW_MS: u64 = 1_798_761_600_000;
const PROXY: [u8; 4] = [10, 0, 0, 9];

const CONFIG: &str = r#"
mode: require
trust:
  - { domain: prod.example, bundle: prod.pem }
  - { domain: other.example, bundle: other.pem }
  - { name: partners, bundle: partners.pem }
  - { name: clinic, bundle: clinic.pem }
map:
  - { spiffe: "spiffe://prod.example/ns/ml", tenant: acme, scopes: [infer] }
  - { spiffe: "spiffe://prod.example/ns/ml/sa/batch", tenant: globex, models: [digits] }
  - { spiffe: "spiffe://prod.example", tenant: rest }
  - { trust: partners, dns: Batch.partner.example, tenant: acme }
  - { trust: clinic, dns: batch.partner.example, tenant: globex }
  - { trust: partners, email: "Ops@partner.example", tenant: rest }
  - { trust: partners, uri: "urn:robot:7", tenant: rest }
"#;

fn compiled(yaml: &str, around: Surroundings) -> (ClientAuth, Vec<String>, Vec<String>) {
    let config: ClientAuthConfig = serde_saphyr::from_str(yaml).expect("it parses");
    let tenants = ["acme", "globex", "rest"].map(|name| (name.to_owned(), TenantConfig::default()));
    let tenants = BTreeMap::from(tenants);
    let models = BTreeMap::from([("digits".to_owned(), ModelId(0))]);
    let mut check = Checker::default();
    let names = KeyNames { tenants: &tenants, models: &models, ids: IdKey::new([7; 16]) };
    let layer = config.compile(&mut check, &names, around);
    let told = |problem: &tollgate_core::check::Problem| {
        let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("."), problem.message)
    };
    let (problems, warnings) = check.finish();
    (layer, problems.iter().map(told).collect(), warnings.iter().map(told).collect())
}

fn around(proxies: &[&str]) -> Surroundings {
    let names = HashMap::from([("open.example".into(), AskFor::None), (".maybe.example".into(), AskFor::Optional)]);
    let network = NetworkConfig {
        trusted_proxies: proxies.iter().map(ToString::to_string).collect(),
        ..NetworkConfig::default()
    };
    Surroundings {
        doors: HashMap::from([("public".into(), Door { default: AskFor::Require, names })]),
        proxies: network.proxies(),
        revoked: HashSet::from([[9; 32]]),
    }
}

fn layer() -> ClientAuth {
    let (layer, problems, warnings) = compiled(CONFIG, around(&[]));
    assert_eq!((problems, warnings), (vec![], vec![]));
    layer
}

fn certificate(trust: &str, names: impl FnOnce(&mut Certificate)) -> Certificate {
    let mut certificate = Certificate {
        trust: trust.into(),
        not_before_ms: NOW_MS - 1000,
        not_after_ms: NOW_MS + 1000,
        lineage: vec![[1; 32], [2; 32]],
        ..Certificate::default()
    };
    names(&mut certificate);
    certificate
}

fn spiffe(id: &str) -> Certificate {
    let trust = id.strip_prefix("spiffe://").and_then(|id| id.split('/').next()).unwrap_or_default();
    certificate(trust, |certificate| certificate.uris.push(id.into()))
}

fn peer(certificate: Option<Certificate>) -> Peer {
    let ip = IpAddr::from([192, 0, 2, 7]);
    let certificate = certificate.map(Arc::new);
    Peer { ip, port: 4711, local: (ip, 443), listener: "public".into(), sni: None, tls: true, certificate }
}

/// Who asks: tenant, principal, how, and whether over mTLS; or the code and the evidence.
fn ask(
    auth: &Auth,
    peer: &Peer,
    headers: &[(&str, &str)],
    now: u64,
) -> Result<(String, String, Method, bool), (Code, String)> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let head = head("/predict", &headers);
    let asking = Asking { head: &head, peer, from: peer.ip, at: Tick(0), unix_ms: now, need: AuthNeed::Required };
    match at_once(auth.identify(&asking)) {
        Ok(who) => Ok((who.tenant.to_string(), who.principal.to_string(), who.method, who.mtls)),
        Err(stop) => {
            let code = stop.denial().code;
            let Stop::Refuse(refusal) = stop else { panic!("not a refusal: {stop:?}") };
            Err((code, refusal.evidence().to_owned()))
        }
    }
}

fn with(layer: ClientAuth) -> Auth {
    auth_of(&KeyFile::default()).with_certificates(layer)
}

fn tenant(found: Certificate) -> String {
    ask(&with(layer()), &peer(Some(found)), &[], NOW_MS).map_or_else(|(_, why)| why, |(tenant, ..)| tenant)
}

const UNMAPPED: &str = "no rule says whose the client certificate is";

#[test]
fn the_longest_path_of_a_spiffe_id_says_whose_it_is() {
    for (id, expected) in [
        ("spiffe://prod.example/ns/ml/sa/web", "acme"),
        ("spiffe://prod.example/ns/ml", "acme"),
        ("spiffe://prod.example/ns/ml/sa/batch", "globex"),
        ("spiffe://prod.example/ns/ml/sa/batch/2", "globex"),
        ("spiffe://prod.example/ns/ml/sa/batch2", "acme"),
        ("spiffe://prod.example/ns/mlx", "rest"),
        ("spiffe://other.example/ns/ml", UNMAPPED),
    ] {
        assert_eq!(tenant(spiffe(id)), expected, "{id}");
    }
}

#[test]
fn the_id_is_the_principal_and_the_rule_holds_it_to_scopes_and_models() {
    let auth = with(layer());
    let id = "spiffe://prod.example/ns/ml/sa/web";
    let found = ask(&auth, &peer(Some(spiffe(id))), &[], NOW_MS).expect("an identity");
    assert_eq!(found, ("acme".to_owned(), id.to_owned(), Method::Certificate, true));
    let who = layer().identify(&spiffe("spiffe://prod.example/ns/ml/sa/batch")).expect("an identity");
    assert_eq!((&*who.models, who.principal_id != 0), (&["digits".into()][..], true));
    let who = layer().identify(&spiffe(id)).expect("an identity");
    assert_eq!(&*who.scopes, ["infer".into()]);
}

#[test]
fn the_same_name_under_two_trusts_is_two_callers() {
    let named = |trust: &str| certificate(trust, |certificate| certificate.dns.push("batch.partner.example".into()));
    assert_eq!(tenant(named("partners")), "acme");
    assert_eq!(tenant(named("clinic")), "globex");
    assert_eq!(tenant(named("prod.example")), UNMAPPED);
    let principal = |trust| layer().identify(&named(trust)).expect("an identity").principal.to_string();
    assert_eq!(principal("partners"), "partners/dns:batch.partner.example");
    assert_ne!(principal("partners"), principal("clinic"));
}

#[test]
fn other_names_are_compared_exactly() {
    let mail = |text: &str| certificate("partners", |certificate| certificate.emails.push(text.into()));
    assert_eq!(tenant(mail("Ops@partner.example")), "rest");
    assert_eq!(tenant(mail("ops@partner.example")), UNMAPPED);
    assert_eq!(tenant(certificate("partners", |one| one.uris.push("urn:robot:7".into()))), "rest");
    assert_eq!(tenant(certificate("partners", |one| one.uris.push("urn:robot:77".into()))), UNMAPPED);
    assert_eq!(tenant(certificate("partners", |_| {})), UNMAPPED);
}

#[test]
fn an_id_never_counts_under_another_trust_than_its_domains() {
    let mut stolen = spiffe("spiffe://prod.example/ns/ml");
    stolen.trust = "other.example".into();
    assert_eq!(tenant(stolen.clone()), UNMAPPED);
    stolen.trust = "partners".into();
    stolen.dns.push("batch.partner.example".into());
    assert_eq!(tenant(stolen), UNMAPPED);
}

#[test]
fn what_is_sent_names_the_caller_and_the_certificate_stands_beside_it() {
    let mut file = KeyFile::default();
    let key = issue(&mut file, request(), 1);
    let auth = auth_of(&file).with_certificates(layer());
    let now = at(super::super::tests::NOW).unix_ms();
    let mut both = spiffe("spiffe://prod.example/ns/ml/sa/batch");
    (both.not_before_ms, both.not_after_ms) = (now, now + 1000);
    let (tenant, principal, method, mtls) =
        ask(&auth, &peer(Some(both.clone())), &[("x-api-key", &key)], now).expect("the key's");
    assert_eq!((&*tenant, method, mtls), ("acme", Method::ApiKey, true));
    assert!(!principal.starts_with("spiffe"));
    let wrong = ask(&auth, &peer(Some(both)), &[("x-api-key", "tgk_nonsense")], now).expect_err("a bad key");
    assert_eq!(wrong.0, Code::Unauthenticated, "a certificate does not make up for a bad key");
    let mut plain = peer(None);
    plain.listener = "another".into();
    let (.., mtls) = ask(&auth, &plain, &[("x-api-key", &key)], now).expect("the key's");
    assert!(!mtls);
}

#[test]
fn a_certificate_that_holds_no_longer_refuses_the_connection_that_still_runs() {
    let mut file = KeyFile::default();
    let key = issue(&mut file, request(), 1);
    let auth = auth_of(&file).with_certificates(layer());
    let mut revoked = spiffe("spiffe://prod.example/ns/ml");
    revoked.lineage.push([9; 32]);
    let good = || spiffe("spiffe://prod.example/ns/ml");
    for (shown, now, why) in [
        (good(), NOW_MS + 1001, "the client certificate has expired"),
        (good(), NOW_MS - 1001, "the client certificate is not valid yet"),
        (revoked, NOW_MS, "the client certificate, or one above it, is revoked"),
    ] {
        let peer = peer(Some(shown));
        let expected = Err((Code::Unauthenticated, why.to_owned()));
        assert_eq!(ask(&auth, &peer, &[], now), expected);
        assert_eq!(ask(&auth, &peer, &[("x-api-key", &key)], now), expected, "also beside a key");
        let head = head("/predict", &[]);
        let asking =
            Asking { head: &head, peer: &peer, from: peer.ip, at: Tick(0), unix_ms: now, need: AuthNeed::None };
        assert!(at_once(auth.identify(&asking)).is_err(), "also where nothing is asked for");
    }
}

#[test]
fn a_host_that_requires_a_certificate_is_not_served_on_a_connection_for_another() {
    let auth = with(layer());
    let ask_host = |host: &str, shown: Option<Certificate>| {
        let mut head = head("/predict", &[]);
        head.host = host.into();
        let peer = peer(shown);
        let asking =
            Asking { head: &head, peer: &peer, from: peer.ip, at: Tick(0), unix_ms: NOW_MS, need: AuthNeed::None };
        at_once(auth.identify(&asking)).map(|who| who.tenant.to_string()).map_err(|stop| stop.denial().code)
    };
    assert_eq!(ask_host("gate.test", None), Err(Code::Misdirected));
    for open in ["open.example", "a.maybe.example"] {
        assert_eq!(ask_host(open, None), Ok("anonymous".to_owned()), "{open}");
    }
    assert_eq!(ask_host("b.a.maybe.example", None), Err(Code::Misdirected), "a star stands for one label");
    assert_eq!(ask_host("gate.test", Some(spiffe("spiffe://prod.example/ns/ml"))), Ok("acme".to_owned()));
}

/// A real certificate, as `Client-Cert` carries it.
fn carried(names: &[SanType]) -> String {
    format!(":{}:", STANDARD.encode(der(names)))
}

fn der(names: &[SanType]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.distinguished_name.push(DnType::CommonName, "batch.partner.example");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

fn behind_a_proxy() -> Auth {
    let config = format!("{CONFIG}forwarded: {{ trust: [prod.example, partners] }}\n");
    let (layer, problems, warnings) = compiled(&config, around(&["10.0.0.9"]));
    assert_eq!((problems, warnings), (vec![], vec![]));
    with(layer)
}

#[test]
fn a_trusted_proxy_passes_certificates_on_and_nobody_else_does() {
    let auth = behind_a_proxy();
    let field = carried(&[uri("spiffe://prod.example/ns/ml/sa/web")]);
    let mut proxy = peer(Some(spiffe("spiffe://prod.example/ns/ml/sa/batch")));
    proxy.ip = PROXY.into();
    let found = ask(&auth, &proxy, &[("client-cert", &field)], NOW_MS).expect("the client's");
    assert_eq!((&*found.0, found.2, found.3), ("acme", Method::Certificate, true));
    let partner = carried(&[dns("batch.partner.example")]);
    assert_eq!(ask(&auth, &proxy, &[("client-cert", &partner)], NOW_MS).expect("the client's").0, "acme");
    let alone = ask(&auth, &proxy, &[], NOW_MS).expect_err("the proxy's own certificate is not its client's");
    assert_eq!(alone, (Code::Unauthenticated, "no credential".to_owned()));
    let other = ask(&auth, &peer(None), &[("client-cert", &field)], NOW_MS).expect_err("anybody can write the field");
    assert_eq!(other.0, Code::Misdirected);
    let found = ask(&with(layer()), &proxy, &[("client-cert", &field)], NOW_MS).expect("its own");
    assert_eq!(found.0, "globex", "without `forwarded` the field means nothing");
}

#[test]
fn a_field_that_is_no_certificate_of_a_trust_that_proxies_speak_for_is_refused() {
    let auth = behind_a_proxy();
    let mut proxy = peer(None);
    proxy.ip = PROXY.into();
    let good = carried(&[uri("spiffe://prod.example/ns/ml")]);
    let bare = good.trim_matches(':');
    let malformed = [
        String::new(),
        ":".to_owned(),
        "::".to_owned(),
        bare.to_owned(),
        format!(":{}:", bare.trim_end_matches('=').get(1..).expect("long")),
        format!(":{bare} :"),
        format!("{good};a=1"),
        format!("{good}, {good}"),
        format!(":{}:", STANDARD.encode(b"nonsense")),
        format!(":{}:", STANDARD.encode([der(&[]), vec![0]].concat())),
        carried(&[uri("spiffe://prod.example/ns/ml"), uri("spiffe://prod.example/ns/web")]),
        carried(&[uri("spiffe://prod.example/a b")]),
        format!(":{}:", "A".repeat(20_000)),
    ];
    for field in &malformed {
        let why = ask(&auth, &proxy, &[("client-cert", field)], NOW_MS).expect_err("it is malformed");
        assert_eq!(why.0, Code::Unauthenticated, "{field}");
        assert!(why.1.starts_with("`client-cert` holds no"), "{field}: {}", why.1);
    }
    let twice = ask(&auth, &proxy, &[("client-cert", &good), ("client-cert", &good)], NOW_MS);
    assert!(twice.expect_err("two of them").1.starts_with("`client-cert` holds no"));
    let foreign = carried(&[uri("spiffe://other.example/x")]);
    let why = ask(&auth, &proxy, &[("client-cert", &foreign)], NOW_MS).expect_err("another domain");
    assert_eq!(why.1, "the client certificate is of no trust that proxies may speak for");
    let late = ask(&auth, &proxy, &[("client-cert", &good)], 2_208_988_800_001).expect_err("after 2040");
    assert_eq!(late.1, "the client certificate has expired");
}

#[test]
fn ids_have_one_form_each() {
    let parsed = |text| SpiffeId::parse(text).map(|id| (id.domain, id.path));
    assert_eq!(parsed("spiffe://prod.example/ns/ml"), Some(("prod.example", "/ns/ml")));
    assert_eq!(parsed("spiffe://a"), Some(("a", "")));
    let long = format!("spiffe://a/{}", "b".repeat(2048));
    let wide = format!("spiffe://{}/b", "a".repeat(256));
    for bad in [
        "",
        "spiffe:",
        "spiffe://",
        "spiffe:///x",
        "SPIFFE://a/b",
        "spiffe://A/b",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/b/",
        "spiffe://a:1/b",
        "spiffe://u@a/b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/%62",
        "spiffe://a/b c",
        "spiffe://a/é",
        "http://a/b",
        " spiffe://a/b",
        &long,
        &wide,
    ] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn names_are_read_from_a_certificate_and_never_its_common_name() {
    let names = [uri("urn:x"), dns("A.Example"), SanType::Rfc822Name("A@b.example".try_into().expect("ASCII"))];
    let found = read_certificate(&der(&names), std::iter::empty()).expect("a certificate");
    assert_eq!(found.uris, ["urn:x".into()]);
    assert_eq!(found.dns, ["a.example".into()]);
    assert_eq!(found.emails, ["A@b.example".into()]);
    assert_eq!((found.not_before_ms, found.not_after_ms), (1_577_836_800_000, 2_208_988_800_000));
    assert_eq!((found.lineage.len(), found.sha256 == [0; 32], &*found.trust), (1, false, ""));
    let bare = read_certificate(&der(&[]), std::iter::empty()).expect("a certificate");
    assert!(bare.dns.is_empty() && bare.uris.is_empty() && bare.emails.is_empty());
}

#[test]
fn names_that_two_readers_could_take_for_two_are_refused_and_all_is_bounded() {
    for bad in ["a\0b", "a b", "", "a\u{7f}"] {
        let found = read_certificate(&der(&[dns(bad)]), std::iter::empty());
        assert_eq!(found.expect_err("a bad name"), Unreadable::BadName, "{bad:?}");
    }
    let many: Vec<_> = (0..65).map(|i| dns(&format!("h{i}.example"))).collect();
    assert_eq!(read_certificate(&der(&many), std::iter::empty()).expect_err("too many"), Unreadable::TooMany);
    assert!(read_certificate(&der(many.get(..64).expect("64")), std::iter::empty()).is_ok());
    let one = der(&[]);
    let above = std::iter::repeat_n(&*one, 9);
    assert_eq!(read_certificate(&one, above).expect_err("too many"), Unreadable::TooMany);
    let whole = der(&[uri("spiffe://prod.example/x")]);
    for end in 0..whole.len() {
        assert!(read_certificate(&whole[..end], std::iter::empty()).is_err(), "{end}");
    }
}

#[test]
fn a_certificate_with_any_byte_changed_is_read_or_refused() {
    let whole = der(&[uri("spiffe://prod.example/x"), dns("a.example")]);
    let mut bytes = random(5);
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        bytes(&mut broken[at..=at]);
        let _ = read_certificate(&broken, std::iter::once(&*broken));
    }
}

#[test]
fn every_mistake_of_the_section_is_told() {
    let (_, problems, _) = compiled(
        r#"
trust:
  - { bundle: a.pem }
  - { domain: A, bundle: a.pem }
  - { domain: prod.example, name: both, bundle: a.pem }
  - { domain: prod.example, bundle: a.pem }
  - { name: prod.example, bundle: a.pem }
  - { name: partners, bundle: a.pem }
  - { name: clinic, bundle: a.pem }
map:
  - { tenant: acme }
  - { spiffe: "spiffe://prod.example/x", dns: x, tenant: acme }
  - { spiffe: "spiffe://prod.example/x/", tenant: acme }
  - { spiffe: "spiffe://unknown.example/x", tenant: acme }
  - { spiffe: "spiffe://prod.example/x", trust: partners, tenant: nobody }
  - { spiffe: "spiffe://prod.example/x", tenant: acme, models: [none] }
  - { dns: x, tenant: acme }
  - { dns: x, trust: prod, tenant: acme }
  - { uri: "spiffe://prod.example/x", trust: partners, tenant: acme }
forwarded: { trust: [nobody, partners, clinic] }
"#,
        around(&[]),
    );
    assert_eq!(
        problems,
        [
            "trust.0: a trust has either a `domain`, for SPIFFE ids, or a `name`",
            "trust.1.domain: `A` is no trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`",
            "trust.2: a trust has either a `domain`, for SPIFFE ids, or a `name`",
            "trust.4.name: `prod.example` is there twice",
            "map.0: a rule names one of `spiffe`, `dns`, `uri` and `email`",
            "map.1: a rule names one of `spiffe`, `dns`, `uri` and `email`",
            "map.2.spiffe: `spiffe://prod.example/x/` is no SPIFFE id such as `spiffe://prod.example/ns/ml`",
            "map.3.spiffe: `unknown.example` is not a `domain` of `trust`",
            "map.4.tenant: `nobody` is not a tenant",
            "map.4.trust: a SPIFFE id names its trust domain itself",
            "map.5.models.0: `none` is not a model",
            "map.5.spiffe: `spiffe://prod.example/x` has a rule already",
            "map.6: `dns` needs the `trust` that it is for",
            "map.7.trust: `prod` is not a `name` of `trust`",
            "map.8.uri: a SPIFFE id stands under `spiffe`",
            "forwarded.trust: nobody may pass certificates on: `network.trusted_proxies` is empty",
            "forwarded.trust.0: `nobody` is not one of `tls.client_auth.trust`",
            "forwarded.trust.2: a second trust without a domain: nothing would tell its certificates apart",
        ]
    );
    let (_, problems, _) = compiled("mode: require\n", around(&[]));
    assert_eq!(problems, ["trust: clients are asked for certificates, and none is believed"]);
    let quiet = Surroundings { doors: HashMap::new(), ..around(&[]) };
    let (_, problems, warnings) = compiled("trust: [{ name: a, bundle: a.pem }]\n", quiet);
    assert_eq!((problems.len(), warnings.len()), (0, 1));
}
