//! The line before an upstream, through sockets: who is refused at once and told when to come again, who hears their place,
//! and who goes first.

use tollgate_testkit::client::{begin, post};
use tollgate_testkit::{Act, Gate, House, ModelServer, until};

/// A request to `/dear` is said to cost four seconds, one to `/urgent` and `/later` a tenth of one.
async fn house(server: &ModelServer) -> House {
    House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 1 }} }} }}
cost: {{ classes: {{ dear: 4000, cheap: 100 }} }}
routes:
  - {{ name: dear, path: /dear, protocol: none, upstream: m, cost_class: dear }}
  - {{ name: urgent, path: /urgent, protocol: none, upstream: m, cost_class: cheap, priority: critical, intake: opaque }}
  - {{ name: later, path: /later, protocol: none, upstream: m, cost_class: cheap, intake: opaque }}
tenants:
  acme: {{ routes: [dear, urgent, later] }}
  globex: {{ routes: [dear, urgent, later], priority: batch }}
",
        server.url()
    ))
}

/// A server that answers nobody until the gate is open.
async fn shut(gate: &Gate) -> ModelServer {
    let gate = gate.clone();
    ModelServer::start(move |_| [vec![Act::Hold(gate.clone())], Act::json("{}")].concat()).await
}

async fn stands(house: &House, running: u32, waiting: usize) {
    let level = || house.gateway().control().state.policy().upstreams[0].queue.level();
    until(format!("{running} to run and {waiting} to wait"), || level() == (running, waiting)).await;
}

#[tokio::test]
async fn what_cannot_be_done_in_time_is_refused_before_its_body_is_read() {
    let gate = Gate::default();
    let server = shut(&gate).await;
    let house = house(&server).await;
    let mut kept = Vec::new();
    for waiting in 0..2 {
        let mut client = house.plain().await;
        client.send(post("/dear", &house.bearer("acme"), "{}")).await;
        stands(&house, 1, waiting).await;
        kept.push(client);
    }
    // Four seconds of its own are before it, and it has one. Its body never comes.
    let fields = format!("{}X-Request-Timeout: 1\r\n", house.bearer("acme"));
    let mut hasty = house.plain().await;
    let refused = hasty.ask(begin("/dear", &fields, 100_000)).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    let wait: u64 = refused.field("retry-after").expect("when to come again").parse().expect("seconds");
    // In three seconds it would be in time; up to a quarter more, so that not all come back together.
    assert!((3..=4).contains(&wait), "{wait}");
    // Another tenant is not behind that backlog: its body is awaited.
    let fields = format!("{}X-Request-Timeout: 10\r\n", house.bearer("globex"));
    let mut other = house.plain().await;
    other.send(begin("/urgent", &fields, 2)).await;
    other.send("{}").await;
    stands(&house, 1, 2).await;
    gate.open();
    for client in &mut kept {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(other.reply().await.status, 200);
    let line = house.line_where("the refusal", |line| line["code"] == "overloaded").await;
    assert_eq!((line["stage"].as_str(), line["bytes_in"].as_u64()), (Some("queue"), Some(0)), "{line}");
    house.quiet().await;
    let late = house.metric("tollgate_queue_turned_away_total{upstream=\"m\",reason=\"late\"}").await;
    assert_eq!(late, Some(1.0));
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_and_a_larger_one_lifts_nothing() {
    let gate = Gate::default();
    gate.open();
    let server = shut(&gate).await;
    let house = house(&server).await;
    for (value, status) in [("2s", 400), ("1\r\nX-Request-Timeout: 1", 400), ("2.5", 200), ("999999999", 200)] {
        let fields = format!("{}X-Request-Timeout: {value}\r\n", house.bearer("acme"));
        assert_eq!(house.plain().await.ask(post("/dear", &fields, "{}")).await.status, status, "{value}");
    }
    house.quiet().await;
}

#[tokio::test]
async fn whoever_prefers_to_wait_hears_their_place_and_waits_no_longer() {
    let gate = Gate::default();
    let server = shut(&gate).await;
    let house = house(&server).await;
    let prefers = |secs| format!("{}Prefer: wait={secs}\r\n", house.bearer("acme"));
    let mut first = house.plain().await;
    first.send(post("/later", &prefers(20), "{}")).await;
    stands(&house, 1, 0).await;
    let mut second = house.plain().await;
    second.send(post("/later", &prefers(20), "{}")).await;
    stands(&house, 1, 1).await;
    let mut silent = house.plain().await;
    silent.send(post("/later", &house.bearer("acme"), "{}")).await;
    stands(&house, 1, 2).await;
    let mut hasty = house.plain().await;
    let refused = hasty.ask(post("/later", &prefers(0), "{}")).await;
    assert_eq!((refused.status, refused.field("tollgate-queue-position")), (503, Some("3")));
    assert_eq!(refused.field("preference-applied"), Some("wait=0"));
    assert!(refused.field("retry-after").is_some());
    gate.open();
    for (client, place) in [(&mut first, Some("0")), (&mut second, Some("1")), (&mut silent, None)] {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("tollgate-queue-position")), (200, place));
        assert_eq!(reply.field("preference-applied"), place.map(|_| "wait=20"));
    }
    house.quiet().await;
}

