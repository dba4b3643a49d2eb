//! Several endpoints, over real sockets: which one gets a request, what is sent again, who is left out and how they come
//! back, and what a caller is told where nobody is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate_testkit::client::{get, post};
use tollgate_testkit::{Act, Gate, House, ModelServer, Reply, until};

/// A gateway before these endpoints of KServe's protocol; `more` stands in the upstream.
fn house(endpoints: &[String], more: &str) -> House {
    House::start(&config(endpoints, more, ""))
}

fn config(endpoints: &[String], more: &str, rest: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams:
  m: {{ endpoints: {endpoints:?}, connect_ms: 1000, first_byte_ms: 600{more} }}
models:
  m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }}
routes:
  - {{ name: oip, path: \"/v2/{{*rest}}\", methods: [GET, POST], protocol: oip, models: [m], auth: none }}
  - {{ name: all, path: \"/p/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m, auth: none }}
{rest}"
    )
}

const BODY: &str = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;

/// One inference.
async fn infer(house: &House) -> Reply {
    house.plain().await.ask(post("/v2/models/m/infer", "", BODY)).await
}

/// A server that does one of two things, as a switch says.
async fn switched(bad: fn() -> Vec<Act>) -> (ModelServer, Arc<AtomicUsize>) {
    let switch = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&switch);
    let good = || Act::json("{\"outputs\":[]}");
    let server = ModelServer::start(move |_| if now.load(Ordering::Relaxed) == 0 { good() } else { bad() }).await;
    (server, switch)
}

fn error() -> Vec<Act> {
    Act::answer("500 Internal Server Error", "", "{}")
}

fn bad_gateway() -> Vec<Act> {
    Act::answer("502 Bad Gateway", "", "{}")
}

/// The value of the metric of an endpoint's state.
async fn is(house: &House, server: &ModelServer, state: &str) -> bool {
    let row =
        format!("tollgate_upstream_endpoint_state{{upstream=\"m\",endpoint=\"{}\",state=\"{state}\"}}", server.url());
    house.metric(&row).await == Some(1.0)
}

async fn comes(house: &House, server: &ModelServer, state: &str) {
    for _ in 0..200 {
        if is(house, server, state).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} never came to be {state}: {}", server.url(), house.admin("GET", "/backends").await.text());
}

#[tokio::test]
async fn a_server_that_fails_is_ejected_and_its_siblings_carry_on() {
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(error).await);
    let house = house(&[good.url(), poor.url()], ", ejection: { base: 1s, longest: 1s }");
    switch.store(1, Ordering::Relaxed);
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(infer(&house).await.status != 200);
    }
    assert_eq!((failed, poor.count()), (5, 5), "five in a row, and no more");
    assert!(is(&house, &poor, "ejected").await && is(&house, &good, "ready").await);
    let ejected = house.sum("tollgate_upstream_ejections_total").await;
    assert!((ejected - 1.0).abs() < f64::EPSILON, "{ejected}");
    switch.store(0, Ordering::Relaxed);
    comes(&house, &poor, "half_open").await;
    assert_eq!(infer(&house).await.status, 200);
    assert!(is(&house, &poor, "slow_start").await, "the one request was answered");
    assert_eq!(poor.count(), 6);
    house.quiet().await;
}

#[tokio::test]
async fn a_gateway_error_is_taken_to_another_server_and_the_caller_never_knows() {
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(bad_gateway).await);
    switch.store(1, Ordering::Relaxed);
    let house = house(&[good.url(), poor.url()], "");
    for _ in 0..60 {
        let reply = infer(&house).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(poor.count(), 5, "then it was ejected");
    assert!(poor.requests().iter().all(|taken| taken.body == BODY.as_bytes()));
    assert!(
        good.requests()
            .iter()
            .all(|taken| taken.body == BODY.as_bytes() && taken.fields("host") == [good.at().to_string()])
    );
    let sent =
        house.metric("tollgate_upstream_retries_total{upstream=\"m\",face=\"endpoints\",outcome=\"sent\"}").await;
    assert_eq!(sent, Some(5.0));
    house.quiet().await;
}

