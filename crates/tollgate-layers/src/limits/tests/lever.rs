//! The lever of an incident: what it lowers, for whom, until when, and what it leaves alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::cost::Cost;
use tollgate_core::identity::{Identity, Method, Person};
use tollgate_core::ruling::{Code, Ruling};
use tollgate_core::time::Tick;
use tollgate_limit::Memory;

use super::super::{Lever, LeverError, Levers, Limits, MAX_LEVERS, Payer, Reservation, Target};
use super::{AtOnce, HERE, START, compile_under, config, estimate, memory, refusal};
use crate::auth::IdKey;

const BUDGETS: &str = "
min_cost_us: 1
budgets:
  - { name: house, per: tenant, burst: 100000, refill_per_sec: 1000 }
  - { name: own, per: key, burst: 100000, refill_per_sec: 1000 }
  - { name: place, per: address, burst: 100000, refill_per_sec: 1000 }
  - { name: all, per: global, burst: 100000000, refill_per_sec: 1 }
";
const NOW: u64 = 1_795_176_000_000;
const IDS: IdKey = IdKey::new([7; 16]);

struct Scene {
    levers: Arc<Levers>,
    limits: Limits<Memory>,
}

fn scene(budgets: &str) -> Scene {
    let levers = Arc::new(Levers::new(IDS));
    let limits = compile_under(&config(budgets), memory(), &[], Arc::clone(&levers));
    Scene { levers, limits }
}

fn person(key: &str) -> Identity {
    Identity::new(Person {
        tenant: "acme".into(),
        tenant_id: IDS.tenant("acme"),
        principal: key.into(),
        principal_id: IDS.principal(key),
        method: Method::ApiKey,
        ..Person::default()
    })
}

fn lever(target: Target, permille: u32) -> Lever {
    Lever { target, permille, since_unix_ms: NOW, until_unix_ms: NOW + 3_600_000, reason: String::new() }
}

impl Scene {
    fn ask(&self, key: &str, from: IpAddr, cost: u64, at: u64) -> Ruling<Reservation> {
        let who = person(key);
        let payer = Payer { who: &who, model: None, from, unix_ms: NOW + at };
        let now = START.after(Duration::from_millis(at));
        self.limits.reserve(payer, estimate(cost), now).into_future_at_once()
    }

    /// How much of 10,000 each is let pass at once.
    fn passes(&self, key: &str, from: IpAddr) -> u64 {
        let mut passed = 0;
        let mut held = Vec::new();
        while let Ok(paid) = self.ask(key, from, 1_000, 0) {
            held.push(paid);
            passed += 1_000;
            assert!(passed <= 100_000);
        }
        for paid in held {
            self.limits.refund(paid, START);
        }
        passed
    }
}

const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

#[test]
fn a_tenant_gets_a_tenth_of_its_budgets_and_everything_back_when_the_lever_lets_go() {
    let scene = scene(BUDGETS);
    assert_eq!(scene.passes("one", HERE), 100_000);
    scene.levers.pull(lever(Target::Tenant("acme".to_owned()), 100), NOW).expect("it lowers");
    assert_eq!(scene.passes("one", HERE), 10_000);
    let paid = scene.ask("one", HERE, 10_000, 0).expect("a tenth");
    let refused = refusal(scene.ask("one", HERE, 1_000, 0));
    // A tenth of 1,000 a second.
    let wait = refused.retry_after.expect("a wait");
    assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_millis(12_500), "{wait:?}");
    scene.limits.settle(paid, Cost(5_000), START);
    let who = person("one");
    let payer = Payer { who: &who, model: None, from: HERE, unix_ms: NOW };
    let levels = scene.limits.levels(payer, START);
    assert_eq!((levels[0].quota, levels[0].remaining), (10, 5), "half of a tenth is left");
    assert!(scene.levers.release(&Target::Tenant("acme".to_owned())));
    assert!(!scene.levers.release(&Target::Tenant("acme".to_owned())));
    assert_eq!(scene.passes("one", ELSEWHERE), 50_000, "what was used at a tenth counted ten times");
}

#[test]
fn a_key_is_lowered_by_itself_and_its_tenant_s_other_keys_are_not() {
    let scene = scene(BUDGETS);
    scene.levers.pull(lever(Target::Key("one".to_owned()), 100), NOW).expect("it lowers");
    assert_eq!(scene.passes("one", HERE), 10_000);
    assert_eq!(scene.passes("two", ELSEWHERE), 100_000);
    let _paid = scene.ask("one", HERE, 10_000, 0).expect("a tenth");
    assert_eq!(scene.passes("two", ELSEWHERE), 90_000, "the tenant paid what the key used, and not ten times that");
}

#[test]
fn a_network_is_lowered_and_nobody_else_in_the_tenant_is() {
    let scene = scene(BUDGETS);
    scene.levers.pull(lever(Target::Cidr("192.0.2.99/24".parse().expect("a net")), 100), NOW).expect("it lowers");
    assert_eq!(scene.passes("one", HERE), 10_000);
    assert_eq!(scene.passes("one", ELSEWHERE), 100_000);
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
    assert_eq!(scene.passes("one", mapped), 10_000, "IPv4 in IPv6 is IPv4");
    // The narrowest network counts.
    scene.levers.pull(lever(Target::Cidr("192.0.2.1/32".parse().expect("a net")), 500), NOW).expect("it lowers");
    // Addresses are kept in steps of about a millisecond, which round.
    assert!((49_000..=50_000).contains(&scene.passes("one", HERE)));
}

