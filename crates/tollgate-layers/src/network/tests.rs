//! Addresses, lists and listeners as data, and what no field can break.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use proptest::prelude::*;
use serde::Deserialize;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::identity::Peer;
use tollgate_core::ruling::{Ruling, Stop};

use super::{Exposure, Network, NetworkConfig, check_admin_bind, check_bind};
use crate::hygiene::Head;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    given: NetworkConfig,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    peer: IpAddr,
    #[serde(default)]
    fields: Vec<(String, String)>,
    client: Option<IpAddr>,
    refuse: Option<String>,
    because: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binds {
    what: String,
    listeners: Vec<Listener>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listener {
    bind: SocketAddr,
    exposure: Exposure,
    #[serde(default)]
    admin: bool,
    error: Option<String>,
    hint: Option<String>,
}

const FILES: [&str; 5] = [
    include_str!("cases/forwarded.yaml"),
    include_str!("cases/ignored.yaml"),
    include_str!("cases/lists.yaml"),
    include_str!("cases/open.yaml"),
    include_str!("cases/x_forwarded_for.yaml"),
];

fn compiled(config: &NetworkConfig) -> Network {
    let mut check = Checker::default();
    let layer = config.compile(&mut check);
    assert_eq!(check.finish().0, []);
    layer
}

fn admit(layer: &Network, peer: IpAddr, fields: &[(String, Vec<u8>)]) -> Ruling<Option<IpAddr>> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::try_from(name).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    let uri = Uri::from_static("/");
    let head = Head { method: Method::GET, uri, version: Version::HTTP_11, headers, host: "gate.test".into() };
    let peer = Peer {
        ip: peer,
        port: 4711,
        local: (peer, 443),
        listener: "public".into(),
        sni: None,
        tls: true,
        certificate: None,
    };
    layer.admit(&peer, &head)
}

#[test]
fn every_case_gets_its_verdict() {
    let mut ran = 0;
    for text in FILES {
        let file: File = serde_saphyr::from_str(text).expect("cases parse");
        let layer = compiled(&file.given);
        for case in &file.cases {
            run(&layer, case, &format!("{}: {}", file.what, case.what));
            ran += 1;
        }
    }
    assert!(ran > 80, "only {ran} cases ran");
}

fn run(layer: &Network, case: &Case, place: &str) {
    let fields: Vec<_> = case.fields.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    match (admit(layer, case.peer, &fields), &case.refuse) {
        (Ok(client), None) => {
            assert!(case.client.is_some(), "{place}: nothing is expected");
            assert_eq!(client, case.client, "{place}");
        }
        (Err(Stop::Refuse(refusal)), Some(code)) => {
            assert_eq!(refusal.code.name(), code, "{place}: {}", refusal.evidence());
            let because = case.because.as_deref().unwrap_or_default();
            assert!(refusal.evidence().contains(because), "{place}: {}", refusal.evidence());
        }
        (verdict, expected) => panic!("{place}: {verdict:?}, not {expected:?}"),
    }
}

#[test]
fn a_listener_reaches_no_farther_than_it_declares() {
    let file: Binds = serde_saphyr::from_str(include_str!("cases/bind.yaml")).expect("cases parse");
    assert!(file.listeners.len() > 25);
    for case in &file.listeners {
        let place = format!("{}: {} {:?}", file.what, case.bind, case.exposure);
        let mut check = Checker::default();
        let judge = if case.admin { check_admin_bind } else { check_bind };
        judge(&mut check, case.bind, case.exposure);
        let problems = check.finish().0;
        let Some(error) = &case.error else {
            assert_eq!(problems, [], "{place}");
            continue;
        };
        assert_eq!(problems.len(), 1, "{place}");
        assert!(problems[0].message.contains(error), "{place}: {}", problems[0].message);
        let hint = problems[0].hint.as_deref().unwrap_or_default();
        assert!(case.hint.as_ref().is_none_or(|expected| hint == expected), "{place}: {hint}");
    }
}

fn told(problem: &Problem) -> String {
    let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
    format!("{}: {}", path.join("/"), problem.message)
}

#[test]
fn every_mistake_of_the_section_is_reported() {
    let config: NetworkConfig = serde_saphyr::from_str(
        "{ allow: [10.0.0.1/8, 10.0.0.0/33, 192.0.2.1], deny: [x], trusted_proxies: [0.0.0.0/0, '::/0'] }",
    )
    .expect("it parses");
    let mut check = Checker::default();
    config.compile(&mut check);
    let problems = check.finish().0;
    assert_eq!(
        problems.iter().map(told).collect::<Vec<_>>(),
        [
            "allow/0: `10.0.0.1/8` names an address inside a network",
            "allow/1: `10.0.0.0/33` is not a network such as `192.0.2.0/24` or `2001:db8::/32`",
            "deny/0: `x` is not a network such as `192.0.2.0/24` or `2001:db8::/32`",
            "trusted_proxies/0: `0.0.0.0/0` believes everybody: any client could name any address",
            "trusted_proxies/1: `::/0` believes everybody: any client could name any address",
        ]
    );
    assert_eq!(problems[0].hint.as_deref(), Some("write `10.0.0.0/8` or `10.0.0.1`"));
}

