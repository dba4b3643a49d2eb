//! What a request costs in the engine alone: the Core Rule Set at paranoia level 1, one thread, text that was never seen
//! before. `cargo bench -p tollgate-seclang`. The rules are found as in the tests.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seclang::{Options, RuleSet, Scratch};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::pages::Page;
use tollgate_conformance::{exchange, rules};

/// Requests of a row; the slow rows have fewer.
const REQUESTS: u64 = 200;
/// Time after which a row has enough of them.
const ENOUGH: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let folder = match Folder::find() {
        Ok(folder) => folder,
        Err(why) => {
            println!("not run: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let before = now();
    let loaded = rules::load(&folder, "", &Options::default());
    let rules = match loaded {
        Ok(rules) => rules,
        Err(problems) => {
            println!("{}", rules::told(&problems));
            return ExitCode::FAILURE;
        }
    };
    let mut scratch = Scratch::default();
    let loaded = now();
    rules.warm(&mut scratch);
    println!("load {:.0} ms, warm {:.0} ms", ms(loaded - before), ms(loaded.elapsed()));
    println!("{:14} {:>10} {:>10} {:>10} {:>14}", "request", "median µs", "p99 µs", "most µs", "bytes × rules");
    for page in Page::ALL {
        row(page, &rules, &mut scratch);
    }
    ExitCode::SUCCESS
}

fn row(page: Page, rules: &Arc<RuleSet>, scratch: &mut Scratch) {
    let (mut costs, mut work) = (Vec::new(), 0);
    let begun = now();
    for seed in 0..REQUESTS {
        let request = page.head_and_body(seed);
        let before = now();
        let outcome = black_box(exchange::run(rules, exchange::facts(false), &request, scratch));
        costs.push(before.elapsed());
        work = outcome.tally.work;
        if costs.len() >= 5 && begun.elapsed() > ENOUGH {
            break;
        }
    }
    costs.sort_unstable();
    let at = |share: usize| costs.get((costs.len() - 1) * share / 100).map_or(0.0, |ns| ms(*ns) * 1_000.0);
    println!("{:14} {:10.1} {:10.1} {:10.1} {work:14}", page.name(), at(50), at(99), at(100));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
