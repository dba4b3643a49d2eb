//! Buckets as data, and the bound that a flood from anywhere meets.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Stop};
use tollgate_core::time::Tick;
use tollgate_limit::{Memory, MemoryConfig};

use super::{Flood, FloodConfig};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    given: FloodConfig,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    from: IpAddr,
    #[serde(default = "once")]
    times: u32,
    refuse: Option<String>,
    retry_after_ms: Option<u64>,
    because: Option<String>,
}

const fn once() -> u32 {
    1
}

const FILES: [&str; 3] =
    [include_str!("cases/address.yaml"), include_str!("cases/network.yaml"), include_str!("cases/prefix.yaml")];

/// How far a wait may be from the exact one: the ledger's table rounds the time and each of the burst's requests to
/// a tick, and forgives as much, but never a whole request.
fn grain(config: &FloodConfig) -> Duration {
    let burst = config.per_network.map_or(config.per_address.burst, |wide| wide.burst.max(config.per_address.burst));
    Duration::from_nanos(((burst + 1) << 20).min(1_000_000_000 / config.per_address.refill_per_sec))
}

fn ledger() -> Arc<Memory> {
    Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 12, seed: (3, 5) }))
}

fn compiled(config: &FloodConfig, ledger: &Arc<Memory>) -> Flood {
    let mut check = Checker::default();
    let layer = config.compile(&mut check, ledger);
    assert_eq!(check.finish().0, []);
    layer.expect("nothing is wrong")
}

fn at(ms: u64) -> Tick {
    Tick::default().after(Duration::from_hours(1)).after(Duration::from_millis(ms))
}

#[test]
fn without_a_section_an_application_server_fits_and_a_flood_does_not() {
    let config = FloodConfig::default();
    assert_eq!((config.per_address.burst, config.per_address.refill_per_sec), (2000, 1000));
    let memory = Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (1, 2) }));
    let flood = config.compile(&mut Checker::default(), &memory).expect("a good section");
    let from = "203.0.113.9".parse().expect("an address");
    let now = Tick(3_600_000_000_000);
    let admitted = (0..4000).filter(|_| flood.check(from, now).is_ok()).count();
    assert!((1900..2100).contains(&admitted), "{admitted} of 4000 at once");
}

#[test]
fn every_case_gets_its_verdict() {
    for text in FILES {
        let file: File = serde_saphyr::from_str(text).expect("cases parse");
        let layer = compiled(&file.given, &ledger());
        for (number, step) in file.steps.iter().enumerate() {
            for _ in 0..step.times {
                run(&layer, step, grain(&file.given), &format!("{}, step {number}", file.what));
            }
        }
    }
}

fn run(layer: &Flood, step: &Step, grain: Duration, place: &str) {
    match (layer.check(step.from, at(step.at_ms)), &step.refuse) {
        (Ok(()), None) => {}
        (Err(Stop::Refuse(refusal)), Some(code)) => {
            assert_eq!(refusal.code.name(), code, "{place}");
            let because = step.because.as_deref().unwrap_or_default();
            assert!(refusal.evidence().contains(because), "{place}: {}", refusal.evidence());
            let wait = refusal.retry_after.expect("a wait");
            let exact = Duration::from_millis(step.retry_after_ms.expect("every refusal states its wait"));
            assert!(wait + grain >= exact && wait <= exact + grain, "{place}: {wait:?}, not {exact:?}");
        }
        (verdict, expected) => panic!("{place}: {verdict:?}, not {expected:?}"),
    }
}

#[test]
fn levels_survive_a_reload() {
    let ledger = ledger();
    let config: FloodConfig = serde_saphyr::from_str("{ per_address: { burst: 1, refill_per_sec: 1 } }").expect("good");
    compiled(&config, &ledger).check([192, 0, 2, 1].into(), at(0)).expect("the first fits");
    let after = compiled(&config, &ledger);
    assert!(after.check([192, 0, 2, 1].into(), at(0)).is_err());
}