#[tokio::test]
async fn an_error_of_the_application_is_taken_elsewhere_only_where_that_is_wanted() {
    for (more, failures) in [("", 5), (", retry: { statuses: [500] }", 0)] {
        let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(error).await);
        switch.store(1, Ordering::Relaxed);
        let house = house(&[good.url(), poor.url()], more);
        let mut failed = 0;
        for _ in 0..100 {
            failed += usize::from(infer(&house).await.status != 200);
        }
        assert_eq!((failed, poor.count()), (failures, 5), "{more}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn what_may_not_go_twice_goes_once_whatever_the_status() {
    let (poor, switch) = switched(bad_gateway).await;
    let (other, also) = switched(bad_gateway).await;
    switch.store(1, Ordering::Relaxed);
    also.store(1, Ordering::Relaxed);
    let house = house(&[poor.url(), other.url()], "");
    for _ in 0..4 {
        assert_eq!(house.plain().await.ask(post("/p/x", "", "{}")).await.status, 502);
    }
    assert_eq!(poor.count() + other.count(), 4, "a POST that nobody has looked into");
    assert_eq!(house.plain().await.ask(get("/p/x")).await.status, 502);
    assert_eq!(poor.count() + other.count(), 6, "a GET is asked for again, elsewhere, once each");
    house.quiet().await;
}

#[tokio::test]
async fn what_is_too_dear_or_beyond_the_budget_is_not_worked_on_twice() {
    for more in [", retry: { max_cost_us: 1 }", ", retry: { min: 0, budget_percent: 0 }", ", retry: { statuses: [] }"] {
        let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(bad_gateway).await);
        switch.store(1, Ordering::Relaxed);
        let house = house(&[good.url(), poor.url()], more);
        let mut failed = 0;
        for _ in 0..60 {
            failed += usize::from(infer(&house).await.status == 502);
        }
        assert_eq!((failed, poor.count()), (5, 5), "{more}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn load_is_passed_on_and_never_ejects() {
    let busy = || Act::answer("503 Service Unavailable", "Retry-After: 2\r\n", "");
    let (one, switch) = switched(busy).await;
    let two = ModelServer::agreeable().await;
    switch.store(1, Ordering::Relaxed);
    let house = house(&[one.url(), two.url()], "");
    for _ in 0..60 {
        let reply = infer(&house).await;
        assert!(reply.status == 200 || (reply.status == 503 && reply.field("retry-after") == Some("2")));
    }
    assert!(one.count() > 5 && is(&house, &one, "ready").await);
    house.quiet().await;
}

#[tokio::test]
async fn a_dead_only_server_opens_the_breaker_and_one_request_finds_it_again() {
    let server = ModelServer::agreeable().await;
    let url = server.url();
    let house = house(std::slice::from_ref(&url), ", breaker: { failures: 4, open: 1s, longest: 2s }");
    assert_eq!(infer(&house).await.status, 200);
    let at = server.kill().await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let reply = infer(&house).await;
        codes.push(reply.code());
        if reply.status == 503 {
            assert!(matches!(reply.field("retry-after"), Some("1" | "2")), "{}", reply.head);
        }
    }
    assert_eq!(codes, ["upstream_failed", "upstream_failed", "overloaded", "overloaded"]);
    assert_eq!(house.metric("tollgate_upstream_breaker{upstream=\"m\",face=\"endpoints\"}").await, Some(2.0));
    let back = ModelServer::start_at(at, |_| Act::json("{\"outputs\":[]}")).await;
    let mut reply = infer(&house).await;
    for _ in 0..100 {
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.code(), "overloaded");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        reply = infer(&house).await;
    }
    assert_eq!((reply.status, back.count()), (200, 1), "the one that found it is answered");
    assert_eq!(infer(&house).await.status, 200);
    house.quiet().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_left_alone_and_a_callers_own_impatience_is_not_its_fault() {
    let hang = || vec![Act::Stay];
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(hang).await);
    switch.store(1, Ordering::Relaxed);
    let more = ", ejection: { consecutive_local: 2 }";
    let rested = house(&[good.url(), poor.url()], more);
    let mut late = 0;
    for _ in 0..30 {
        late += usize::from(infer(&rested).await.status == 504);
    }
    assert_eq!(late, 2, "then it was ejected");
    assert!(is(&rested, &poor, "ejected").await);
    rested.quiet().await;
    until("the hung server to be let go", || poor.open() == 0).await;
}

