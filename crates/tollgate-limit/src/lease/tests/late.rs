//! A store that lives and answers late: what nodes admit meanwhile, beside one exact bucket, at every moment.

use super::*;

/// How long a request waits.
const PATIENCE_NS: u64 = 4 * MS;
/// From one step of the world to the next.
const STEP_NS: u64 = 100_000;

/// Nodes and a store between which words take their time.
struct World {
    limit: Limit,
    terms: Terms,
    central: Central,
    nodes: Vec<Node>,
    /// Words on their way to the store.
    sent: Vec<Word>,
    lag: Lag,
    dice: u64,
    admitted: u64,
    /// The most that was ever admitted beyond what one bucket allows.
    worst: i128,
}

#[derive(Default)]
struct Node {
    lease: Lease,
    /// What the store said, and when it is heard.
    coming: Vec<(u64, Word, (u64, Standing))>,
    /// Requests that wait: until when, and for what.
    waiting: Vec<(u64, u64)>,
}

#[derive(Clone, Copy)]
struct Word {
    /// When the store reads it, and when its answer is heard.
    times: (u64, u64),
    node: usize,
    demand: Demand,
    is_question: bool,
}

/// How long an answer takes.
#[derive(Clone, Copy, Debug)]
struct Lag {
    least_ns: u64,
    most_ns: u64,
    /// The part of it before the store reads the question, in percent.
    before: u64,
}

impl World {
    fn new(rate: Rate, nodes: u32, lag: Lag) -> Self {
        let terms = Terms { nodes, lasts: LeaseTime::Auto, epoch: 0 };
        let nodes = (0..nodes).map(|_| Node::default()).collect();
        let (limit, central) = (rate.into(), Central::default());
        Self { limit, terms, central, nodes, sent: Vec::new(), lag, dice: 7, admitted: 0, worst: i128::MIN }
    }

    fn throw(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below.max(1)
    }

    fn send(&mut self, node: usize, demand: Demand, is_question: bool, now: u64) {
        let lag = self.lag.least_ns + self.throw(self.lag.most_ns - self.lag.least_ns);
        let times = (now + lag * self.lag.before / 100, now + lag);
        self.sent.push(Word { times, node, demand, is_question });
    }

    /// A request of `units` comes.
    fn request(&mut self, at: usize, units: u64, now: u64) {
        if self.step(at, units, now) == Spent::Ask {
            self.nodes[at].lease.waits(units);
            self.nodes[at].waiting.push((now + PATIENCE_NS, units));
        }
    }

    fn step(&mut self, at: usize, units: u64, now: u64) -> Spent {
        let (limit, terms, lease) = (self.limit, self.terms, &mut self.nodes[at].lease);
        let spent = lease.spend(&limit, units, Tick(now));
        let need = if spent == Spent::Ask { units } else { 0 };
        let demand = lease.ask(&limit, &terms, need, Tick(now));
        self.admitted += if spent == Spent::Yes { units } else { 0 };
        if let Some(demand) = demand {
            self.send(at, demand, true, now);
        }
        spent
    }

    /// What happens until `now`: the store reads, answers are heard, and whoever waited goes on.
    fn pass(&mut self, now: u64) {
        self.sent.sort_by_key(|word| word.times.0);
        while self.sent.first().is_some_and(|word| word.times.0 <= now) {
            let word = self.sent.remove(0);
            let answer = self.central.apply(&word.demand, word.times.0 / 1000);
            self.nodes[word.node].coming.push((word.times.1, word, answer));
        }
        for at in 0..self.nodes.len() {
            let (heard, coming): (Vec<_>, _) = self.nodes[at].coming.drain(..).partition(|(when, ..)| *when <= now);
            self.nodes[at].coming = coming;
            for (_, word, answer) in &heard {
                let lease = &mut self.nodes[at].lease;
                if word.is_question {
                    lease.answered(&self.limit, &self.terms, *answer, Tick(now));
                } else {
                    lease.told(&self.limit, &self.terms, (&word.demand, answer.1), Tick(now));
                }
            }
            self.go_on(at, !heard.is_empty(), now);
        }
    }

