//! The seeds of the engine's fuzz targets, and every input that once was a finding, hold what the target promises.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/targets/seclang_bodies.rs"]
mod seclang_bodies;
#[path = "../../../fuzz/targets/seclang_parse.rs"]
mod seclang_parse;
#[path = "../../../fuzz/targets/seclang_run.rs"]
mod seclang_run;
#[path = "../../../fuzz/targets/seclang_transform.rs"]
mod seclang_transform;

/// Runs every seed, whole and cut at `cuts` places.
fn replay(target: &str, cuts: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let file = entry.expect("a seed").path();
        let seed = fs::read(&file).expect("a seed");
        if std::panic::catch_unwind(|| run(&seed)).is_err() {
            panic!("`{}` breaks what the target promises", file.display());
        }
        for end in (0..seed.len()).step_by(seed.len().div_ceil(cuts).max(1)) {
            run(&seed[..end]);
        }
        seeds += 1;
    }
    assert!(seeds >= 5, "only {seeds} seeds for `{target}`");
}

#[test]
fn rule_files_load_or_every_mistake_has_a_place() {
    replay("seclang_parse", usize::MAX, seclang_parse::run);
}

#[test]
fn requests_are_judged_alike_with_and_without_optimisations() {
    replay("seclang_run", 12, seclang_run::run);
}

#[test]
fn transformations_keep_their_bounds() {
    replay("seclang_transform", usize::MAX, seclang_transform::run);
}

#[test]
fn readers_of_bodies_stay_inside_the_body() {
    replay("seclang_bodies", usize::MAX, seclang_bodies::run);
}
