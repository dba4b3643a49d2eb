//! Records are exchanges: however 2,000 random exchanges end, each leaves one access line and one count, every
//! reservation is settled to the last, and nothing of what is known inside reaches a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_testkit::client::{begin, get, post};
use tollgate_testkit::h2::{Reason, request};
use tollgate_testkit::{Act, Client, H2Client, House, ModelServer, Taken, until};

/// Stands wherever evidence could be drawn from: in answers of the model server, in bodies, in targets.
const MARKER: &str = "EVIDENCE-MARKER";
const CLIENTS: u64 = 10;
const EACH: u64 = 200;
/// Microseconds that the tenant has, far more than it can spend here; 10 come back each second.
const BURST: u64 = 3_000_000_000;
/// Microseconds that each request to the model server reserves: one that is never given back must show.
const RESERVED: u64 = 2_000_000;

fn script(taken: &Taken) -> Vec<Act> {
    let part =
        || Act::Send(format!("HTTP/1.1 200 OK\r\nServer: {MARKER}\r\nContent-Length: 100\r\n\r\npart").into_bytes());
    match taken.body.as_slice() {
        b"cut" => vec![part(), Act::Reset],
        b"error" => Act::answer("500 Oops", &format!("X-Internal: {MARKER}\r\n"), MARKER),
        b"part" => vec![part(), Act::Stay],
        b"reset" => vec![Act::Reset],
        b"stay" => vec![Act::Stay],
        _ => Act::json("{\"ok\":true}"),
    }
}

/// What one client does next. Each is one exchange, except [`Deed::HalfHead`], which is none.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Deed {
    BadFraming,
    Cut,
    Good,
    HalfBody,
    HalfHead,
    Invalid,
    LeaveAtServer,
    LeaveInAnswer,
    NoKey,
    NoRoute,
    TooLarge,
    UpstreamError,
    UpstreamReset,
    WrongMethod,
}

const DEEDS: [Deed; 18] = [
    Deed::BadFraming,
    Deed::Cut,
    Deed::Good,
    Deed::Good,
    Deed::Good,
    Deed::Good,
    Deed::Good,
    Deed::HalfBody,
    Deed::HalfHead,
    Deed::Invalid,
    Deed::LeaveAtServer,
    Deed::LeaveInAnswer,
    Deed::NoKey,
    Deed::NoRoute,
    Deed::TooLarge,
    Deed::UpstreamError,
    Deed::UpstreamReset,
    Deed::WrongMethod,
];

impl Deed {
    /// How its record says that it ended.
    const fn outcome(self) -> &'static [&'static str] {
        match self {
            Self::Cut => &["cut"],
            Self::Good => &["answered"],
            Self::HalfBody => &["client_left", "denied"],
            Self::HalfHead => &[],
            Self::LeaveAtServer | Self::LeaveInAnswer => &["client_left"],
            _ => &["denied"],
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::BadFraming => 400,
            Self::Invalid => 422,
            Self::NoKey => 401,
            Self::NoRoute => 404,
            Self::TooLarge => 413,
            Self::UpstreamError | Self::UpstreamReset => 502,
            Self::WrongMethod => 405,
            _ => 200,
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        let place = self.next() % list.len() as u64;
        list[usize::try_from(place).expect("a place in the list")]
    }
}

/// What a client needs to know of the house.
struct Place {
    house: House,
    server: ModelServer,
    bearer: String,
}

/// One client over HTTP/1.1, with a connection that it keeps as long as it lives.
struct One {
    place: Arc<Place>,
    client: Option<Client>,
    /// Tells this client's requests at the model server from those of the others.
    name: String,
}

impl One {
    async fn connected(&mut self) -> &mut Client {
        if self.client.is_none() {
            self.client = Some(self.place.house.plain().await);
        }
        self.client.as_mut().expect("connected just now")
    }

    fn text(&self, deed: Deed) -> String {
        let (key, name) = (&self.place.bearer, &self.name);
        let up = |body: &str| post(&format!("/up/{name}/{MARKER}"), key, body);
        match deed {
            Deed::BadFraming => {
                format!("POST /up HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: +5\r\n{key}\r\n{MARKER}")
            }
            Deed::Cut => up("cut"),
            Deed::Good => up("good"),
            Deed::HalfBody => begin("/up", key, 1000) + MARKER,
            Deed::HalfHead => format!("POST /up HTTP/1.1\r\nHost: gateway.test\r\nX-A: {MARKER}"),
            Deed::Invalid => post("/v2/models/m/infer", key, &format!("{{\"{MARKER}\": 1}}")),
            Deed::LeaveAtServer => up("stay"),
            Deed::LeaveInAnswer => up("part"),
            Deed::NoKey => post("/up", "", MARKER),
            Deed::NoRoute => get(&format!("/{MARKER}")),
            Deed::TooLarge => begin("/up", key, 1 << 24),
            Deed::UpstreamError => up("error"),
            Deed::UpstreamReset => up("reset"),
            Deed::WrongMethod => format!("DELETE /up HTTP/1.1\r\nHost: gateway.test\r\n{key}\r\n"),
        }
    }

