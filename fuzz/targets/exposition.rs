//! Any bytes as a model server's page of metrics.

use tollgate_gateway::upstream::signals::exposition::{Load, read};

/// A load is a number that is no less than nothing, and each line counts once wherever it stands.
pub(crate) fn run(data: &[u8]) {
    let whole = read(data);
    assert!(sound(whole.waiting) && sound(whole.used), "{whole:?}");
    let (mut waiting, mut used): (Option<f64>, Option<f64>) = (None, None);
    for line in data.split(|byte| *byte == b'\n') {
        let Load { waiting: more, used: fuller } = read(line);
        waiting = more.map_or(waiting, |more| Some(waiting.unwrap_or(0.0) + more));
        used = fuller.map_or(used, |fuller| Some(used.unwrap_or(0.0).max(fuller)));
    }
    assert_eq!(whole, Load { waiting, used }, "a page is its lines");
}

fn sound(value: Option<f64>) -> bool {
    value.is_none_or(|value| value >= 0.0)
}
