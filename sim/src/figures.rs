//! How good a run was: what was done in time, for whom, and how evenly.

/// One request that came, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Its tenant, by place.
    pub tenant: usize,
    /// Whether that is one that the others are protected from.
    pub floods: bool,
    /// What it took.
    pub cost_us: u64,
    /// How long from its coming to its end, if it was done.
    pub took_us: Option<u64>,
    /// Whether that was within its time.
    pub in_time: bool,
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Cost done in time, as a share of what the server could do.
    pub goodput: f64,
    /// Cost done too late, likewise.
    pub wasted: f64,
    /// The share of the good tenants' requests that were done in time.
    pub in_time: f64,
    /// The 99th percentile of how long those took that were done at all, in seconds.
    pub p99: f64,
    /// Jain's index of what good tenants got in time: 1 is even.
    pub jain: f64,
}

impl Figures {
    /// The figures of `fates` on a server that could do `capacity_us`.
    #[must_use]
    pub fn of(fates: &[Fate], capacity_us: f64) -> Self {
        let cost =
            |which: &dyn Fn(&&Fate) -> bool| fates.iter().filter(which).map(|fate| fate.cost_us as f64).sum::<f64>();
        let goodput = cost(&|fate| fate.in_time) / capacity_us;
        let wasted = cost(&|fate| fate.took_us.is_some() && !fate.in_time) / capacity_us;
        let good: Vec<&Fate> = fates.iter().filter(|fate| !fate.floods).collect();
        let in_time = good.iter().filter(|fate| fate.in_time).count() as f64 / good.len().max(1) as f64;
        let mut took: Vec<u64> = good.iter().filter_map(|fate| fate.took_us).collect();
        let tenants = good.iter().map(|fate| fate.tenant).max().map_or(0, |most| most + 1);
        let mut shares = vec![0.0; tenants];
        let mut present = vec![false; tenants];
        for fate in &good {
            present[fate.tenant] = true;
            if fate.in_time {
                shares[fate.tenant] += fate.cost_us as f64;
            }
        }
        let shares: Vec<f64> =
            shares.into_iter().zip(present).filter(|(_, there)| *there).map(|(share, _)| share).collect();
        Self { goodput, wasted, in_time, p99: percentile(&mut took, 0.99) / 1e6, jain: jain(&shares) }
    }

    /// The mean of several runs.
    #[must_use]
    pub fn mean(runs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| runs.iter().map(field).sum::<f64>() / runs.len().max(1) as f64;
        Self {
            goodput: of(|run| run.goodput),
            wasted: of(|run| run.wasted),
            in_time: of(|run| run.in_time),
            p99: of(|run| run.p99),
            jain: of(|run| run.jain),
        }
    }
}

/// Jain's index of fairness (Jain, Chiu and Hawe, 1984).
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}

/// A percentile, the next one up; NaN of nothing.
pub fn percentile(values: &mut [u64], part: f64) -> f64 {
    values.sort_unstable();
    let place = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(place).map_or(f64::NAN, |value| *value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_became_of_requests() {
        let fate = |tenant, cost_us, took_us: Option<u64>| Fate {
            tenant,
            floods: tenant == 2,
            cost_us,
            took_us,
            in_time: took_us.is_some_and(|took| took <= 100),
        };
        let fates = [fate(0, 10, Some(50)), fate(1, 30, Some(100)), fate(1, 5, None), fate(2, 40, Some(200))];
        let figures = Figures::of(&fates, 100.0);
        assert!((figures.goodput - 0.4).abs() < 1e-9 && (figures.wasted - 0.4).abs() < 1e-9);
        assert!((figures.in_time - 2.0 / 3.0).abs() < 1e-9);
        assert!((figures.p99 - 100e-6).abs() < 1e-12);
        assert!((figures.jain - 1600.0 / 2000.0).abs() < 1e-9);
    }

    #[test]
    fn jain_is_one_for_equals_and_a_share_for_one_alone() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!((jain(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
    }
}