    async fn act(&mut self, deed: Deed) {
        let text = self.text(deed);
        let place = Arc::clone(&self.place);
        let name = self.name.clone();
        let mine = || place.server.requests().iter().filter(|taken| taken.head.contains(&name)).count();
        let before = mine();
        self.connected().await.send(text).await;
        match deed {
            Deed::HalfHead | Deed::HalfBody => drop(self.client.take()),
            Deed::LeaveAtServer => {
                until("the server to have it", || mine() > before).await;
                self.client = None;
            }
            Deed::LeaveInAnswer | Deed::Cut => {
                let head = self.connected().await.head().await;
                assert_eq!(head.status, 200);
                clean(&head.head);
                if deed == Deed::Cut {
                    clean(&String::from_utf8_lossy(&self.connected().await.rest().await));
                }
                self.client = None;
            }
            _ => {
                let reply = self.connected().await.reply().await;
                let seen = (reply.status, deed.status());
                // A reset by the server on a connection of its pool is what it is on a fresh one.
                assert_eq!(seen.0, seen.1, "{deed:?}: {}", reply.text());
                clean(&reply.head);
                clean(&reply.text());
                if reply.field("connection") == Some("close") {
                    self.client = None;
                }
            }
        }
    }
}

fn clean(text: &str) {
    assert!(!text.contains(MARKER), "evidence leaks: {text}");
}

async fn h1(place: Arc<Place>, number: u64) -> Vec<Deed> {
    let mut random = Random(number);
    let mut one = One { place, client: None, name: format!("client-{number}-") };
    let mut done = Vec::new();
    for _ in 0..EACH {
        let deed = random.of(&DEEDS);
        one.act(deed).await;
        done.push(deed);
    }
    done
}

async fn h2(place: Arc<Place>, number: u64) -> Vec<Deed> {
    let mut random = Random(number);
    let mut client = H2Client::plain(place.house.at("plain")).await;
    let key = place.bearer.trim_start_matches("Authorization: ").trim_end().to_owned();
    let mut done = Vec::new();
    let name = format!("client-{number}-");
    for _ in 0..EACH {
        let deed = random.of(&[
            Deed::Good,
            Deed::Good,
            Deed::Cut,
            Deed::Invalid,
            Deed::LeaveAtServer,
            Deed::LeaveInAnswer,
            Deed::NoKey,
            Deed::NoRoute,
            Deed::UpstreamError,
            Deed::WrongMethod,
        ]);
        done.push(deed);
        let up = format!("/up/{name}/{MARKER}");
        let invalid = format!("{{\"{MARKER}\": 1}}");
        let (method, path, body) = match deed {
            Deed::Cut => ("POST", up.as_str(), "cut"),
            Deed::Invalid => ("POST", "/v2/models/m/infer", invalid.as_str()),
            Deed::LeaveAtServer => ("POST", up.as_str(), "stay"),
            Deed::LeaveInAnswer => ("POST", up.as_str(), "part"),
            Deed::NoRoute => ("GET", "/nowhere", ""),
            Deed::UpstreamError => ("POST", up.as_str(), "error"),
            Deed::WrongMethod => ("DELETE", "/up", ""),
            _ => ("POST", up.as_str(), "good"),
        };
        let fields: &[(&str, &str)] = if deed == Deed::NoKey { &[] } else { &[("authorization", &key)] };
        let mine = || place.server.requests().iter().filter(|taken| taken.head.contains(&name)).count();
        let before = mine();
        let mut open = client.open(request(method, path, fields), body.is_empty()).await.expect("a stream");
        if !body.is_empty() {
            open.body.send_data(body.to_owned().into(), true).expect("room");
        }
        match deed {
            Deed::LeaveAtServer => {
                until("the server to have it", || mine() > before).await;
                open.body.send_reset(Reason::CANCEL);
            }
            Deed::LeaveInAnswer => {
                let response = tollgate_testkit::soon("a head", &mut open.response).await.expect("a head");
                assert_eq!(response.status(), 200);
                open.body.send_reset(Reason::CANCEL);
            }
            _ => {
                let reply = open.reply().await.expect("an answer");
                assert_eq!(reply.status, deed.status(), "{deed:?}");
                clean(&format!("{:?} {}", reply.fields, String::from_utf8_lossy(&reply.body)));
                assert_eq!(reply.broken.is_some(), deed == Deed::Cut, "{deed:?}");
            }
        }
    }
    done
}

