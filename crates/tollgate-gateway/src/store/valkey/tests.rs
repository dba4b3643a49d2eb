//! The script in a real server beside the model that nodes count with.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tollgate_limit::{Calendar, Central, Demand, Every, Limit, Moment, Rate, Tick};
use tollgate_testkit::{Folder, StoreServer};

use super::*;

/// The server of this test, or none where none is installed.
fn server() -> Option<StoreServer> {
    server_with(&[])
}

/// The same with more arguments. In CI the usual one must be there; another, which is named, need not know everything.
fn server_with(arguments: &[&str]) -> Option<StoreServer> {
    match StoreServer::start_with(arguments) {
        Ok(server) => Some(server),
        Err(how) => {
            println!("not run: {how}");
            let is_another = std::env::var_os("TOLLGATE_STORE_SERVER").is_some();
            assert!(is_another || std::env::var_os("CI").is_none(), "{how}");
            None
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn dial(url: &str) -> Dial {
    Dial::new(&Secret::new(url.as_bytes().to_vec()), None, false, "test").expect("an address")
}

fn rate() -> Limit {
    Rate::new(1_000, 100, 500).expect("in range").into()
}

fn quota() -> Limit {
    let calendar = Calendar::new(Every::Day, "UTC").expect("a zone");
    calendar.quota(1_000, Moment { now: Tick(0), unix_ms: 1_795_176_000_000 }).into()
}

fn claim(hash: u64, demand: Demand) -> Claim {
    Claim { name: Name { tag: 7, hash, period: 0 }, demand }
}

fn demands(limit: Limit, scale: u64) -> impl Strategy<Value = Demand> {
    let act = prop_oneof![Just(Act::Charge), Just(Act::Charge), Just(Act::Debit), Just(Act::GiveBack)];
    (act, 1..500_u64, 1..500_u64, prop_oneof![9 => Just(0_u64), 1 => 0..900_u64]).prop_map(move |(act, a, b, floor)| {
        let (want, least) = (a.max(b) * scale, a.min(b) * scale);
        Demand { act, want, least, bound: Bound::of(&limit, Tick(0)), floor: floor * scale }
    })
}

#[test]
fn the_script_does_what_the_model_says() {
    let Some(server) = server() else { return };
    let runtime = runtime();
    let store = runtime.block_on(dial(&server.url()).connect()).expect("it is there");
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    for (round, (limit, scale)) in [(rate(), 10_000), (quota(), 1)].into_iter().enumerate() {
        let turn = std::cell::Cell::new(round as u64 * 1_000_000);
        let histories = proptest::collection::vec(demands(limit, scale), 1..40);
        let outcome = runner.run(&histories, |history| {
            turn.set(turn.get() + 1);
            let mut model = Central::default();
            for demand in history {
                let (granted, Standing(stands)) = model.apply(&demand, 0);
                let claims = [claim(turn.get(), demand)];
                let (is_granted, Standing(is)) = runtime.block_on(async {
                    if demand.act != Act::Charge {
                        return (demand.want, store.settle(&claims).await.expect("it answers")[0]);
                    }
                    match store.charge(&claims).await.expect("it answers") {
                        Charged::Yes(granted) => granted[0],
                        Charged::No { standing, .. } => (0, standing),
                    }
                });
                // Its clock goes on while the model's stands: what is owed shrinks by that.
                let passed = if scale > 1 { 5_000_000 } else { 0 };
                prop_assert!(is_granted.abs_diff(granted) <= passed && is <= stands + passed, "{demand:?}");
                if scale == 1 {
                    prop_assert_eq!((is_granted, is), (granted, stands), "{:?}", demand);
                }
            }
            Ok(())
        });
        outcome.expect("the same");
    }
}

#[test]
fn several_balances_are_charged_together_or_not_at_all() {
    let Some(server) = server() else { return };
    runtime().block_on(async {
        let store = dial(&server.url()).connect().await.expect("it is there");
        let charge = |hash, units| claim(hash, Demand::charge(&quota(), units, Tick(0)));
        let first = [charge(1, 600), charge(2, 300)];
        assert!(matches!(store.charge(&first).await, Ok(Charged::Yes(_))));
        let second = [charge(2, 600), charge(1, 600)];
        let refused = store.charge(&second).await.expect("it answers");
        assert!(matches!(refused, Charged::No { at: 1, standing: Standing(600), .. }), "{refused:?}");
        let Charged::Yes(granted) = store.charge(&[charge(2, 700)]).await.expect("it answers") else {
            panic!("nothing was taken of it")
        };
        assert_eq!(granted[0], (700, Standing(1_000)));
        let given = [
            claim(1, Demand { act: Act::GiveBack, least: 0, want: 100, ..first[0].demand }),
            claim(9, Demand { act: Act::Debit, want: 5, least: 0, ..first[0].demand }),
        ];
        assert_eq!(store.settle(&given).await.expect("it answers"), [Standing(500), Standing(5)]);
    });
}

#[test]
fn the_wait_of_a_refusal_is_the_time_until_it_fits() {
    let Some(server) = server() else { return };
    runtime().block_on(async {
        let store = dial(&server.url()).connect().await.expect("it is there");
        let charge = |units| [claim(3, Demand::charge(&rate(), units, Tick(0)))];
        assert!(matches!(store.charge(&charge(1_000)).await, Ok(Charged::Yes(_))));
        let Charged::No { at, wait, .. } = store.charge(&charge(100)).await.expect("it answers") else {
            panic!("it is spent")
        };
        assert_eq!(at, 0);
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(100), "{wait:?}");
    });
}

#[test]
fn balances_that_are_full_again_are_gone_and_quotas_stay() {
    let Some(server) = server() else { return };
    runtime().block_on(async {
        let valkey = dial(&server.url()).connect().await.expect("it is there");
        let Line::One(mut line) = valkey.line.clone() else { panic!("one server") };
        let mut ttl =
            async |key: &str| -> i64 { redis::cmd("PTTL").arg(key).query_async(&mut line).await.expect("it answers") };
        valkey.charge(&[claim(4, Demand::charge(&rate(), 10, Tick(0)))]).await.expect("it answers");
        valkey.charge(&[claim(5, Demand::charge(&quota(), 10, Tick(0)))]).await.expect("it answers");
        let (of_rate, of_quota) =
            (ttl("test:1:{00000007}:0000000000000004").await, ttl("test:1:{00000007}:0000000000000005").await);
        assert!((0..=101).contains(&of_rate), "{of_rate}");
        assert!(of_quota > 24 * 3_600_000, "{of_quota}");
        valkey.settle(&[claim(4, Demand::charge(&rate(), 10, Tick(0)).returned())]).await.expect("it answers");
        assert_eq!(ttl("test:1:{00000007}:0000000000000004").await, -2, "a full bucket is none");
    });
}

#[test]
fn nodes_are_counted_while_they_live() {
    let Some(server) = server() else { return };
    runtime().block_on(async {
        let store = dial(&server.url()).connect().await.expect("it is there");
        assert_eq!(store.heartbeat(1).await, Ok(1));
        assert_eq!(store.heartbeat(2).await, Ok(2));
        assert_eq!(store.heartbeat(1).await, Ok(2));
        store.leave(2).await.expect("it answers");
        assert_eq!(store.heartbeat(1).await, Ok(1));
    });
}

#[test]
fn a_server_that_restarts_is_given_the_script_again() {
    let Some(mut server) = server() else { return };
    runtime().block_on(async {
        let dial = dial(&server.url());
        let store = dial.connect().await.expect("it is there");
        assert_eq!(store.heartbeat(1).await, Ok(1));
        server.kill();
        let fault = store.heartbeat(1).await.expect_err("it is gone");
        assert!(fault.broken, "{fault}");
        assert!(dial.connect().await.is_err());
        server.start();
        let store = dial.connect().await.expect("it is back");
        assert_eq!(store.heartbeat(1).await, Ok(1));
    });
}

#[test]
fn a_user_of_an_access_list_needs_few_commands() {
    let list = "user gate on >sesame ~tollgate:* +eval +evalsha +get +set +del +time +zadd +zrem +zcard +zremrangebyscore +pexpire";
    let rules: Vec<_> = std::iter::once("--user").chain(list.split(' ').skip(1)).collect();
    let Some(server) = server_with(&rules) else { return };
    runtime().block_on(async {
        let url = format!("{}?user=gate&pass=sesame", server.url());
        let dial = Dial::new(&Secret::new(url.into_bytes()), None, false, "tollgate").expect("an address");
        let store = dial.connect().await.expect("it is let in");
        assert_eq!(store.heartbeat(1).await, Ok(1));
        assert!(matches!(store.charge(&[claim(1, Demand::charge(&rate(), 10, Tick(0)))]).await, Ok(Charged::Yes(_))));
        let stranger =
            Dial::new(&Secret::new(format!("{}?user=gate&pass=x", server.url()).into_bytes()), None, false, "tollgate");
        assert!(stranger.expect("an address").connect().await.is_err());
    });
}

#[test]
fn a_store_over_tls_is_believed_only_under_its_authority() {
    let (ca, folder) = (tollgate_testkit::Ca::new(), Folder::fresh());
    let pair = ca.issue(&["localhost"]);
    folder.write("chain.pem", &pair.cert);
    folder.write("key.pem", &pair.key);
    folder.write("ca.pem", ca.pem());
    // A server cannot tell which port it was given: a free one is found by asking for it first.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let file = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "--tls-port".to_owned(),
        port.to_string(),
        "--tls-cert-file".to_owned(),
        file("chain.pem"),
        "--tls-key-file".to_owned(),
        file("key.pem"),
        "--tls-ca-cert-file".to_owned(),
        file("ca.pem"),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
    ];
    let Some(_server) = server_with(&arguments.each_ref().map(String::as_str)) else { return };
    runtime().block_on(async {
        let url = Secret::new(format!("rediss://localhost:{port}").into_bytes());
        let connect =
            async |ca: Option<Vec<u8>>| Dial::new(&url, ca, false, "test").expect("an address").connect().await;
        let store = connect(Some(ca.pem().into_bytes())).await.expect("it is trusted");
        assert_eq!(store.heartbeat(1).await, Ok(1));
        assert!(connect(Some(tollgate_testkit::Ca::new().pem().into_bytes())).await.is_err(), "another authority");
        assert!(connect(None).await.is_err(), "the public ones");
    });
}

#[test]
fn a_cluster_keeps_the_balances_of_a_tenant_together() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    // The bus of a cluster listens on a port of its own, 10000 above unless it is told.
    let bus = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let (port, bus) = (port.to_string(), bus.to_string());
    let arguments = ["--cluster-enabled", "yes", "--port", &port, "--bind", "127.0.0.1", "--cluster-port", &bus];
    let Some(server) = server_with(&arguments) else { return };
    runtime().block_on(async {
        let Reach::One(client) = dial(&server.url()).client else { panic!("one server") };
        let mut line = client.get_multiplexed_async_connection().await.expect("it is there");
        let slots: String =
            redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).query_async(&mut line).await.expect("it may");
        assert_eq!(slots, "OK");
        let url = Secret::new(format!("redis://127.0.0.1:{port}").into_bytes());
        let store = tollgate_testkit::soon("the cluster is whole", async {
            loop {
                let store = Dial::new(&url, None, true, "test").expect("an address").connect().await;
                match store {
                    Ok(store) if store.heartbeat(1).await.is_ok() => return store,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
        .await;
        let charges = [1, 2, 3].map(|hash| claim(hash, Demand::charge(&quota(), 10, Tick(0))));
        assert!(matches!(store.charge(&charges).await, Ok(Charged::Yes(granted)) if granted.len() == 3));
        let scattered = [1, 2].map(|tag| Claim { name: Name { tag, hash: 1, period: 0 }, ..charges[0] });
        let due = scattered.map(|claim| Claim { demand: Demand { act: Act::Debit, ..claim.demand }, ..claim });
        assert_eq!(store.settle(&due).await.expect("each to its own").len(), 2);
    });
}

#[test]
fn addresses_that_cannot_be_meant_are_refused_without_quoting_them() {
    for (url, cluster) in [
        ("http://user:sesame@host", false),
        ("rediss://user:sesame@host#insecure", false),
        ("redis://a:sesame@host,redis://a:sesame@other", false),
        ("sesame", false),
        ("sesame", true),
    ] {
        let why = Dial::new(&Secret::new(url.as_bytes().to_vec()), None, cluster, "test").expect_err(url);
        assert!(!why.contains("sesame"), "{why}");
    }
}
