//! Any request through the whole Core Rule Set, or our own pack where it is not here: every optimisation on finds what
//! every optimisation off finds, and memory that served before changes nothing.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use seclang::{Library, Options, Profile, RuleSet, Scratch, Tally};
use tollgate_conformance::exchange;
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::rules::{self, Overlay};

/// The input is the bytes of a request.
pub(crate) fn run(data: &[u8]) {
    static RULES: LazyLock<[Arc<RuleSet>; 2]> = LazyLock::new(|| [false, true].map(load));
    thread_local! {
        static SCRATCH: RefCell<[Scratch; 2]> = RefCell::default();
    }
    let Some(request) = Request::read(data) else { return };
    SCRATCH.with_borrow_mut(|[worn, other]| {
        let [fast, plain] = &*RULES;
        let found = [
            tally(fast, &request, worn),
            tally(plain, &request, other),
            tally(fast, &request, &mut Scratch::default()),
        ];
        assert_eq!(found[0], found[1], "the optimisations changed what was found");
        assert_eq!(found[0], found[2], "memory that served before changed what was found");
    });
}

fn tally(rules: &Arc<RuleSet>, request: &Request, scratch: &mut Scratch) -> Tally {
    let outcome = exchange::run(rules, exchange::facts(true), request, scratch);
    Tally { work: 0, ..outcome.tally }
}

fn load(plain: bool) -> Arc<RuleSet> {
    let options = Options { profile: Profile::Stock, plain, work: u64::MAX, ..Options::default() };
    if let Ok(folder) = Folder::find() {
        return rules::load(&folder, rules::REGRESSION, &options).expect("rules that load");
    }
    let (overlay, pack) = rules::with_pack(Overlay::default().with("base.conf", rules::BASE)).expect("the pack");
    let files: Vec<String> = std::iter::once("base.conf".to_owned()).chain(pack).collect();
    RuleSet::load(&overlay, &files, &options, &mut Library::default()).expect("rules that load").0
}