#[tokio::test]
async fn an_urgent_route_goes_first_unless_its_tenant_is_not_urgent() {
    let gate = Gate::default();
    let server = shut(&gate).await;
    let house = house(&server).await;
    let mut clients = Vec::new();
    for (waiting, path, tenant) in
        [(0, "/urgent", "globex"), (1, "/urgent", "globex"), (2, "/later", "acme"), (3, "/urgent", "acme")]
    {
        let mut client = house.plain().await;
        client.send(post(path, &house.bearer(tenant), &format!("{tenant}{path}"))).await;
        // The first takes the place.
        stands(&house, 1, waiting).await;
        clients.push(client);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    let order: Vec<_> =
        server.requests().iter().map(|taken| String::from_utf8_lossy(&taken.body).into_owned()).collect();
    assert_eq!(order[1..], ["acme/urgent", "acme/later", "globex/urgent"].map(str::to_owned));
    house.quiet().await;
}

#[tokio::test]
async fn a_server_that_says_it_has_too_much_is_heard_and_one_that_falls_silent_is_forgotten() {
    let (full, gone) = (Gate::default(), Gate::default());
    let (says, silent) = (full.clone(), gone.clone());
    let server = ModelServer::start(move |taken| {
        assert!(taken.line().contains("/metrics"), "{}", taken.line());
        match (silent.is_open(), says.is_open()) {
            (true, _) => vec![Act::Stay],
            (false, true) => Act::answer("200 OK", "", "vllm:num_requests_waiting{engine=\"0\"} 3\n"),
            (false, false) => Act::answer("200 OK", "", "vllm:num_requests_waiting{engine=\"0\"} 0\n"),
        }
    })
    .await;
    let house = House::start(&format!(
        "upstreams:
  m: {{ endpoints: [\"{}\"], preset: vllm, inflight: {{ initial: 8, max: 64 }}, signals: {{ every: 100ms }} }}
models: {{ chat: {{ upstream: m, contract: {{ max_output_tokens: 100 }} }} }}
tenants: {{ acme: {{ models: [chat] }} }}
",
        server.url()
    ));
    let pressed = || house.gateway().control().state.policy().upstreams[0].queue.standing().pressed;
    server.has(1).await;
    assert!(!pressed());
    full.open();
    until("the word to be heard", pressed).await;
    assert_eq!(house.metric("tollgate_upstream_pressed{upstream=\"m\"}").await, Some(1.0));
    gone.open();
    until("the word to be forgotten", || !pressed()).await;
}
