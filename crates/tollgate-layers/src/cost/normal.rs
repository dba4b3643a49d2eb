//! Prices of features, found from what calls cost: weighted least squares over the samples of late, each a little less
//! important than the next, with no price below zero.
//!
//! Kept as normal equations: 35 numbers, whatever the number of samples. Solved now and then, never on the way of a call.
//! No recursive update of the inverse: with forgetting it winds up and diverges.

use super::features::{FEATURES, Features};

/// How much of its weight a sample keeps when the next one comes: half of it is gone after 346.
pub(super) const KEEP: f64 = 0.998;

/// How strongly prices are drawn to those expected beforehand where samples say nothing.
const RIDGE: f64 = 1e-6;

/// The most that one unit of a feature may cost: no sum of features at such prices overflows.
const MOST_PRICE: f64 = 1e15;

/// Rounds of the search for the set of prices above zero; each takes one out or one in.
const ROUNDS: usize = 4 * FEATURES;

/// Prices, one for each feature, in microseconds.
pub(super) type Prices = [f64; FEATURES];

type Matrix = [[f64; FEATURES]; FEATURES];

/// The samples of late, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Normal {
    matrix: Matrix,
    right: [f64; FEATURES],
    /// Samples in it, the older ones counted less.
    count: f64,
}

/// What is expected beforehand, and how many samples that is worth now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The prices.
    pub prices: Prices,
    /// Samples.
    pub worth: f64,
}

impl Normal {
    /// Takes a call of these features that cost `cost`, at this weight. What was there keeps `keep` of its own.
    pub(super) fn add(&mut self, features: &Features, (cost, weight): (f64, f64), keep: f64) {
        let x = &features.0;
        for ((row, right), xi) in self.matrix.iter_mut().zip(&mut self.right).zip(x) {
            for (cell, xj) in row.iter_mut().zip(x) {
                *cell = cell.mul_add(keep, weight * xi * xj);
            }
            *right = right.mul_add(keep, weight * xi * cost);
        }
        self.count = self.count.mul_add(keep, 1.0);
    }

    /// Adds `part` of other samples.
    pub(super) fn merge(&mut self, other: &Self, part: f64) {
        for (row, more) in self.matrix.iter_mut().zip(&other.matrix) {
            for (cell, more) in row.iter_mut().zip(more) {
                *cell += part * more;
            }
        }
        for (right, more) in self.right.iter_mut().zip(&other.right) {
            *right += part * more;
        }
        self.count += part * other.count;
    }

    /// Samples in it, the older ones counted less.
    #[must_use]
    pub(super) const fn count(&self) -> f64 {
        self.count
    }

    /// The prices that fit best. `None` where the sums are no numbers.
    #[must_use]
    pub(super) fn solve(&self, expected: Expected) -> Option<Prices> {
        let (matrix, right) = self.drawn_to(expected);
        let prices = least_squares(&matrix, &right)?;
        Some(prices.map(|price| price.min(MOST_PRICE)))
    }

    /// The numbers in a row: the upper triangle, the right side, the count.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        let triangle = self.matrix.iter().enumerate().flat_map(|(i, row)| row.iter().skip(i));
        triangle.chain(&self.right).copied().chain([self.count])
    }

    /// From such numbers; `None` where they are not that many, not finite, or cannot have come from samples.
    #[must_use]
    pub(super) fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let mut normal = Self::default();
        let mut numbers = numbers.iter().copied();
        for i in 0..FEATURES {
            for j in i..FEATURES {
                let number = numbers.next()?;
                (normal.matrix[i][j], normal.matrix[j][i]) = (number, number);
            }
        }
        for right in &mut normal.right {
            *right = numbers.next()?;
        }
        normal.count = numbers.next()?;
        let sane = |number: &f64| number.is_finite() && *number >= 0.0;
        let whole = numbers.next().is_none() && normal.matrix.iter().flatten().chain(&normal.right).all(sane);
        (whole && sane(&normal.count)).then_some(normal)
    }

    /// The equations with what was expected beforehand in them: worth some samples at first, and hardly anything later, but
    /// for features that no sample had.
    fn drawn_to(&self, expected: Expected) -> (Matrix, [f64; FEATURES]) {
        let (mut matrix, mut right) = (self.matrix, self.right);
        let worth = expected.worth / self.count.max(1.0);
        let floor = RIDGE * self.matrix[0][0];
        for (i, price) in expected.prices.iter().enumerate() {
            let own = self.matrix[i][i];
            let pull = own.mul_add(worth + RIDGE, floor);
            matrix[i][i] += pull;
            right[i] = pull.mul_add(*price, right[i]);
        }
        (matrix, right)
    }
}

