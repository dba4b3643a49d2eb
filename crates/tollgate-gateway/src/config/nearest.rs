//! Which of the known names was meant. A guess for a hint; nothing is ever decided by it.

/// Names longer than this are not guessed at.
const LONGEST: usize = 64;

/// The known name nearest to what was written, if it is near enough to be a slip.
pub(super) fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let written = folded(written);
    if written.len() > LONGEST || written.is_empty() {
        return None;
    }
    let most = (written.len() / 3).clamp(1, 3);
    known
        .filter(|name| name.chars().count() <= LONGEST)
        .map(|name| (distance(&written, &folded(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

fn folded(name: &str) -> Vec<char> {
    name.chars().take(LONGEST + 1).map(|c| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours between two names.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let changed = last[j] + usize::from(from != to);
            let mut best = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["listeners", "upstreams", "models", "routes", "on_fault"];
        for (written, meant) in [
            ("listener", Some("listeners")),
            ("lsiteners", Some("listeners")),
            ("Upstreams", Some("upstreams")),
            ("on-fault", Some("on_fault")),
            ("model", Some("models")),
            ("route", Some("routes")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn distances_count_swaps_once() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(of("abcd", "abdc"), 1);
        assert_eq!(of("abc", "abc"), 0);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("kitten", "sitting"), 3);
    }
}
