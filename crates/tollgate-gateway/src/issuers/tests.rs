//! Who waits for keys, for how long, and how often an issuer is asked. Nothing here opens a connection: what is fetched is
//! refused before that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::poll;
use tollgate_core::time::Clock;
use tollgate_layers::auth::{KeySet, Outside as _};

use super::{BETWEEN, Fresh, FreshKeys, IssuerDesk, Plan, Running, Source};
use crate::egress::Egress;
use crate::tls::{Speaks, client_config};
use crate::upstream::Reach;

const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn plan(url: &str) -> Fresh {
    let tls = client_config(None, Speaks::H1).expect("public roots");
    let plan = Plan {
        source: Source::Address(url.to_owned()),
        egress: Egress { tls, reach: Reach::Public, roots: None },
        max_stale: Duration::from_hours(24),
    };
    Fresh { keys: FreshKeys::Fetched(plan), introspection: None }
}

fn desk() -> (IssuerDesk, Clock) {
    let clock = Clock::driven();
    let desk = IssuerDesk::new("corp", clock.clone());
    desk.install(plan("http://not-asked.test/"));
    (desk, clock)
}

fn set(until_ms: u64) -> KeySet {
    KeySet::parse(SET.as_bytes(), until_ms).expect("a key set").0
}

#[tokio::test]
async fn all_who_wait_share_one_fetch_and_the_next_one_comes_half_a_minute_later() {
    let (desk, clock) = desk();
    let mut waiting: Vec<_> = (0..10).map(|_| desk.refresh()).collect();
    // The first one asks, and all wait: whoever came second in the same moment as well.
    let asked = poll!(&mut waiting[0]).is_pending();
    let running = Running::begin(&desk);
    assert!(asked && waiting.iter_mut().skip(1).all(|one| futures_util::FutureExt::now_or_never(one).is_none()));
    running.end(clock.now().after(BETWEEN));
    for one in waiting {
        one.await;
    }
    // Too early to ask again: nobody waits.
    assert!(poll!(&mut desk.refresh()).is_ready());
    clock.advance(BETWEEN - Duration::from_nanos(1));
    assert!(poll!(&mut desk.refresh()).is_ready());
    clock.advance(Duration::from_nanos(1));
    assert!(poll!(&mut desk.refresh()).is_pending());
}

#[tokio::test]
async fn a_fetch_that_is_broken_off_is_waited_for_on() {
    let (desk, clock) = desk();
    let running = Running::begin(&desk);
    let mut one = desk.refresh();
    assert!(poll!(&mut one).is_pending());
    drop(running);
    assert!(poll!(&mut one).is_pending());
    Running::begin(&desk).end(clock.now().after(BETWEEN));
    one.await;
}

#[tokio::test]
async fn failures_are_asked_after_at_growing_distances_and_keys_end_when_they_are_too_old() {
    let (desk, clock) = desk();
    desk.room.put(set(clock.unix_ms() + 60_000));
    let mut pauses = Vec::new();
    for _ in 0..11 {
        let plan = desk.plan.load_full().expect("a plan");
        desk.round(&plan).await;
        pauses.push(desk.due.load(std::sync::atomic::Ordering::Relaxed) - clock.now().0);
    }
    let seconds: Vec<u64> = pauses.iter().map(|pause| pause / 1_000_000_000).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert!(desk.room.is_good(clock.unix_ms()));
    clock.advance(Duration::from_mins(1));
    assert!(!desk.room.is_good(clock.unix_ms()));
    assert!(desk.why.lock().is_some());
}

#[test]
fn keys_of_the_same_source_stay_and_those_of_another_go() {
    let (desk, clock) = desk();
    desk.room.put(set(u64::MAX));
    desk.install(plan("http://not-asked.test/"));
    assert!(desk.room.is_good(clock.unix_ms()));
    desk.install(plan("http://not-asked.test/other"));
    assert!(!desk.room.is_good(clock.unix_ms()));
    desk.install(Fresh { keys: FreshKeys::Read(set(u64::MAX)), introspection: None });
    assert!(desk.room.is_good(clock.unix_ms()));
    let desk = Arc::new(desk);
    assert!(futures_util::FutureExt::now_or_never(desk.refresh()).is_some(), "what comes from a file is not fetched");
}
