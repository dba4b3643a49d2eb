//! The corpus of requests through `parse` and `contract`: what is malformed is refused with its code and the place of its
//! first mistake, what is valid passes, and what the model would be sent is as it says.

use std::collections::BTreeMap;

use tollgate_core::call::Call;
use tollgate_core::ruling::{Refusal, Spot};

use judge::Judge;
use reading::{Case, File, Request};

#[path = "corpus/judge.rs"]
mod judge;
#[path = "corpus/mutants.rs"]
mod mutants;
#[path = "../corpus/reading.rs"]
mod reading;

/// What is not as it was said of a refused request.
fn wrongly_refused(case: &Case, request: &Request, verdict: &Result<Call, Refusal>) -> Option<String> {
    let Err(refusal) = verdict else { return Some("it was taken".to_owned()) };
    if refusal.code.name() != case.code {
        return Some(format!("{refusal:?}"));
    }
    let Some(spot) = refusal.spot.as_deref() else {
        // What is refused by its head alone has no place in the body.
        return (case.at.is_some() || matches!(&*case.code, "bad_request" | "invalid_call") && request.byte.is_some())
            .then(|| format!("no place: {refusal:?}"));
    };
    let Spot { pointer, index, found, .. } = spot;
    let byte = request.byte.map(|byte| format!("something else at byte {byte}"));
    let right = case.at.as_ref().is_none_or(|at| at == pointer)
        && (case.at.is_some() || request.byte.is_some())
        && *index == case.index
        && byte.is_none_or(|byte| byte == *found);
    (!right).then(|| format!("{spot:?}"))
}

/// What is not as it was said of a valid request.
fn wrongly_taken(file: &File, case: &Case, request: &Request, verdict: &Result<Call, Refusal>) -> Option<String> {
    let call = match verdict {
        Ok(call) => call,
        Err(refusal) => return Some(format!("{refusal:?}")),
    };
    let sent = judge::edited(&request.body, &call.edits);
    (sent != file.forwarded(case)).then(|| format!("the model is sent {:?}", String::from_utf8_lossy(&sent)))
}

#[test]
fn what_is_malformed_is_refused_with_the_place_of_its_first_mistake_and_what_is_valid_is_taken() {
    let (mut refused, mut taken) = (0, 0);
    let mut wrong = Vec::new();
    for (name, file) in reading::corpus() {
        let judge = Judge::new(&name, &file);
        for case in &file.refused {
            let request = file.request(case);
            let verdict = judge.judge(&request);
            wrong.extend(
                wrongly_refused(case, &request, &verdict).map(|why| format!("{}: {}: {why}", file.what, case.it)),
            );
            refused += 1;
        }
        for case in &file.taken {
            let request = file.request(case);
            let verdict = judge.judge(&request);
            let why = wrongly_taken(&file, case, &request, &verdict);
            wrong.extend(why.map(|why| format!("{}: {}: {why}", file.what, case.it)));
            taken += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), refused + taken, wrong.join("\n"));
    assert!(refused >= 400 && taken >= 200, "{refused} refused, {taken} taken");
}

#[test]
fn no_request_stands_twice_in_the_corpus() {
    for (name, file) in reading::corpus() {
        let mut seen = BTreeMap::new();
        for case in file.refused.iter().chain(&file.taken) {
            let Request { path, headers, body, .. } = file.request(case);
            if let Some(earlier) = seen.insert((path, headers, body), &case.it) {
                panic!("{name}: `{}` is `{earlier}` again", case.it);
            }
        }
    }
}
