//! Client certificates at a real listener: who is let in, who is not and why, and what a reload does to both.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollgate_testkit::client::{Client, get, post};
use tollgate_testkit::clients::{Authority, Leaf, Usage, showing};
use tollgate_testkit::dial;
use tollgate_testkit::{Act, House, ModelServer, soon, until};

const JOB: &str = "spiffe://prod.example/ns/ml/sa/job";

/// The authorities of a test.
struct Authorities {
    root: Authority,
    middle: Authority,
    other: Authority,
    partners: Authority,
}

impl Authorities {
    fn new() -> Self {
        let root = Authority::root("prod root");
        let middle = root.below("prod middle", 0);
        Self { root, middle, other: Authority::root("other root"), partners: Authority::root("partners root") }
    }

    fn lists(&self, revoked: &[u64]) -> String {
        format!("{}{}", self.root.list(&[], 3600), self.middle.list(revoked, 3600))
    }
}

async fn server() -> ModelServer {
    // What came up is told, so that a test sees what did not.
    ModelServer::start(|taken| {
        let told = taken.head.to_ascii_lowercase().contains("client-cert");
        Act::answer("200 OK", "", &told.to_string())
    })
    .await
}

fn config(server: &ModelServer, mode: &str) -> String {
    format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m }}
tenants: {{ acme: {{ routes: [all] }}, globex: {{ routes: [all] }} }}
tls:
  client_auth:
    mode: {mode}
    trust:
      - {{ domain: prod.example, bundle: prod.pem, crl: prod.crl }}
      - {{ domain: other.example, bundle: other.pem }}
      - {{ name: partners, bundle: partners.pem }}
    map:
      - {{ spiffe: \"spiffe://prod.example/ns/ml\", tenant: acme }}
      - {{ spiffe: \"spiffe://other.example/ns/ml\", tenant: globex }}
      - {{ trust: partners, dns: job.partner.example, tenant: globex }}
",
        server.url()
    )
}

fn house(config: &str, authorities: &Authorities) -> House {
    House::start_in(config, |folder| {
        folder.write("prod.pem", authorities.root.pem());
        folder.write("prod.crl", authorities.lists(&[66]));
        folder.write("other.pem", authorities.other.pem());
        folder.write("partners.pem", authorities.partners.pem());
    })
}

/// What a connection with this TLS came to: the status and the principal of one request, or the alert.
async fn tried(house: &House, tls: &Arc<ClientConfig>) -> Result<u16, String> {
    let stream = dial::tls(house.at("tls"), tls).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    // In TLS 1.3 a client learns of the verdict on its certificate with the first bytes that it reads.
    let request = post("/p", "", "{}");
    let wrote: io::Result<()> = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    }
    .await;
    drop(wrote);
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer).await {
        Ok(_) => Ok(String::from_utf8_lossy(&answer[9..]).parse().expect("a status")),
        Err(error) => Err(error.to_string()),
    }
}

fn alert(found: Result<u16, String>) -> String {
    let text = found.expect_err("it is refused");
    text.rsplit([' ', ':']).next().unwrap_or_default().to_owned()
}

