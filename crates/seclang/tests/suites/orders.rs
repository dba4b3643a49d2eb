//! The pack and the Core Rule Set decide alike, whichever comes first.

use seclang::{Library, Options, Scratch};
use tollgate_conformance::exchange;
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::judge;
use tollgate_conformance::rules::{self, Overlay};

use crate::{built, folder};

/// Stands for the files of the pack.
const PACK: &str = "pack";
const SETUP: &str = "crs-setup.conf.example";
/// Up to the evaluation of the inbound score, and from there.
const RULES: [&str; 8] = ["90", "91", "92", "93", "941", "942", "943", "944"];
const EVALUATION: [&str; 3] = ["rules/REQUEST-949*.conf", "rules/REQUEST-999*.conf", "rules/RESPONSE-*.conf"];

/// What is sent, and whether it is refused at the thresholds 5 and 10.
const REQUESTS: [(&str, &str, &str, [bool; 2]); 7] = [
    ("nothing", "POST /predict", "{\"features\":[1.5,2]}", [false, false]),
    ("the pack 5, head", "POST /v2/repository/index", "{}", [true, false]),
    ("the pack 5, body", "POST /x", "{\"api_base\":\"https://evil.test\"}", [true, false]),
    ("the Core Rule Set 5", "GET /x/.git/config", "", [true, false]),
    ("5 in the head and 5", "POST /v2/repository/.git/config", "{}", [true, true]),
    ("5 in the body and 5", "POST /.git/config", "{\"api_base\":\"https://evil.test\"}", [true, true]),
    ("the pack 10", "POST /v2/repository/index", "{\"api_base\":\"https://evil.test\"}", [true, true]),
];

#[test]
fn the_pack_and_the_core_rule_set_decide_alike_in_every_order() {
    let Some(folder) = folder() else { return };
    let rules = RULES.map(|family| format!("rules/REQUEST-{family}*.conf"));
    let rules = rules.iter().map(String::as_str);
    let orders: [(&str, Vec<&str>); 4] = [
        ("first", [PACK, SETUP].into_iter().chain(rules.clone()).chain(EVALUATION).collect()),
        ("behind the setup", [SETUP, PACK].into_iter().chain(rules.clone()).chain(EVALUATION).collect()),
        ("before the evaluation", [SETUP].into_iter().chain(rules.clone()).chain([PACK]).chain(EVALUATION).collect()),
        ("last", [SETUP].into_iter().chain(rules).chain(EVALUATION).chain([PACK]).collect()),
    ];
    let (mut library, mut wrong) = (Library::default(), Vec::new());
    for (order, files) in &orders {
        for early in [0, 1] {
            for (at, threshold) in [5, 10].into_iter().enumerate() {
                let found = decide(
                    &folder,
                    files,
                    &format!(
                        "setvar:tx.ml_early_blocking={early},setvar:tx.inbound_anomaly_score_threshold={threshold}"
                    ),
                    &mut library,
                );
                let want = REQUESTS.iter().map(|(.., refused)| refused[at]);
                wrong.extend(
                    found
                        .into_iter()
                        .zip(want)
                        .filter(|((refused, _), want)| refused != want)
                        .map(|((_, told), _)| format!("pack {order}, early {early}, threshold {threshold}: {told}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// For each request whether it was refused, and by what.
fn decide(folder: &Folder, files: &[&str], setting: &str, library: &mut Library) -> Vec<(bool, String)> {
    let overlay = Overlay::over(folder).with("base.conf", rules::BASE);
    let overlay = overlay.with("setting.conf", format!("SecAction \"id:1,phase:1,pass,nolog,{setting}\""));
    let (overlay, pack) = rules::with_pack(overlay).expect("the pack");
    let mut all = vec!["base.conf".to_owned(), "setting.conf".to_owned()];
    for name in files {
        if *name == PACK { all.extend(pack.clone()) } else { all.push((*name).to_owned()) }
    }
    let files = all;
    let rules = built(&overlay, &files, &Options::default(), library);
    let mut scratch = Scratch::default();
    let mut told = Vec::new();
    for (name, line, body, _) in REQUESTS {
        let head = "Host: model.example\r\nUser-Agent: suite/1\r\nAccept: */*\r\nContent-Type: application/json";
        let text = format!("{line} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let request = Request::read(text.as_bytes()).expect("a request");
        let outcome = exchange::run(&rules, exchange::facts(false), &request, &mut scratch);
        told.push((outcome.status == 403, format!("{name}: {} by {:?}", outcome.status, judge::ids(&outcome.tally))));
    }
    told
}