#[test]
fn nothing_passes_at_nothing_and_the_wait_is_until_it_lets_go() {
    let scene = scene("budgets: []");
    scene.levers.pull(lever(Target::Tenant("acme".to_owned()), 0), NOW).expect("it lowers");
    let refused = refusal(scene.ask("one", HERE, 1, 600_000));
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(Duration::from_secs(3_000))));
    assert!(scene.ask("one", HERE, 1, 3_600_000).is_ok(), "it lets go by itself");
    assert!(!scene.levers.expire(NOW + 3_599_999) && scene.levers.expire(NOW + 3_600_000));
    assert_eq!(scene.levers.list().1, []);
}

#[test]
fn what_is_more_than_a_lever_leaves_waits_for_its_end_and_is_not_refused_for_ever() {
    let scene = scene(BUDGETS);
    scene.levers.pull(lever(Target::Tenant("acme".to_owned()), 100), NOW).expect("it lowers");
    let refused = refusal(scene.ask("one", HERE, 10_001, 0));
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(Duration::from_hours(1))));
}

#[test]
fn requests_at_once_are_lowered_and_calendar_quotas_are_not() {
    let scene = scene(
        "
budgets:
  - { name: hands, per: key, unit: concurrent, quota: 20 }
  - { name: month, per: tenant, unit: requests, quota: 5, calendar: month }
",
    );
    scene.levers.pull(lever(Target::Tenant("acme".to_owned()), 100), NOW).expect("it lowers");
    let (first, _second) = (scene.ask("one", HERE, 1, 0).expect("room"), scene.ask("one", HERE, 1, 0).expect("room"));
    assert_eq!(refusal(scene.ask("one", HERE, 1, 0)).evidence(), "budget `hands` is spent");
    drop(first);
    for _ in 0..3 {
        drop(scene.ask("one", HERE, 1, 0).expect("five in all"));
    }
    assert_eq!(refusal(scene.ask("one", HERE, 1, 0)).evidence(), "budget `month` is spent");
}

#[test]
fn levers_are_bounded_in_number_time_and_effect() {
    let levers = Levers::new(IDS);
    let of = |name: usize, permille, span| Lever {
        until_unix_ms: NOW + span,
        ..lever(Target::Tenant(name.to_string()), permille)
    };
    assert_eq!(levers.pull(of(0, 1000, 60_000), NOW), Err(LeverError::Factor));
    assert_eq!(levers.pull(of(0, 1, 999), NOW), Err(LeverError::Span));
    assert_eq!(levers.pull(of(0, 1, 31 * 86_400_000), NOW), Err(LeverError::Span));
    let told = Lever { reason: "a\nb".to_owned(), ..of(0, 1, 60_000) };
    assert_eq!(levers.pull(told, NOW), Err(LeverError::Reason));
    for name in 0..MAX_LEVERS {
        levers.pull(of(name, 1, 60_000), NOW).expect("room");
    }
    assert_eq!(levers.pull(of(MAX_LEVERS, 1, 60_000), NOW), Err(LeverError::TooMany));
    assert!(levers.pull(of(5, 2, 60_000), NOW).is_ok(), "one in the place of another");
    assert!(levers.pull(of(MAX_LEVERS, 1, 120_000), NOW + 60_000).is_ok(), "the others have let go");
    assert_eq!(levers.list().1.len(), 1);
}

#[test]
fn a_list_survives_being_written_down_and_every_change_has_a_number() {
    let levers = Levers::new(IDS);
    for target in [Target::Cidr("2001:db8::/32".parse().expect("a net")), Target::Key("k".to_owned())] {
        levers.pull(lever(target, 250), NOW).expect("it lowers");
    }
    let (version, list) = levers.list();
    let text = serde_json::to_string(&list).expect("JSON");
    assert!(text.contains(r#"{"cidr":"2001:db8::/32"}"#), "{text}");
    let copy = Levers::new(IDS);
    copy.replace(serde_json::from_str(&text).expect("the same"), NOW);
    assert_eq!(copy.list().1, list);
    copy.replace(list, NOW + 3_600_000);
    assert_eq!(copy.list().1, [], "what is over is left out");
    assert!(levers.release(&Target::Key("k".to_owned())));
    assert!(levers.list().0 > version);
}

#[test]
fn anonymous_callers_are_nobody_s_tenant() {
    let scene = scene(BUDGETS);
    scene.levers.pull(lever(Target::Tenant("anonymous".to_owned()), 0), NOW).expect("it lowers");
    let who = Identity::anonymous();
    let payer = Payer { who: &who, model: None, from: HERE, unix_ms: NOW };
    assert!(scene.limits.reserve(payer, estimate(1), Tick(START.0)).into_future_at_once().is_ok());
}