/// Returns when so many were refused for this reason: a client may hear of it before it is counted.
async fn counted(house: &House, reason: &str, times: f64) {
    let row = format!("tollgate_tls_client_certificates_refused_total{{reason=\"{reason}\"}}");
    while house.metric(&row).await != Some(times) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn good_certificates_are_their_owners_identity_and_bad_ones_end_the_handshake() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "require"), &authorities);
    let tls = house.trust(&["http/1.1"]);
    let show = |authority: &Authority, leaf: Leaf| showing(&tls, &authority.issue(&leaf));

    assert_eq!(tried(&house, &show(&authorities.middle, Leaf::of(JOB))).await, Ok(200));
    let partner = Leaf { uris: Vec::new(), dns: vec!["job.partner.example".to_owned()], ..Leaf::of("") };
    assert_eq!(tried(&house, &show(&authorities.partners, partner.clone())).await, Ok(200));
    let unmapped = Leaf::of("spiffe://prod.example/ns/web");
    assert_eq!(tried(&house, &show(&authorities.middle, unmapped)).await, Ok(401), "good, and nobody's");

    assert_eq!(alert(tried(&house, &tls).await), "CertificateRequired");
    let expired = Leaf { life: (-7200, -60), ..Leaf::of(JOB) };
    assert_eq!(alert(tried(&house, &show(&authorities.middle, expired)).await), "CertificateExpired");
    let early = Leaf { life: (600, 3600), ..Leaf::of(JOB) };
    assert!(tried(&house, &show(&authorities.middle, early)).await.is_err());
    let revoked = Leaf { serial: 66, ..Leaf::of(JOB) };
    assert_eq!(alert(tried(&house, &show(&authorities.middle, revoked)).await), "CertificateRevoked");
    for what in ["expired", "missing", "not_yet", "revoked"] {
        soon(format_args!("one refusal as {what}"), counted(&house, what, 1.0)).await;
    }

    let wrong = [
        ("the id of one domain under the bundle of another", &authorities.other, Leaf::of(JOB)),
        ("an id under the bundle of certificates without", &authorities.partners, Leaf::of(JOB)),
        ("a domain that nobody knows", &authorities.middle, Leaf::of("spiffe://unknown.example/x")),
        ("no id under the bundle of a domain", &authorities.middle, partner),
        ("two URIs", &authorities.middle, Leaf { uris: vec![JOB.to_owned(), "urn:x".to_owned()], ..Leaf::of(JOB) }),
        ("an id in another form", &authorities.middle, Leaf::of("SPIFFE://prod.example/ns/ml")),
        ("made for servers", &authorities.middle, Leaf { usage: Usage::ServerAuth, ..Leaf::of(JOB) }),
        ("an authority itself", &authorities.middle, Leaf { is_ca: true, ..Leaf::of(JOB) }),
    ];
    for (what, authority, leaf) in wrong {
        assert!(tried(&house, &show(authority, leaf)).await.is_err(), "{what}");
    }
    let stranger = Authority::root("a stranger");
    assert_eq!(alert(tried(&house, &show(&stranger, Leaf::of(JOB))).await), "UnknownCA");
    let namesake = Authority::root("prod root");
    assert!(tried(&house, &show(&namesake, Leaf::of(JOB))).await.is_err(), "the name of a root is not its key");
    let long = authorities.middle.below("one too many", 0);
    assert!(tried(&house, &show(&long, Leaf::of(JOB))).await.is_err(), "a chain longer than its issuer allows");
    assert_eq!(server.count(), 2, "nobody else reached the model");
}

#[tokio::test]
async fn where_a_certificate_is_optional_none_is_fine_and_a_bad_one_is_not() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "optional"), &authorities);
    let tls = house.trust(&["http/1.1"]);
    assert_eq!(tried(&house, &tls).await, Ok(401), "let in, and nobody");
    let mut client = Client::tls(house.at("tls"), &tls).await;
    assert_eq!(client.ask(post("/p", &house.bearer("globex"), "{}")).await.status, 200);
    let good = showing(&tls, &authorities.middle.issue(&Leaf::of(JOB)));
    assert_eq!(tried(&house, &good).await, Ok(200));
    let mut both = Client::tls(house.at("tls"), &good).await;
    let reply = both.ask(post("/p", &house.bearer("globex"), "{}")).await;
    let line = house.line(&reply.id()).await;
    assert_eq!(line["tenant"], "globex", "the key names the caller");
    let expired = Leaf { life: (-7200, -60), ..Leaf::of(JOB) };
    let expired = showing(&tls, &authorities.middle.issue(&expired));
    assert_eq!(alert(tried(&house, &expired).await), "CertificateExpired", "never anonymous in silence");
}