/// Least squares with no coefficient below zero. Source: Lawson and Hanson, *Solving Least Squares Problems*, 1974,
/// chapter 23, on normal equations scaled to a unit diagonal.
fn least_squares(matrix: &Matrix, right: &[f64; FEATURES]) -> Option<Prices> {
    let mut scale = [0.0; FEATURES];
    for (i, scale) in scale.iter_mut().enumerate() {
        *scale = if matrix[i][i] > 0.0 { matrix[i][i].sqrt() } else { 1.0 };
    }
    let scaled = std::array::from_fn(|i| std::array::from_fn(|j| matrix[i][j] / (scale[i] * scale[j])));
    let target: [f64; FEATURES] = std::array::from_fn(|i| right[i] / scale[i]);
    let tolerance = 1e-12 * target.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let (mut active, mut x) = ([false; FEATURES], [0.0; FEATURES]);
    for _ in 0..ROUNDS {
        let slope = |i: usize| target[i] - (0..FEATURES).map(|j| scaled[i][j] * x[j]).sum::<f64>();
        let steepest = (0..FEATURES).filter(|i| !active[*i]).map(|i| (i, slope(i)));
        let steepest = steepest.filter(|(_, slope)| *slope > tolerance).max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((entering, _)) = steepest else { break };
        active[entering] = true;
        step(&scaled, &target, &mut active, &mut x)?;
    }
    let prices: Prices = std::array::from_fn(|i| x[i] / scale[i]);
    prices.iter().all(|price| price.is_finite() && *price >= 0.0).then_some(prices)
}

/// Goes to the best point of the active set, as far as no coefficient falls below zero; one that would is taken out.
fn step(scaled: &Matrix, target: &[f64; FEATURES], active: &mut [bool; FEATURES], x: &mut Prices) -> Option<()> {
    for _ in 0..FEATURES {
        let best = best_of(scaled, target, active)?;
        let falling = (0..FEATURES).filter(|i| active[*i] && best[*i] <= 0.0);
        let ways = falling.map(|i| (i, x[i] / (x[i] - best[i]).max(f64::MIN_POSITIVE)));
        let Some((first, way)) = ways.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            *x = best;
            return Some(());
        };
        for i in 0..FEATURES {
            x[i] = (best[i] - x[i]).mul_add(way.clamp(0.0, 1.0), x[i]).max(0.0);
        }
        (active[first], x[first]) = (false, 0.0);
    }
    Some(())
}

/// Solves the equations of the active set, by Cholesky's factors.
fn best_of(matrix: &Matrix, right: &[f64; FEATURES], active: &[bool; FEATURES]) -> Option<Prices> {
    let mut factor = [[0.0; FEATURES]; FEATURES];
    let mut x = [0.0; FEATURES];
    for i in (0..FEATURES).filter(|i| active[*i]) {
        for j in (0..=i).filter(|j| active[*j]) {
            let known: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = matrix[i][j] - known;
            // The diagonal is 1 and no price is certain to more than nine digits: what is less is rounding.
            factor[i][j] = if i == j { rest.max(1e-9).sqrt() } else { rest / factor[j][j] };
        }
        let known: f64 = (0..i).map(|k| factor[i][k] * x[k]).sum();
        x[i] = (right[i] - known) / factor[i][i];
    }
    for i in (0..FEATURES).rev().filter(|i| active[*i]) {
        let known: f64 = (i + 1..FEATURES).map(|k| factor[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / factor[i][i];
    }
    x.iter().all(|value| value.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests;
