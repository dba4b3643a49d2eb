//! Any bytes as a rule file: it loads, or every problem has a place and words.

use std::sync::Arc;

use seclang::{Library, Memory, Options, RuleSet, Scratch};
use tollgate_conformance::exchange;
use tollgate_conformance::front::Request;

/// What loads also runs.
pub(crate) fn run(data: &[u8]) {
    let source = Memory::default().with("a.conf", data).with("b.conf", "SecMarker END\n").with("c.data", "one\ntwo\n");
    match RuleSet::load(&source, &["a.conf".to_owned()], &Options::default(), &mut Library::default()) {
        Ok((rules, _)) => serve(&rules),
        Err(problems) => {
            assert!(!problems.is_empty(), "rules that do not load have a problem");
            for problem in problems {
                assert!(problem.place.line >= 1 && problem.place.column >= 1, "{problem}");
                assert!(!problem.message.is_empty(), "{problem}");
            }
        }
    }
}

fn serve(rules: &Arc<RuleSet>) {
    let raw =
        b"POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}";
    let request = Request::read(raw).expect("a request");
    let outcome = exchange::run(rules, exchange::facts(false), &request, &mut Scratch::default());
    assert!(outcome.tally.matched.len() <= 10_000, "{} matches", outcome.tally.matched.len());
}
