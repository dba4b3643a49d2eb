//! A store that answers late, wrongly or not at all: no request waits for it, and nothing is admitted twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arrayvec::ArrayVec;
use tollgate_core::time::Clock;
use tollgate_limit::{
    Act, Central, Charge, Granted, Key, LeaseTime, Ledger as _, Memory, MemoryConfig, Rate, Standing, Tick as At,
};

use super::*;
use crate::store::{Balances, Name, Settings};

/// A store in memory that does as it is told.
#[derive(Clone, Default)]
struct Fake(Arc<Inside>);

#[derive(Default)]
struct Inside {
    balances: Mutex<HashMap<Name, Central>>,
    calls: AtomicU64,
    delay_ms: AtomicU64,
    gone: AtomicBool,
}

impl Fake {
    async fn answer<T>(&self, answer: impl FnOnce(&mut HashMap<Name, Central>) -> T) -> Result<T, StoreFault> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let delay = self.0.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        if self.0.gone.load(Ordering::Relaxed) {
            return Err(StoreFault { why: "gone".to_owned(), broken: true });
        }
        Ok(answer(&mut self.0.balances.lock()))
    }

    fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

impl Store for Fake {
    async fn charge(&self, claims: &[Claim]) -> Result<Charged, StoreFault> {
        self.answer(|balances| {
            let before = balances.clone();
            let mut granted = ArrayVec::new();
            for (at, claim) in claims.iter().enumerate() {
                let (units, standing) = balances.entry(claim.name).or_default().apply(&claim.demand, 1);
                if units == 0 {
                    *balances = before;
                    return Charged::No { at, wait: Duration::from_secs(1), standing };
                }
                granted.push((units, standing));
            }
            Charged::Yes(granted)
        })
        .await
    }

    async fn settle(&self, claims: &[Claim]) -> Result<Vec<Standing>, StoreFault> {
        self.answer(|balances| {
            let each = claims.iter().map(|claim| balances.entry(claim.name).or_default().apply(&claim.demand, 1).1);
            each.collect()
        })
        .await
    }

    async fn heartbeat(&self, _: u64) -> Result<u32, StoreFault> {
        self.answer(|_| 2).await
    }

    async fn read_levers(&self) -> Result<String, StoreFault> {
        self.answer(|_| String::new()).await
    }

    async fn write_levers(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreFault> {
        self.answer(|_| true).await
    }

    async fn leave(&self, _: u64) -> Result<(), StoreFault> {
        self.answer(|_| ()).await
    }
}

impl Connect for Fake {
    type Store = Self;

    async fn connect(&self) -> Result<Self, StoreFault> {
        self.heartbeat(0).await.map(|_| self.clone())
    }
}

/// A node and its store.
struct Node {
    store: Fake,
    shared: Arc<Shared>,
    balances: Balances,
    tasks: Arc<Tasks>,
    stop: watch::Sender<bool>,
}

fn rate() -> Rate {
    // Refills next to nothing in the time of a test.
    Rate::new(1_000, 1, 1_000).expect("in range")
}

fn charge(units: u64) -> [Charge; 1] {
    [Charge::new(Key::shared(5, 7), rate(), units)]
}

fn strict(units: u64) -> [Charge; 1] {
    [Charge::new(Key::shared(6, 7).strictly(), rate(), units)]
}

impl Node {
    async fn start(fault_when_down: bool) -> Self {
        let settings = Settings { lasts: LeaseTime::Auto, fault_when_down, expected_nodes: 1 };
        let shared = Arc::new(Shared::new(settings, Clock::real()));
        let memory = Arc::new(Memory::new(MemoryConfig { open_slots: 64, seed: (1, 2) }));
        let balances = Balances::new(memory, Some(Arc::clone(&shared)));
        let (store, tasks, (stop, stopping)) = (Fake::default(), Arc::<Tasks>::default(), watch::channel(false));
        tasks.spawn(drive(Arc::clone(&shared), store.clone(), Arc::clone(&tasks), (1, stopping)));
        let node = Self { store, shared, balances, tasks, stop };
        node.comes(true).await;
        node
    }

    async fn comes(&self, up: bool) {
        tollgate_testkit::until("the store is seen", || self.shared.is_up() == up).await;
    }

    async fn take(&self, charges: &[Charge]) -> Granted {
        self.balances.charge_all(charges, self.now()).await.expect("no fault")
    }

    fn now(&self) -> At {
        At(self.shared.clock().now().0)
    }

    /// How long a charge takes, and what becomes of it.
    async fn timed(&self, charges: &[Charge]) -> (Granted, Duration) {
        let began = self.shared.clock().now();
        let granted = self.take(charges).await;
        (granted, self.shared.clock().now().since(began))
    }

    fn stands(&self, hash: u64) -> u64 {
        let balances = self.store.0.balances.lock();
        let mut balance = balances.get(&Name { tag: 7, hash, period: 0 }).copied().unwrap_or_default();
        let look = tollgate_limit::Demand::charge(&rate().into(), 1, At(0));
        balance.apply(&tollgate_limit::Demand { act: Act::Debit, want: 0, ..look }, 1).1.0 / 1_000_000
    }
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test());
}