#[tokio::test]
async fn an_endpoint_is_asked_for_its_model_before_and_while_it_gets_requests() {
    let ready = Arc::new(AtomicUsize::new(0));
    let says = Arc::clone(&ready);
    let loading = ModelServer::start(move |taken| match taken.line() {
        line if line.starts_with("GET /v2/health/ready") => Act::json("{}"),
        line if line.starts_with("GET /v2/models/m/ready") => {
            let status = if says.load(Ordering::Relaxed) == 0 { "400 Bad Request" } else { "200 OK" };
            Act::answer(status, "", "")
        }
        _ => Act::json("{\"outputs\":[]}"),
    })
    .await;
    let well = ModelServer::agreeable().await;
    let more = ", preset: kserve, health: { every: 200ms, passes: 1 }, balance: { slow_start: 1ms }";
    let text = config(&[loading.url(), well.url()], more, "");
    // Behind a preset nothing else is opened.
    let kept: Vec<_> = text.lines().filter(|line| !line.contains("name: all")).collect();
    let house = House::start(&kept.join("\n"));
    comes(&house, &loading, "ready").await;
    comes(&house, &well, "ready").await;
    let inferences =
        |server: &ModelServer| server.requests().iter().filter(|taken| taken.line().starts_with("POST")).count();
    for _ in 0..30 {
        assert_eq!(infer(&house).await.status, 200);
    }
    assert_eq!(inferences(&loading), 0, "the server is ready, its model is not");
    ready.store(1, Ordering::Relaxed);
    for _ in 0..200 {
        infer(&house).await;
        if inferences(&loading) > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(inferences(&loading) > 0, "the next check found it");
    house.quiet().await;
}

#[tokio::test]
async fn where_no_endpoint_is_ready_callers_are_told_so_at_once_and_when_to_come_back() {
    let server = ModelServer::start(|taken| match taken.line() {
        line if line.starts_with("GET /health") => Act::answer("503 Service Unavailable", "", ""),
        _ => Act::json("{}"),
    })
    .await;
    let house = house(&[server.url()], ", health: { path: /health, every: 100ms, failures: 2 }");
    comes(&house, &server, "unready").await;
    let reply = infer(&house).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "overloaded"));
    // Up to a quarter more than a second, so that not everybody comes back at once.
    assert!(matches!(reply.field("retry-after"), Some("1" | "2")), "{}", reply.head);
    let ready = house.plain().await.ask(get("/v2/models/m/ready")).await;
    assert_eq!(ready.status, 503, "what a client is told of readiness is what is known");
    let shown = house.admin("GET", "/backends").await.text();
    assert!(shown.contains("\"state\":\"unready\"") && shown.contains("503"), "{shown}");
    house.quiet().await;
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_cut() {
    let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec();
    let server = ModelServer::start(move |_| vec![Act::Send(part.clone()), Act::Stay]).await;
    let house = house(&[server.url()], ", stream_idle_ms: 400");
    let mut client = house.plain().await;
    client.send(get("/p/x")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    let line = house.line(&head.id()).await;
    assert_eq!((line["outcome"].as_str(), line["code"].as_str()), (Some("cut"), Some("upstream_late")), "{line}");
    until("the silent server to be let go", || server.open() == 0).await;
    house.quiet().await;
}

#[tokio::test]
async fn a_weight_is_a_number_of_endpoints() {
    let (light, heavy) = (ModelServer::agreeable().await, ModelServer::agreeable().await);
    let text = config(&[], "", "").replace(
        "endpoints: []",
        &format!("endpoints: [\"{}\", {{ url: \"{}\", weight: 4 }}]", light.url(), heavy.url()),
    );
    let house = House::start(&text);
    for _ in 0..20 {
        assert_eq!(infer(&house).await.status, 200);
    }
    assert!(heavy.count() > light.count(), "{} and {}", heavy.count(), light.count());
    assert_eq!(heavy.count() + light.count(), 20);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_trial_along_and_the_next_one_tries() {
    let gate = Gate::default();
    let (held, hang) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let hangs = Arc::clone(&hang);
    let poor = ModelServer::start(move |_| match hangs.load(Ordering::Relaxed) {
        0 => error(),
        1 => vec![Act::Hold(held.clone())],
        _ => Act::json("{\"outputs\":[]}"),
    })
    .await;
    let good = ModelServer::agreeable().await;
    let house = house(&[good.url(), poor.url()], ", ejection: { base: 500ms, longest: 500ms }");
    while !is(&house, &poor, "ejected").await {
        infer(&house).await;
    }
    hang.store(1, Ordering::Relaxed);
    comes(&house, &poor, "half_open").await;
    let before = poor.count();
    let mut client = house.plain().await;
    client.send(post("/v2/models/m/infer", "", BODY)).await;
    poor.has(before + 1).await;
    drop(client);
    until("the trial to be let go", || poor.open() == 0).await;
    hang.store(2, Ordering::Relaxed);
    house.quiet().await;
    let mut tries = 0;
    while poor.count() == before + 1 && tries < 50 {
        assert_eq!(infer(&house).await.status, 200);
        tries += 1;
    }
    assert_eq!(poor.count(), before + 2, "somebody tried");
    assert!(is(&house, &poor, "slow_start").await);
    gate.open();
}

#[tokio::test]
async fn what_is_known_of_endpoints_outlives_a_reload_that_changes_their_upstream() {
    let (good, (bad, switch)) = (ModelServer::agreeable().await, switched(error).await);
    switch.store(1, Ordering::Relaxed);
    let endpoints = [good.url(), bad.url()];
    let house =
        house(&endpoints, ", ejection: { base: 60s, longest: 60s }, breaker: { failures: 3, open: 60s, longest: 60s }");
    while !is(&house, &bad, "ejected").await {
        infer(&house).await;
    }
    let asked = bad.count();
    let other = ", stream_idle_ms: 5000, ejection: { base: 60s, longest: 60s }, breaker: { failures: 3, open: 60s, longest: 60s }";
    house.configure(&config(&endpoints, other, ""));
    house.reload().expect("a good file");
    assert!(is(&house, &bad, "ejected").await, "{}", house.admin("GET", "/backends").await.text());
    for _ in 0..20 {
        assert_eq!(infer(&house).await.status, 200);
    }
    assert_eq!(bad.count(), asked, "nothing was sent there");
    // An endpoint that is new has done nothing yet, and a file with a mistake changes nothing.
    let third = ModelServer::agreeable().await;
    let more = [good.url(), bad.url(), third.url()];
    house.configure(&config(&more, other, "nonsense: 1\n"));
    assert!(house.reload().is_err());
    house.configure(&config(&more, other, ""));
    house.reload().expect("a good file");
    assert!(is(&house, &bad, "ejected").await && is(&house, &third, "ready").await);
    // Nor does an open breaker close by it.
    good.kill().await;
    third.kill().await;
    bad.kill().await;
    let breaker = "tollgate_upstream_breaker{upstream=\"m\",face=\"endpoints\"}";
    while house.metric(breaker).await != Some(2.0) {
        infer(&house).await;
    }
    house.configure(&config(&more, &other.replace("stream_idle_ms: 5000", "stream_idle_ms: 6000"), ""));
    house.reload().expect("a good file");
    assert_eq!((house.metric(breaker).await, infer(&house).await.code()), (Some(2.0), "overloaded".to_owned()));
}

/// What became of requests that were sent to a second endpoint.
async fn hedges(house: &House, outcome: &str) -> Option<f64> {
    let row = format!("tollgate_upstream_hedges_total{{upstream=\"m\",face=\"endpoints\",outcome=\"{outcome}\"}}");
    house.metric(&row).await
}

/// A gateway that asks the one first while both are well: it has nearly all of the weight.
fn first_asked(first: &ModelServer, second: &ModelServer, more: &str) -> House {
    let plain = format!("{:?}", first.url());
    let heavy = format!("{{ url: {plain}, weight: 1000 }}");
    House::start(&config(&[first.url(), second.url()], more, "").replace(&plain, &heavy))
}

#[tokio::test]
async fn a_late_answer_is_asked_for_elsewhere_as_well_and_the_late_one_is_broken_off() {
    let hang = || vec![Act::Stay];
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(hang).await);
    let house = first_asked(&poor, &good, ", hedge: {}, ejection: { consecutive_local: 1 }");
    for _ in 0..120 {
        assert_eq!(infer(&house).await.status, 200);
    }
    switch.store(1, Ordering::Relaxed);
    let before = poor.count();
    for _ in 0..30 {
        let reply = infer(&house).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(poor.count() - before, 30, "it is asked first");
    assert_eq!((hedges(&house, "sent").await, hedges(&house, "won").await), (Some(30.0), Some(30.0)));
    assert!(is(&house, &poor, "ready").await, "who was not waited for has not failed");
    until("the late server to be let go", || poor.open() == 0).await;
    house.quiet().await;
}

#[tokio::test]
async fn a_second_answer_that_is_an_error_does_not_count_while_the_first_may_still_come() {
    let (gate, slow) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (held, now) = (gate.clone(), Arc::clone(&slow));
    let first = ModelServer::start(move |_| {
        let wait = (now.load(Ordering::Relaxed) > 0).then(|| Act::Hold(held.clone()));
        wait.into_iter().chain(Act::json("{\"outputs\":[]}")).collect()
    })
    .await;
    let (second, switch) = switched(error).await;
    switch.store(1, Ordering::Relaxed);
    let house = first_asked(&first, &second, ", hedge: {}");
    for _ in 0..120 {
        assert_eq!(infer(&house).await.status, 200);
    }
    assert_eq!(second.count(), 0);
    slow.store(1, Ordering::Relaxed);
    let opened = async {
        until("the second server to have said no", || second.count() > 0).await;
        gate.open();
    };
    let (reply, ()) = tokio::join!(infer(&house), opened);
    assert_eq!((reply.status, second.count()), (200, 1), "{}", reply.text());
    assert_eq!((hedges(&house, "sent").await, hedges(&house, "won").await), (Some(1.0), Some(0.0)));
    house.quiet().await;
}

#[tokio::test]
async fn a_server_that_begins_answers_and_never_ends_them_is_ejected() {
    let half = || vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()), Act::Close];
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(half).await);
    let house = house(&[good.url(), poor.url()], "");
    switch.store(1, Ordering::Relaxed);
    for _ in 0..60 {
        let mut client = house.plain().await;
        client.send(post("/v2/models/m/infer", "Connection: close\r\n", BODY)).await;
        client.rest().await;
    }
    assert_eq!(poor.count(), 5, "a head is no answer");
    assert!(is(&house, &poor, "ejected").await && is(&house, &good, "ready").await);
    house.quiet().await;
}

#[tokio::test]
async fn a_route_that_grants_long_calls_little_time_speaks_against_no_server() {
    let hang = || vec![Act::Stay];
    let (good, (poor, switch)) = (ModelServer::agreeable().await, switched(hang).await);
    switch.store(1, Ordering::Relaxed);
    let text = config(&[good.url(), poor.url()], ", ejection: { consecutive_local: 1 }", "");
    let text = text.replace("  m: { upstream: m,", "  m: { upstream: m, cost: { fixed_us: 1000000 },");
    let text = text
        .replace("first_byte_ms: 600", "first_byte_ms: 60000")
        .replace("auth: none }", "auth: none, timeout_ms: 300 }");
    let house = House::start(&text);
    let mut late = 0;
    while late < 3 {
        late += usize::from(infer(&house).await.status == 504);
    }
    assert!(is(&house, &poor, "ready").await, "a second's work in less than a third of one");
    house.quiet().await;
}