#[tokio::test]
async fn no_session_is_resumed_where_certificates_are_asked_for() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "optional"), &authorities);
    let tls = house.trust(&["http/1.1"]);
    for _ in 0..3 {
        let mut client = Client::tls(house.at("tls"), &tls).await;
        assert_eq!(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status, 200);
        assert_eq!(client.handshake(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_list_that_changes_takes_effect_on_connections_that_run() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "require"), &authorities);
    let tls = house.trust(&["http/1.1"]);
    let pair = |serial| authorities.middle.issue(&Leaf { serial, ..Leaf::of(JOB) });
    let (first, second) = (showing(&tls, &pair(1)), showing(&tls, &pair(2)));
    let mut revoked = Client::tls(house.at("tls"), &first).await;
    let mut kept = Client::tls(house.at("tls"), &second).await;
    assert_eq!(revoked.ask(post("/p", "", "{}")).await.status, 200);
    assert_eq!(kept.ask(post("/p", "", "{}")).await.status, 200);

    house.folder.write("prod.crl", authorities.lists(&[1]));
    house.reload().expect("a good reload");
    let reply = revoked.ask(post("/p", &house.bearer("acme"), "{}")).await;
    assert_eq!(reply.status, 401, "also with a good key");
    assert_eq!(kept.ask(post("/p", "", "{}")).await.status, 200);
    assert_eq!(alert(tried(&house, &first).await), "CertificateRevoked");
    assert_eq!(tried(&house, &second).await, Ok(200));

    // A file that is none keeps what was there.
    house.folder.write("prod.crl", "nonsense");
    assert!(house.reload().is_err());
    assert_eq!(alert(tried(&house, &first).await), "CertificateRevoked");
    assert_eq!(tried(&house, &second).await, Ok(200));

    // Another bundle: nobody below the old root is let in any more.
    house.folder.write("prod.crl", authorities.other.list(&[], 3600));
    house.folder.write("prod.pem", authorities.other.pem());
    house.reload().expect("a good reload");
    assert_eq!(alert(tried(&house, &second).await), "UnknownCA");
    let other = showing(&tls, &authorities.other.issue(&Leaf::of(JOB)));
    assert_eq!(tried(&house, &other).await, Ok(200));
}

#[tokio::test]
async fn files_of_trust_are_watched() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "require"), &authorities);
    let generation = house.gateway().control().state.generation();
    house.folder.write("prod.crl", authorities.lists(&[1, 2]));
    house.gateway().control().reload_changed_certs();
    until("the list to be read again", || house.gateway().control().state.generation() > generation).await;
}

#[tokio::test]
async fn a_list_that_has_ended_refuses_everybody_of_its_trust_and_nobody_else() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "require"), &authorities);
    let ended = format!("{}{}", authorities.root.list(&[], 3600), authorities.middle.list(&[], -60));
    house.folder.write("prod.crl", ended);
    house.reload().expect("it is worth a warning, and no more");
    let tls = house.trust(&["http/1.1"]);
    assert!(tried(&house, &showing(&tls, &authorities.middle.issue(&Leaf::of(JOB)))).await.is_err());
    let other = Leaf::of("spiffe://other.example/ns/ml");
    assert_eq!(tried(&house, &showing(&tls, &authorities.other.issue(&other))).await, Ok(200));
}

#[tokio::test]
async fn the_host_that_a_client_names_decides_what_it_is_asked_for() {
    let (authorities, server) = (Authorities::new(), server().await);
    let text = config(&server, "require");
    let extra = "include: [\"more*.yaml\"]\n";
    let house = House::start_in(&format!("{text}{extra}"), |folder| {
        folder.write("prod.pem", authorities.root.pem());
        folder.write("prod.crl", authorities.lists(&[]));
        folder.write("other.pem", authorities.other.pem());
        folder.write("partners.pem", authorities.partners.pem());
        let tls = "tls: { certs: [main], client_auth: { names: { gateway.test: none } } }";
        folder.write("more.yaml", format!("listeners: {{ named: {{ bind: \"127.0.0.1:0\", {tls} }} }}\n"));
    });
    let mut client = Client::tls(house.at("named"), &house.trust(&["http/1.1"])).await;
    assert_eq!(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status, 200, "this host asks for none");
    let other = get("/p").replace("gateway.test", "secret.test");
    let other = other.replace("\r\n\r\n", &format!("\r\n{}\r\n", house.bearer("acme")));
    assert_eq!(client.ask(other).await.status, 421, "and this one does, on a connection of its own");
}

#[tokio::test]
async fn what_clients_say_of_certificates_never_goes_up() {
    let (authorities, server) = (Authorities::new(), server().await);
    let house = house(&config(&server, "optional"), &authorities);
    let mut client = house.plain().await;
    let lines = format!("{}Client-Cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n", house.bearer("acme"));
    let reply = client.ask(post("/p", &lines, "{}")).await;
    assert_eq!((reply.status, reply.text()), (200, "false".to_owned()));
    let smuggled = format!("{}Client_Cert: :AAAA:\r\n", house.bearer("acme"));
    assert_eq!(client.ask(post("/p", &smuggled, "{}")).await.status, 400);
}
