//! What was learned of costs, by model and upstream. Kept over reloads, and over restarts where there is a directory for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tollgate_layers::cost::{BOUNDS, Count, KeptLength, Learner, Prior, Shared};

use crate::keep::{Keep, KeptCost, KeptCosts};
use crate::record::metrics::{head, row};
use crate::snapshot::Policy;

/// The learners of every model at every upstream.
#[derive(Default)]
pub struct Learned {
    learners: Mutex<BTreeMap<Place, Arc<Learner>>>,
    /// Follows the answers of all models.
    all: Arc<Shared>,
    /// What earlier runs learned of models that nobody has asked for yet.
    kept: Mutex<Vec<KeptCost>>,
    /// Why something that was kept is not used.
    refused: Mutex<Option<String>>,
    /// Samples when it was written last.
    written: AtomicU64,
}

/// A model and the upstream that serves it.
type Place = (String, String);

impl Learned {
    /// The learner of a model at an upstream: kept if it is there.
    pub fn of(&self, model: &str, upstream: &str, prior: Prior) -> Arc<Learner> {
        let mut learners = self.learners.lock();
        let place = (model.to_owned(), upstream.to_owned());
        let learner = learners.entry(place).or_insert_with(|| {
            let learner = Learner::new(prior, Arc::clone(&self.all));
            self.restore(&learner, model, upstream);
            Arc::new(learner)
        });
        Arc::clone(learner)
    }

    /// Forgets models that `policy` does not name, and upstreams that serve them no more.
    pub fn keep(&self, policy: &Policy) {
        let served = |(model, upstream): &Place| {
            let mut models = policy.models.iter().filter(|named| *named.name == **model);
            models.any(|model| {
                let versions = model.release.iter().flat_map(|release| &release.terms.versions);
                let mut places = versions.map(|version| version.upstream).chain([model.upstream]);
                places.any(|place| policy.upstreams.get(place).is_some_and(|served| *served.name == **upstream))
            })
        };
        self.learners.lock().retain(|place, _| served(place));
    }

    /// Takes over what earlier runs learned, as far as it can be read.
    pub fn take_over(&self, keep: &Keep) {
        match keep.costs() {
            Ok(None) => {}
            Ok(Some(kept)) => {
                if let Some(tracker) = kept.answers.tracker() {
                    self.all.set(tracker);
                }
                *self.kept.lock() = kept.costs;
            }
            Err(why) => self.refuse(format!("what was learned of costs is not used, and learned again: {why}")),
        }
    }

    /// Why something that was kept is not used, where that is so.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    /// What was learned so far.
    #[must_use]
    pub fn kept(&self) -> KeptCosts {
        let learners = self.learners.lock().clone();
        let costs = learners.into_iter().map(|((model, upstream), learner)| {
            let learned = learner.kept();
            KeptCost { model, upstream, learned }
        });
        KeptCosts::new(KeptLength::of(self.all.get()), costs.collect())
    }

    /// Writes what was learned, if something was since the last time.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, keep: &Keep) -> io::Result<()> {
        let samples = self.learners.lock().values().map(|learner| learner.samples()).fold(0, u64::wrapping_add);
        if self.written.load(Ordering::Relaxed) == samples {
            return Ok(());
        }
        keep.write_costs(&self.kept())?;
        self.written.store(samples, Ordering::Relaxed);
        Ok(())
    }

    fn restore(&self, learner: &Learner, model: &str, upstream: &str) {
        let mut kept = self.kept.lock();
        let Some(place) = kept.iter().position(|kept| kept.model == model && kept.upstream == upstream) else { return };
        let KeptCost { learned, .. } = kept.swap_remove(place);
        match learner.restore(&learned) {
            Ok(()) => {
                self.written.fetch_add(learned.samples, Ordering::Relaxed);
            }
            Err(why) => {
                self.refuse(format!(
                    "what was learned of the costs of `{model}` is not used, and learned again: {why}"
                ));
            }
        }
    }

    fn refuse(&self, why: String) {
        *self.refused.lock() = Some(why);
    }

    /// Writes the metrics.
    pub fn render(&self, out: &mut String) {
        let learners = self.learners.lock();
        let counts: Vec<(&Place, Count)> =
            learners.iter().map(|(place, learner)| (place, learner.figures.count())).collect();
        head(
            out,
            "tollgate_cost_error_ratio",
            "histogram",
            "What calls cost by what they were expected to cost on average.",
        );
        for ((model, upstream), count) in &counts {
            let labels = [("model", model.as_str()), ("upstream", upstream.as_str())];
            let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, below) in bounds.zip(count.ratios) {
                let [model, upstream] = labels;
                row(out, "tollgate_cost_error_ratio_bucket", &[model, upstream, ("le", &bound)], below);
            }
            row(out, "tollgate_cost_error_ratio_sum", &labels, count.sum);
            row(out, "tollgate_cost_error_ratio_count", &labels, count.ratios[BOUNDS.len()]);
        }
        for (name, kind, help, pick) in COUNTS {
            head(out, name, kind, help);
            for ((model, upstream), count) in &counts {
                row(out, name, &[("model", model), ("upstream", upstream)], pick(count));
            }
        }
    }
}

type Pick = fn(&Count) -> f64;

const COUNTS: [(&str, &str, &str, Pick); 6] = [
    (
        "tollgate_model_cost_reserved_microseconds_total",
        "counter",
        "Cost reserved for calls that were answered.",
        |count| count.reserved_us as f64,
    ),
    (
        "tollgate_model_cost_spent_microseconds_total",
        "counter",
        "Cost that calls that were answered really had.",
        |count| count.spent_us as f64,
    ),
    (
        "tollgate_model_cost_under_microseconds_total",
        "counter",
        "Cost of calls that were answered above what was reserved for them.",
        |count| count.under_us as f64,
    ),
    (
        "tollgate_cost_samples_missed_total",
        "counter",
        "Calls not learned from: another was just learned from.",
        |count| count.missed as f64,
    ),
    ("tollgate_cost_samples_cold_total", "counter", "Calls not learned from: the server was cold.", |count| {
        count.cold as f64
    }),
    (
        "tollgate_cost_median_error",
        "gauge",
        "Median error of late of what calls were worth once their answers were known, as a part of what they cost.",
        |count| count.error,
    ),
];