    /// Those who wait at a node look again if there is news, and go without it when their time is over.
    fn go_on(&mut self, at: usize, news: bool, now: u64) {
        for (until, units) in std::mem::take(&mut self.nodes[at].waiting) {
            let is_answered = news && self.step(at, units, now) != Spent::Ask;
            if !is_answered && now < until {
                self.nodes[at].waiting.push((until, units));
                continue;
            }
            self.nodes[at].lease.waits_no_more(units);
            if !is_answered {
                let (limit, terms) = (self.limit, self.terms);
                let taken = self.nodes[at].lease.share(&limit, &terms, units, (Tick(now), Without::Late));
                self.admitted += if taken == Taken::Yes { units } else { 0 };
            }
        }
    }

    /// Tells the store what is due.
    fn flush(&mut self, now: u64) {
        for at in 0..self.nodes.len() {
            let lease = &mut self.nodes[at].lease;
            let due = lease.due(&self.limit, &self.terms, (Tick(now), false));
            let payment = lease.pay(&self.limit, &self.terms, Tick(now));
            due.into_iter().for_each(|demand| self.send(at, demand, false, now));
            payment.into_iter().for_each(|demand| self.send(at, demand, true, now));
        }
    }

    /// Takes down how much more was admitted than one bucket allows that was full at `start`.
    fn judge(&mut self, now: u64, start: u64) {
        let Limit::Rate(rate) = self.limit else { unreachable!("it is a rate") };
        let allowed = rate.burst() + rate.refilled_in(Duration::from_nanos(now - start));
        self.worst = self.worst.max(i128::from(self.admitted) - i128::from(allowed));
        let ahead: u64 = self.nodes.iter().map(|node| node.lease.ahead).sum();
        assert!(self.admitted <= allowed + ahead, "what was admitted is paid, or owed in full");
    }

    /// Ten times what is allowed for `secs`, of which node 0 gets `share` percent; admitted ÷ allowed.
    fn flood(&mut self, units: u64, secs: u64, share: u64) -> f64 {
        let Limit::Rate(rate) = self.limit else { unreachable!("it is a rate") };
        let (start, others) = (1_000 * MS, self.nodes.len() as u64 - 1);
        let every = (rate.refill_time(units).as_nanos() as u64 / 10).max(1);
        let mut next = start;
        for step in 0..secs * 1_000 * MS / STEP_NS {
            let now = start + step * STEP_NS;
            self.pass(now);
            while next <= now {
                let at = if others == 0 || self.throw(100) < share { 0 } else { 1 + self.throw(others) };
                self.request(at as usize, units, now);
                next += every;
            }
            if step % 50 == 0 {
                self.flush(now);
            }
            self.judge(now, start);
        }
        self.admitted as f64 / (rate.burst() + rate.refilled_in(Duration::from_secs(secs))) as f64
    }
}

const LAGS: [Lag; 8] = [
    Lag { least_ns: 100_000, most_ns: 200_000, before: 50 },
    Lag { least_ns: 100_000, most_ns: 8 * MS, before: 100 },
    Lag { least_ns: 100_000, most_ns: 8 * MS, before: 0 },
    Lag { least_ns: 6 * MS, most_ns: 7 * MS, before: 50 },
    Lag { least_ns: 100_000, most_ns: 30 * MS, before: 50 },
    Lag { least_ns: 40 * MS, most_ns: 41 * MS, before: 0 },
    Lag { least_ns: MS, most_ns: 200 * MS, before: 90 },
    Lag { least_ns: 400 * MS, most_ns: 500 * MS, before: 50 },
];

#[test]
fn a_store_that_answers_late_never_lets_more_in_than_one_bucket() {
    for (burst, refill, debt) in [(200, 1_000, 0), (4_000, 1_000, 4_000)] {
        for (nodes, share) in [(1, 100), (2, 50), (2, 85), (4, 50), (4, 85)] {
            for lag in LAGS {
                let mut world = World::new(rate(burst, refill, debt), nodes, lag);
                let ratio = world.flood(2, 4, share);
                let what = format!("burst {burst}, {nodes} nodes, {share} % at one, {lag:?}");
                assert!(ratio <= 1.0, "{ratio:.4}, {what}");
                // A full bucket that everybody rushes for before anybody was answered: paid back since.
                assert!(world.worst <= i128::from(burst) / 4, "{} at a moment, {what}", world.worst);
                if lag.most_ns <= 50 * MS {
                    assert!(ratio >= 0.97, "{ratio:.4}, {what}");
                }
            }
        }
    }
}
