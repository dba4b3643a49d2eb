//! What comes: requests with their times, tenants, true costs and what is foreseen of them. Made up from a scene, or read
//! from JSON lines.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::dice::Dice;

/// One request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// When it comes, in microseconds from the beginning.
    pub at_us: u64,
    /// Its tenant, by place in [`Trace::tenants`].
    pub tenant: usize,
    /// What it takes.
    pub cost_us: u64,
    /// What it is thought to take.
    pub foreseen_us: u64,
    /// How long it may take from its coming to its end.
    pub deadline_us: u64,
}

/// Everything that comes, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trace {
    /// Names of tenants. Those that begin with `flood` are the ones that the others are protected from.
    pub tenants: Vec<String>,
    /// By time.
    pub requests: Vec<Request>,
}

/// Good tenants, and one that floods.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Places of the server: so many requests at once, each as fast as if it were alone.
    pub slots: u32,
    /// How long it lasts, in seconds.
    pub seconds: f64,
    /// Good tenants.
    pub good: usize,
    /// What they ask for together, as a share of the server.
    pub good_load: f64,
    /// What one of their requests costs on average, in seconds.
    pub good_cost: f64,
    /// What the flooding tenant asks for, as a multiple of the server; 0 is no such tenant.
    pub flood: f64,
    /// What one of its requests costs on average, in seconds.
    pub flood_cost: f64,
    /// How long a request may take, in seconds.
    pub deadline: f64,
    /// How wrong costs are foreseen: the deviation of the logarithm.
    pub sigma: f64,
    /// Where chance begins.
    pub seed: u64,
}

impl Default for Scene {
    /// The scene of the design: nine tenants at 60 % of eight places with requests of a tenth of a second, and one with
    /// requests of two seconds.
    fn default() -> Self {
        Self {
            slots: 8,
            seconds: 120.0,
            good: 9,
            good_load: 0.6,
            good_cost: 0.1,
            flood: 0.0,
            flood_cost: 2.0,
            deadline: 2.0,
            sigma: 0.5,
            seed: 1,
        }
    }
}

impl Scene {
    /// What happens in it.
    #[must_use]
    pub fn play(&self) -> Trace {
        let mut trace = Trace::default();
        for good in 0..self.good {
            let per_sec = self.good_load * f64::from(self.slots) / self.good as f64 / self.good_cost;
            self.add(&mut trace, format!("good-{}", good + 1), per_sec, self.good_cost);
        }
        if self.flood > 0.0 {
            let per_sec = self.flood * f64::from(self.slots) / self.flood_cost;
            self.add(&mut trace, "flood".to_owned(), per_sec, self.flood_cost);
        }
        trace.requests.sort_by_key(|request| (request.at_us, request.tenant));
        trace
    }

    fn add(&self, trace: &mut Trace, name: String, per_sec: f64, cost: f64) {
        let tenant = trace.tenants.len();
        trace.tenants.push(name);
        let mut dice = Dice::new(self.seed.wrapping_mul(1_000).wrapping_add(tenant as u64));
        let mut at = dice.exponential(1.0 / per_sec);
        while at < self.seconds {
            let cost = dice.exponential(cost);
            let foreseen = cost * dice.lognormal(self.sigma);
            trace.requests.push(Request {
                at_us: micros(at),
                tenant,
                cost_us: micros(cost).max(1),
                foreseen_us: micros(foreseen).max(1),
                deadline_us: micros(self.deadline),
            });
            at += dice.exponential(1.0 / per_sec);
        }
    }
}

impl Trace {
    /// Reads JSON lines: `at_us`, `tenant` and `cost_us` of each request, and perhaps `foreseen_us` (what it costs, unless
    /// told) and `deadline_us` (two seconds).
    ///
    /// # Errors
    /// The first line that is none of that.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let mut trace = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let request = trace.read_line(line).with_context(|| format!("line {} of the trace", number + 1))?;
            trace.requests.push(request);
        }
        trace.requests.sort_by_key(|request| request.at_us);
        Ok(trace)
    }

    fn read_line(&mut self, line: &str) -> anyhow::Result<Request> {
        let value: Value = serde_json::from_str(line)?;
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let name = value.get("tenant").and_then(Value::as_str).context("no `tenant`")?;
        let known = self.tenants.iter().position(|tenant| tenant == name);
        let tenant = known.unwrap_or_else(|| {
            self.tenants.push(name.to_owned());
            self.tenants.len() - 1
        });
        let cost_us = number("cost_us").context("no `cost_us`")?;
        if cost_us == 0 {
            bail!("a request that costs nothing");
        }
        Ok(Request {
            at_us: number("at_us").context("no `at_us`")?,
            tenant,
            cost_us,
            foreseen_us: number("foreseen_us").unwrap_or(cost_us),
            deadline_us: number("deadline_us").unwrap_or(2_000_000),
        })
    }

    /// The same as JSON lines.
    #[must_use]
    pub fn write(&self) -> String {
        let lines = self.requests.iter().map(|request| {
            let Request { at_us, tenant, cost_us, foreseen_us, deadline_us } = *request;
            let tenant = self.tenants.get(tenant);
            let line = json!({ "at_us": at_us, "tenant": tenant, "cost_us": cost_us, "foreseen_us": foreseen_us, "deadline_us": deadline_us });
            format!("{line}\n")
        });
        lines.collect()
    }

    /// Whether a tenant is one that the others are protected from.
    #[must_use]
    pub fn floods(&self, tenant: usize) -> bool {
        self.tenants.get(tenant).is_some_and(|name| name.starts_with("flood"))
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_asks_for_what_it_says() {
        let trace = Scene { flood: 10.0, ..Scene::default() }.play();
        let cost = |floods| {
            let of = trace.requests.iter().filter(|request| trace.floods(request.tenant) == floods);
            of.map(|request| request.cost_us as f64).sum::<f64>() / 1e6 / (8.0 * 120.0)
        };
        assert!((cost(false) - 0.6).abs() < 0.03, "{}", cost(false));
        assert!((cost(true) - 10.0).abs() < 0.8, "{}", cost(true));
        assert!(trace.requests.is_sorted_by_key(|request| request.at_us));
    }

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let trace = Scene { seconds: 2.0, flood: 2.0, ..Scene::default() }.play();
        let again = Trace::read(&trace.write()).expect("our own");
        let named = |trace: &Trace| {
            let lines = trace.requests.iter().map(|r| (trace.tenants[r.tenant].clone(), Request { tenant: 0, ..*r }));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(named(&again), named(&trace));
    }

    #[test]
    fn what_is_no_trace_says_where() {
        let error = Trace::read("{\"at_us\":1,\"tenant\":\"a\",\"cost_us\":5}\n{\"at_us\":1}").expect_err("no tenant");
        assert_eq!(format!("{error:#}"), "line 2 of the trace: no `tenant`");
        assert!(Trace::read("[]").is_err() && Trace::read("{\"at_us\":1,\"tenant\":\"a\",\"cost_us\":0}").is_err());
    }
}
