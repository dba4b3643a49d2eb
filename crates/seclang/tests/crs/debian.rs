//! The Core Rule Set 3.3 that Debian ships, with Debian's own setup file.

use std::fs;
use std::sync::Arc;

use seclang::{Library, Options, Profile, RuleSet, Scratch};
use tollgate_conformance::exchange;
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::rules::{self, Overlay};

#[test]
fn the_rules_that_debian_ships_load_and_block() {
    let Some(folder) = Folder::debian() else {
        println!("not run: apt-get install modsecurity-crs");
        return;
    };
    let rules = load(&folder);
    let mut scratch = Scratch::default();
    let mut status = |target: &str| {
        let raw = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n");
        let request = Request::read(raw.as_bytes()).expect("a request");
        exchange::run(&rules, exchange::facts(false), &request, &mut scratch).status
    };
    assert_eq!(status("/"), 200);
    assert_eq!(status("/?q=a+good+book&page=2"), 200);
    assert_eq!(status("/?q=1%27+OR+1%3D1+--+"), 403);
    assert_eq!(status("/?q=%3Cscript%3Ealert(1)%3C/script%3E"), 403);
    assert_eq!(status("/?file=../../../../etc/passwd"), 403);
}

fn load(folder: &Folder) -> Arc<RuleSet> {
    let setup = fs::read("/etc/modsecurity/crs/crs-setup.conf").expect("Debian's setup file");
    let source = Overlay::over(folder).with("base.conf", rules::BASE).with("crs-setup.conf", setup);
    let files = ["base.conf", "crs-setup.conf", "rules/*.conf"].map(str::to_owned);
    let options = Options { profile: Profile::Stock, ..Options::default() };
    let (rules, _) = RuleSet::load(&source, &files, &options, &mut Library::default())
        .unwrap_or_else(|problems| panic!("{}", rules::told(&problems)));
    rules
}