#[test]
fn every_mistake_of_the_section_is_reported() {
    let config: FloodConfig = serde_saphyr::from_str(
        "{ per_address: { burst: 0, refill_per_sec: 0 }, ipv6_prefix: 129, \
         per_network: { burst: 99, refill_per_sec: 2000000000, ipv4_prefix: 33, ipv6_prefix: 8 } }",
    )
    .expect("it parses");
    assert_eq!(
        problems(&config),
        [
            "ipv6_prefix: `129` is not within 16 and 128",
            "per_address/burst: a burst of `0` refuses every request",
            "per_address/refill_per_sec: `0` is not within 1 and 1000000000",
            "per_network/ipv4_prefix: `33` is not within 8 and 32",
            "per_network/ipv6_prefix: `8` is not within 16 and 128",
            "per_network/refill_per_sec: `2000000000` is not within 1 and 1000000000",
        ]
    );
    let config: FloodConfig = serde_saphyr::from_str(
        "{ per_address: { burst: 2000000000000, refill_per_sec: 1 }, per_network: { burst: 1, refill_per_sec: 1, ipv6_prefix: 64 } }",
    )
    .expect("it parses");
    assert_eq!(
        problems(&config),
        [
            "per_address/burst: `2000000000000` takes more than 36 years to refill",
            "per_network/ipv6_prefix: the network's prefix must be shorter than the address's `ipv6_prefix`",
            "per_network/burst: the network's burst is below that of one of its addresses",
        ]
    );
}

fn problems(config: &FloodConfig) -> Vec<String> {
    let mut check = Checker::default();
    assert!(config.compile(&mut check, &ledger()).is_none());
    let told = |problem: tollgate_core::check::Problem| {
        let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("/"), problem.message)
    };
    check.finish().0.into_iter().map(told).collect()
}

#[test]
fn the_readme_s_examples_load_and_state_the_defaults() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        flood: FloodConfig,
    }
    let blocks: Vec<&str> =
        include_str!("README.md").split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in &blocks {
        compiled(&serde_saphyr::from_str::<Page>(block).expect(block).flood, &ledger());
    }
    let stated = serde_saphyr::from_str::<Page>(blocks[0]).expect("it parses").flood;
    assert_eq!(format!("{stated:?}"), format!("{:?}", FloodConfig::default()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flood_from_one_network_never_passes_more_than_its_bucket(
        hosts in prop::collection::vec(any::<u64>(), 50..200),
        gaps_us in prop::collection::vec(0_u64..20_000, 50..200),
    ) {
        let config: FloodConfig =
            serde_saphyr::from_str("{ per_address: { burst: 20, refill_per_sec: 10 } }").expect("good");
        let layer = compiled(&config, &ledger());
        let start = at(0);
        let mut now = start;
        let mut passed = 0_u64;
        for (host, gap) in hosts.iter().zip(&gaps_us) {
            now = now.after(Duration::from_micros(*gap));
            let from = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(*host)));
            match layer.check(from, now) {
                Ok(()) => passed += 1,
                Err(Stop::Refuse(refusal)) => {
                    prop_assert_eq!(refusal.code, Code::RateLimited);
                    // The wait is true: it is no longer than one request takes to come back, and then one fits.
                    let wait = refusal.retry_after.expect("a wait");
                    prop_assert!(wait <= Duration::from_millis(100) + grain(&config), "{:?}", wait);
                    now = now.after(wait);
                    prop_assert!(layer.check(from, now).is_ok(), "still refused after {:?}", wait);
                    passed += 1;
                }
                Err(fault) => prop_assert!(false, "{:?}", fault),
            }
        }
        let refilled = now.since(start).as_millis() / 100;
        // One unit for the table's coarse time, as the ledger states it.
        prop_assert!(u128::from(passed) <= 20 + refilled + 1, "{} passed", passed);
    }
}
