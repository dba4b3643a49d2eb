//! Costs as the gateway foresees them that was told nothing: by its own learner, which begins with the prices that ship and
//! learns in the run from what requests really took.
//!
//! What a request costs is that of the trace, so that the same floods can be played with costs that are told. What can be
//! seen of it beforehand is made to fit: the elements of a tensor, or the prompt of a chat whose answer nobody foresees.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::cost::Cost;
use tollgate_core::time::Tick;
use tollgate_layers::cost::{Learner, Prior, Sample, Shape, Wish};
use tollgate_limit::hash_key;

use crate::dice::Dice;
use crate::trace::{Request, Trace};

/// What a million elements really take, in microseconds: three times what is expected beforehand.
const MILLION_ELEMENTS_US: f64 = 30_000.0;
/// What a chat really takes: for itself, for a token read and for one written, in microseconds. A tenth of what is expected
/// beforehand.
const CHAT_US: [f64; 3] = [3_000.0, 8.0, 1_200.0];
/// How far apart two chats of the same tokens lie: the deviation of the logarithm.
const CHAT_SIGMA: f64 = 0.1;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// Tensors: their size is seen, and what they take lies around that as widely as in the scene.
    Tensors,
    /// Chats: the prompt is seen, and nothing bounds the answer, which is nearly all of the cost.
    Chats,
}

/// What is known of each request of a trace, and whoever learns from it.
pub struct Lesson {
    asked: Vec<Asked>,
    learner: Learner,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    shape: Shape,
    written: u64,
}

/// What a request is thought to cost, in microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Foreseen {
    /// What is reserved for it.
    pub limit_us: u64,
    /// What the queue reckons with.
    pub mean_us: u64,
}

/// How well costs were foreseen in a run.
#[derive(Clone, Copy, Debug)]
pub struct Grade {
    /// What was reserved, of what was used.
    pub reserved: f64,
    /// What was used above what was reserved, of what was used.
    pub under: f64,
    /// The median error of late, with the answer known.
    pub error: f64,
}

impl Lesson {
    /// Nothing is learned yet.
    #[must_use]
    pub fn new(trace: &Trace, subject: Subject) -> Self {
        let mut dice = Dice::new(trace.requests.len() as u64);
        let asked = |request: &Request| match subject {
            Subject::Tensors => tensors(request),
            Subject::Chats => chat(request, &mut dice),
        };
        let asked = trace.requests.iter().map(asked).collect();
        Self { asked, learner: Learner::new(Prior::of(subject == Subject::Chats), Arc::default()) }
    }

    /// What a request is thought to cost now.
    #[must_use]
    pub fn foresee(&self, number: usize, tenant: usize) -> Option<Foreseen> {
        let predicted = self.learner.predict(&self.asked.get(number)?.shape, known_as(tenant));
        Some(Foreseen { limit_us: predicted.limit.0.max(1), mean_us: predicted.mean.0.max(1) })
    }

    /// A request was done at `now_ns`, for which so much was foreseen.
    pub fn learn(&self, number: usize, request: &Request, foreseen: Foreseen, now_ns: u64) {
        let Some(Asked { shape, written }) = self.asked.get(number).copied() else { return };
        let (cost, took) = (Cost(request.cost_us), Duration::from_micros(request.cost_us));
        self.learner.figures.settled(Cost(foreseen.limit_us), Cost(foreseen.mean_us), cost);
        let sample = Sample { tenant: known_as(request.tenant), shape, cost, took, read: None, cached: 0, written };
        self.learner.learn(&sample, Tick(now_ns));
    }

    /// How well it went.
    #[must_use]
    pub fn grade(&self) -> Grade {
        let count = self.learner.figures.count();
        let used = count.spent_us.max(1) as f64;
        Grade { reserved: count.reserved_us as f64 / used, under: count.under_us as f64 / used, error: count.error }
    }
}

/// Tenants are known to the learner by keyed hashes.
fn known_as(tenant: usize) -> u64 {
    hash_key((17, 42), "tenant", tenant)
}

/// What the trace foresees is what is seen of a tensor.
fn tensors(request: &Request) -> Asked {
    let elements = request.foreseen_us as f64 / MILLION_ELEMENTS_US * 1e6;
    Asked { shape: Shape { elements, rows: 1.0, counted: true, ..Shape::default() }, written: 0 }
}

/// An answer as long as makes the chat cost what the trace says.
fn chat(request: &Request, dice: &mut Dice) -> Asked {
    let [fixed, read, write] = CHAT_US;
    let input_tokens = dice.exponential(200.0).ceil();
    let noiseless = request.cost_us as f64 / dice.lognormal(CHAT_SIGMA);
    let written = ((noiseless - fixed - read * input_tokens) / write).max(1.0);
    let wish = Some(Wish { answers: 1.0, cap: f64::INFINITY, declared: None });
    let shape = Shape { input_tokens, counted: true, rows: 1.0, wish, ..Shape::default() };
    Asked { shape, written: written as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Scene;

    #[test]
    fn what_is_learned_of_a_trace_comes_close_to_what_it_costs() {
        let trace = Scene { flood: 2.0, ..Scene::default() }.play();
        for (subject, most) in [(Subject::Tensors, 0.5), (Subject::Chats, 0.15)] {
            let lesson = Lesson::new(&trace, subject);
            let mut means = Vec::new();
            for (number, request) in trace.requests.iter().enumerate() {
                let foreseen = lesson.foresee(number, request.tenant).expect("a request");
                means.push((request, foreseen.mean_us as f64));
                lesson.learn(number, request, foreseen, request.at_us * 1_000);
            }
            assert!(lesson.grade().error < most, "{subject:?} {:?}", lesson.grade());
            // Late in the run, a tenant's requests are thought to cost what they do, on average.
            let late = &means[means.len() / 2..];
            for tenant in [0, 9] {
                let of: Vec<_> = late.iter().filter(|(request, _)| request.tenant == tenant).collect();
                let real: f64 = of.iter().map(|(request, _)| request.cost_us as f64).sum();
                let thought: f64 = of.iter().map(|(_, mean)| mean).sum();
                assert!((0.7..1.4).contains(&(thought / real)), "{subject:?} of {tenant}: {}", thought / real);
            }
        }
    }
}