#[test]
fn a_balance_is_spent_to_its_last_unit_and_not_beyond() {
    run(async || {
        let node = Node::start(false).await;
        let mut admitted = 0;
        while node.take(&charge(10)).await.is_yes() {
            admitted += 10;
        }
        assert_eq!(admitted, 1_000);
        let Granted::No { wait, apart: false, .. } = node.take(&charge(10)).await else { panic!("it is spent") };
        assert!(wait > Duration::from_secs(9), "{wait:?}");
    });
}

#[test]
fn what_is_leased_and_what_is_due_go_back_when_the_node_stops() {
    run(async || {
        let node = Node::start(false).await;
        assert!(node.take(&charge(10)).await.is_yes());
        node.balances.give_back(Key::shared(5, 7), rate().into(), 4, node.now());
        node.stop.send_replace(true);
        node.tasks.all_ended().await;
        assert_eq!(node.stands(5), 6);
    });
}

#[test]
fn a_strict_balance_is_asked_for_each_request_and_settled_after() {
    run(async || {
        let node = Node::start(false).await;
        let before = node.store.calls();
        for _ in 0..5 {
            assert!(node.take(&strict(100)).await.is_yes());
        }
        assert!(node.store.calls() >= before + 5);
        assert_eq!(node.stands(6), 500);
        node.balances.debit(Key::shared(6, 7).strictly(), rate().into(), 70, node.now());
        tollgate_testkit::until("the debit is told", || node.stands(6) == 570).await;
        assert!(!node.take(&strict(600)).await.is_yes());
        node.balances.give_back(Key::shared(6, 7).strictly(), rate().into(), 570, node.now());
        tollgate_testkit::until("the rest is told", || node.stands(6) == 0).await;
    });
}

#[test]
fn a_store_that_answers_late_makes_nobody_wait_and_is_paid_all_the_same() {
    for charge in [charge, strict] {
        run(async || {
            let node = Node::start(false).await;
            node.store.0.delay_ms.store(40, Ordering::Relaxed);
            let (granted, took) = node.timed(&charge(100)).await;
            let Granted::Yes { over } = granted else { panic!("its share has room") };
            assert_eq!(over.apart(), 1, "it is labelled");
            // A machine that does much else wakes up late; the wait itself is not longer.
            assert!(took < Duration::from_millis(35), "{took:?}");
            node.store.0.delay_ms.store(0, Ordering::Relaxed);
            let hash = charge(1)[0].key.hash;
            tollgate_testkit::until("the late one is paid", || node.stands(hash) >= 100).await;
        });
    }
}

#[test]
fn a_store_that_hangs_is_found_out_although_nobody_else_asks() {
    run(async || {
        let node = Node::start(false).await;
        node.store.0.delay_ms.store(3_600_000, Ordering::Relaxed);
        let Granted::Yes { over } = node.take(&charge(100)).await else { panic!("its share has room") };
        assert_eq!(over.apart(), 1, "it is labelled");
        let balances = charge(100);
        let asking = node.take(&balances);
        let asking = std::pin::pin!(asking);
        assert!(futures_util::poll!(asking).is_ready(), "nobody waits for an answer that is overdue");
        node.comes(false).await;
    });
}

#[test]
fn a_store_that_is_gone_leaves_each_node_its_share_and_is_found_again() {
    run(async || {
        let node = Node::start(false).await;
        assert!(node.take(&charge(500)).await.is_yes());
        node.store.0.gone.store(true, Ordering::Relaxed);
        node.comes(false).await;
        let mut admitted = 0;
        while node.take(&charge(10)).await.is_yes() {
            admitted += 10;
        }
        // Half of the 500 that were left: there are two nodes.
        assert!((240..=270).contains(&admitted), "{admitted}");
        let Granted::No { apart: true, .. } = node.take(&charge(10)).await else { panic!("it is labelled") };
        // It comes back without its memory, and is told.
        node.store.0.balances.lock().clear();
        node.store.0.gone.store(false, Ordering::Relaxed);
        node.comes(true).await;
        tollgate_testkit::until("what was spent is merged", || node.stands(5) >= 735).await;
        assert!(node.stands(5) <= 775, "{}", node.stands(5));
    });
}

#[test]
fn a_store_that_is_gone_is_a_fault_where_that_is_asked_for() {
    run(async || {
        let node = Node::start(true).await;
        node.store.0.gone.store(true, Ordering::Relaxed);
        node.comes(false).await;
        let fault = node.balances.charge_all(&charge(1), node.now()).await.expect_err("it is down");
        assert_eq!(fault.to_string(), "ledger fault: the store of the limits is away");
    });
}

#[test]
fn a_request_that_is_dropped_while_it_waits_pays_nothing() {
    for charge in [charge, strict] {
        run(async || {
            let node = Node::start(false).await;
            let both = [Charge::new(Key::shared(8, 7), rate(), 50), charge(100)[0]];
            assert!(node.take(&[Charge::new(Key::shared(8, 7), rate(), 1)]).await.is_yes());
            node.store.0.delay_ms.store(3, Ordering::Relaxed);
            {
                let asking = node.take(&both);
                let mut asking = std::pin::pin!(asking);
                assert!(futures_util::poll!(asking.as_mut()).is_pending());
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            node.store.0.delay_ms.store(0, Ordering::Relaxed);
            node.stop.send_replace(true);
            node.tasks.all_ended().await;
            tollgate_testkit::until("everything is back", || {
                node.stands(8) == 1 && node.stands(charge(1)[0].key.hash) == 0
            })
            .await;
        });
    }
}