#[test]
fn a_field_that_nobody_reads_is_warned_of() {
    let warned = |yaml: &str| {
        let mut check = Checker::default();
        serde_saphyr::from_str::<NetworkConfig>(yaml).expect("it parses").compile(&mut check);
        check.finish().1.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(
        warned("{ forwarded_header: forwarded }"),
        ["forwarded_header: the field is never read: there are no `trusted_proxies`"]
    );
    assert_eq!(
        warned("{ forwarded_header: none, trusted_proxies: [10.0.0.1] }"),
        ["trusted_proxies: nobody is believed: `forwarded_header` is `none`"]
    );
    assert_eq!(warned("{ trusted_proxies: [10.0.0.1] }"), Vec::<String>::new());
}

#[test]
fn the_readme_s_examples_load() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        network: NetworkConfig,
        /// What stands beside it.
        #[serde(default, rename = "listeners")]
        _listeners: serde::de::IgnoredAny,
    }
    let blocks: Vec<&str> =
        include_str!("README.md").split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        compiled(&serde_saphyr::from_str::<Page>(block).expect(block).network);
    }
}

fn any_field() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = prop::sample::select(vec!["x-forwarded-for", "forwarded"]).prop_map(str::to_owned);
    let bytes = prop::collection::vec(prop_oneof![32_u8..=126, 128_u8..=255], 0..40);
    let addresses = "(for=)?\"?\\[?[0-9a-f.:]{1,20}\\]?\"?[,; ]{0,2}(for=)?\"?[0-9.:]{0,15}\"?";
    (names, prop_oneof![bytes, addresses.prop_map(String::into_bytes)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_field_panics_and_none_changes_what_a_trusted_proxy_appended(
        fields in prop::collection::vec(any_field(), 0..4),
        client in any::<[u8; 4]>(),
    ) {
        let client = IpAddr::from(Ipv4Addr::from(client));
        let proxy: IpAddr = [10, 0, 0, 1].into();
        prop_assume!(client != proxy);
        for header in ["x_forwarded_for", "forwarded"] {
            let config = format!("{{ trusted_proxies: [10.0.0.1], forwarded_header: {header} }}");
            let layer = compiled(&serde_saphyr::from_str(&config).expect("it parses"));
            // Whatever came in: no panic, and a stranger is itself.
            let _any = admit(&layer, proxy, &fields);
            prop_assert_eq!(admit(&layer, client, &fields).ok(), Some(Some(client)));
            // A proxy that adds a field line of its own is heard, whatever stands before it.
            let (name, value) = match header {
                "forwarded" => ("forwarded", format!("for={client}")),
                _ => ("x-forwarded-for", client.to_string()),
            };
            let mut seen = fields.clone();
            seen.push((name.to_owned(), value.into_bytes()));
            prop_assert_eq!(admit(&layer, proxy, &seen).ok(), Some(Some(client)));
        }
    }

    #[test]
    fn nothing_in_a_line_changes_what_a_trusted_proxy_appended_to_it(
        theirs in prop_oneof!["[ -~]{0,40}", "(for=[0-9.]{7};)?[a-z]{1,3}=\"[ -~]{0,10}"],
        client in any::<[u8; 4]>(),
        quoted in any::<bool>(),
    ) {
        let client = IpAddr::from(Ipv4Addr::from(client));
        let proxy: IpAddr = [10, 0, 0, 1].into();
        prop_assume!(client != proxy);
        let plain = compiled(&serde_saphyr::from_str("{ trusted_proxies: [10.0.0.1] }").expect("it parses"));
        let line = [("x-forwarded-for".to_owned(), format!("{theirs}, {client}").into_bytes())];
        prop_assert_eq!(admit(&plain, proxy, &line).ok(), Some(Some(client)));

        let config = "{ trusted_proxies: [10.0.0.1], forwarded_header: forwarded }";
        let strict = compiled(&serde_saphyr::from_str(config).expect("it parses"));
        let quote = if quoted { "\"" } else { "" };
        let line = [("forwarded".to_owned(), format!("{theirs}, for={quote}{client}{quote}").into_bytes())];
        if let Ok(found) = admit(&strict, proxy, &line) {
            prop_assert_eq!(found, Some(client));
        }
    }

    #[test]
    fn a_set_of_networks_answers_like_its_networks_one_by_one(
        nets in prop::collection::vec((any::<u32>(), 0_u8..=32), 1..12),
        probe in any::<u32>(),
    ) {
        let nets: Vec<ipnet::IpNet> = nets
            .into_iter()
            .map(|(bits, prefix)| ipnet::Ipv4Net::new(Ipv4Addr::from_bits(bits), prefix).expect("a prefix").trunc().into())
            .collect();
        let set = super::Nets::new(&nets);
        let edges = nets.iter().flat_map(|net| match (net.network(), net.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            }
            _ => [0; 4],
        });
        for bits in edges.chain([probe]) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
            prop_assert_eq!(set.contains(address), nets.iter().any(|net| net.contains(&address)));
        }
    }
}