async fn place() -> Arc<Place> {
    let server = ModelServer::start(script).await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 6 }} }} }}
models: {{ m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }} }}
cost: {{ min_us: 1, class_unit_us: 1, classes: {{ own: {RESERVED} }} }}
limits:
  min_cost_us: 0
  budgets: [{{ name: gold, per: tenant, burst: {BURST}, refill_per_sec: 10 }}]
routes:
  - {{ name: up, path: /up, protocol: none, upstream: m, cost_class: own }}
  - {{ name: deep, path: \"/up/{{*rest}}\", protocol: none, upstream: m, cost_class: own }}
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [m] }}
tenants:
  acme: {{ models: [m], routes: [up, deep, oip], budgets: [gold] }}
",
        server.url()
    ));
    let bearer = house.bearer("acme");
    Arc::new(Place { house, server, bearer })
}

#[tokio::test]
async fn two_thousand_random_exchanges_leave_as_many_records_and_no_reservation() {
    let place = place().await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        match number % 3 {
            2 => clients.spawn(h2(Arc::clone(&place), number)),
            _ => clients.spawn(h1(Arc::clone(&place), number)),
        };
    }
    let mut deeds = Vec::new();
    while let Some(done) = clients.join_next().await {
        deeds.extend(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    assert_eq!(deeds.len() as u64, CLIENTS * EACH);
    let house = &place.house;
    let expected = deeds.iter().filter(|deed| !deed.outcome().is_empty()).count();
    until("every record", || house.lines().len() >= expected).await;
    house.quiet().await;
    until("the server to be let go", || house.lines().len() >= expected).await;

    let lines = house.lines();
    assert_eq!(lines.len(), expected, "one line for each exchange, none for half a head");
    let ids: std::collections::BTreeSet<_> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(ids.len(), expected, "each its own");
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        *outcomes.entry(line["outcome"].as_str().expect("a word")).or_default() += 1;
    }
    agree(&deeds, &outcomes);
    for (outcome, count) in &outcomes {
        let text = house.admin("GET", "/metrics").await.text();
        let rows = text.lines().filter(|row| row.starts_with("tollgate_requests_total"));
        let rows = rows.filter(|row| row.contains(&format!("outcome=\"{outcome}\"")));
        let total: usize = rows.filter_map(|row| row.rsplit(' ').next()?.parse::<usize>().ok()).sum();
        assert_eq!(total, *count, "metrics and records agree on `{outcome}`");
    }
    assert_eq!(house.metric("tollgate_running_exchanges").await, Some(0.0));
    assert_eq!(house.metric("tollgate_records_dropped_total").await, Some(0.0));
    settled(&place, &lines).await;
}

/// Each deed has an outcome of its own kind, and there are as many of them.
fn agree(deeds: &[Deed], outcomes: &BTreeMap<&str, usize>) {
    let of = |outcome: &str| outcomes.get(outcome).copied().unwrap_or(0);
    let sure = |outcome: &str| deeds.iter().filter(|deed| deed.outcome() == [outcome]).count();
    let either = deeds.iter().filter(|deed| **deed == Deed::HalfBody).count();
    assert_eq!(of("answered"), sure("answered"), "{outcomes:?}");
    assert_eq!(of("cut"), sure("cut"), "{outcomes:?}");
    let rest = of("client_left") + of("denied");
    assert_eq!(rest, sure("client_left") + sure("denied") + either, "{outcomes:?}");
    assert!(of("client_left") >= sure("client_left") && of("denied") >= sure("denied"), "{outcomes:?}");
}

/// What the tenant has left is what it had, less what the records say that it spent: nothing is still reserved.
async fn settled(place: &Place, lines: &[serde_json::Value]) {
    let spent: u64 = lines.iter().filter_map(|line| line["spent_us"].as_u64()).sum();
    let reserved: u64 = lines.iter().filter_map(|line| line["reserved_us"].as_u64()).sum();
    let reply = place.house.plain().await.ask(post("/up", &place.bearer, "good")).await;
    let level = reply.field("ratelimit").expect("a level").to_owned();
    let left = level.trim_start_matches("\"gold\";r=").split(';').next().and_then(|text| text.parse::<u64>().ok());
    // The reservation of the request that asked is still open.
    let left = left.expect("milliseconds") * 1000 + RESERVED;
    let known = BURST - spent;
    // Whole milliseconds in the field, a clock read twice for whoever left, ten microseconds a second that come back.
    let slack = RESERVED / 2;
    assert!(
        left.abs_diff(known) < slack,
        "left {left}, known {known}, spent {spent}, reserved {reserved}, slack {slack}"
    );
}
