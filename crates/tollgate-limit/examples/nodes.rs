//! Three nodes share a limit of 1,000 requests a second for six seconds. The store dies after two, and is back after four
//! with an empty memory.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use tollgate_limit::{Central, Lease, LeaseTime, Limit, Rate, Spent, Taken, Terms, Tick, Without};

const MS: u64 = 1_000_000;

fn main() {
    let limit = Limit::from(Rate::new(500, 1_000, 0).expect("in range"));
    let mut terms = Terms { nodes: 3, lasts: LeaseTime::Auto, epoch: 0 };
    let (mut store, mut nodes) = (Some(Central::default()), [Lease::default(); 3]);
    let (mut admitted, mut trips) = (0_u64, 0_u64);
    for ms in 0..6_000 {
        let now = Tick(ms * MS);
        match ms {
            2_000 => store = None,
            4_000 => {
                store = Some(Central::default());
                terms.epoch += 1;
            }
            _ => {}
        }
        for node in &mut nodes {
            // Each node is asked twice as much as all of them may admit.
            for _ in 0..2 {
                admitted += u64::from(request(node, &mut store, (&limit, &terms), now, &mut trips));
            }
            if let Some(store) = &mut store
                && ms % 5 == 0
            {
                flush(node, store, (&limit, &terms), now);
            }
        }
        if ms % 1_000 == 999 {
            println!("second {}: {admitted} admitted so far, {trips} questions to the store", ms / 1_000 + 1);
        }
    }
    println!("one node would have admitted {}", 500 + 6 * 1_000);
}

/// Tells the store what it has yet to be told, and pays for what was admitted without it.
fn flush(node: &mut Lease, store: &mut Central, (limit, terms): (&Limit, &Terms), now: Tick) {
    if let Some(due) = node.due(limit, terms, (now, false)) {
        let (_, standing) = store.apply(&due, now.0 / 1_000);
        node.told(limit, terms, (&due, standing), now);
    }
    if let Some(payment) = node.pay(limit, terms, now) {
        let answer = store.apply(&payment, now.0 / 1_000);
        node.answered(limit, terms, answer, now);
    }
}

fn request(
    node: &mut Lease,
    store: &mut Option<Central>,
    (limit, terms): (&Limit, &Terms),
    now: Tick,
    trips: &mut u64,
) -> bool {
    let away = Without::Away { since: Tick(2_000 * MS) };
    let Some(store) = store else { return node.share(limit, terms, 1, (now, away)) == Taken::Yes };
    loop {
        let spent = node.spend(limit, 1, now);
        let need = u64::from(spent == Spent::Ask);
        if let Some(demand) = node.ask(limit, terms, need, now) {
            *trips += 1;
            let answer = store.apply(&demand, now.0 / 1_000);
            node.answered(limit, terms, answer, now);
        }
        match spent {
            Spent::Yes => return true,
            Spent::No { .. } => return false,
            Spent::Ask => {}
        }
    }
}
