//! What is wrong with a case file beyond its shape: located, and all at once.

use std::path::Path;

use tollgate_core::check::{Checker, Step as Place};
use tollgate_core::ruling::Code;
use tollgate_gateway::config::{Config, Places, Report, Serves, Sources, load};
use tollgate_gateway::start::StartError;

use super::case::{CaseFile, Expect, Protocol, Send, Step};
use super::{body, client, stub};

/// A file of cases that makes sense for its configuration.
pub(crate) struct Cases {
    /// The file.
    pub(crate) file: CaseFile,
    places: Places,
}

impl Cases {
    /// Reads a file.
    ///
    /// # Errors
    /// Every mistake of its shape.
    pub(crate) fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let loaded = load::<CaseFile>(path, &Sources::disk(env)).map_err(StartError::Config)?;
        Ok(Self { file: loaded.value, places: loaded.places })
    }

    /// Checks what the cases say against the configuration that they are about.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn check(&self, config: &Config) -> Result<(), StartError> {
        let mut check = Checker::default();
        check.within("cases", |check| {
            for (i, case) in self.file.cases.iter().enumerate() {
                check.within(i, |check| {
                    check.within("steps", |check| {
                        for (i, step) in case.steps.iter().enumerate() {
                            check.within(i, |check| check_step(step, config, check));
                        }
                    });
                });
            }
        });
        let (problems, _) = check.finish();
        if problems.is_empty() { Ok(()) } else { Err(StartError::Config(self.places.report(&problems))) }
    }

    /// The line of a case.
    pub(crate) fn line(&self, case: usize) -> u32 {
        let path = vec![Place::from("cases"), Place::from(case), Place::from("what")];
        let problem = tollgate_core::check::Problem { path, message: String::new(), hint: None, place: None };
        let report: Report = self.places.report(&[problem]);
        report.problems.first().map_or(1, |located| located.line)
    }
}

fn check_step(step: &Step, config: &Config, check: &mut Checker) {
    if let Some(caller) = &step.caller {
        let tenant = caller.key().tenant;
        if config.auth.keys.is_none() {
            check.problem_hint("as", "the configuration has no API keys", "it lacks `auth.keys`");
        } else if !config.tenants.contains_key(&tenant) {
            let names: Vec<_> = config.tenants.keys().map(|name| format!("`{name}`")).collect();
            check.problem_hint("as", format!("`{tenant}` is not a tenant"), format!("there are {}", names.join(", ")));
        }
    }
    check.within("send", |check| check_send(&step.send, config, check));
    check.within("expect", |check| check_expect(&step.expect, check));
    let twice = step.stub.json.is_some() && step.stub.text.is_some();
    check.within("stub", |check| {
        check.require(!twice, "text", "a body is either `json` or `text`");
        check.within("headers", |check| {
            for (name, values) in &step.stub.headers {
                check.require(stub::is_field(name, values), name.as_str(), format!("`{name}` is no header field"));
            }
        });
    });
}

fn check_send(send: &Send, config: &Config, check: &mut Checker) {
    if let Some(name) = &send.listener {
        let serves = config.listeners.get(name).map(|listener| listener.serves);
        check.require(serves.is_some(), "listener", format!("`{name}` is not a listener"));
        let spoken = serves != Some(Serves::Admin) || send.protocol == Protocol::H1;
        check.require(spoken, "protocol", "the admin listener speaks HTTP/1.1 only");
    }
    let bodies = [send.json.is_some(), send.text.is_some(), send.base64.is_some(), send.pieces.is_some()];
    let bodies = bodies.into_iter().filter(|given| *given).count();
    if bodies > 1 {
        check.problem_here("a body is one of `json`, `text`, `base64`, `pieces`");
    }
    check.require(bodies > 0 || !send.gzip, "gzip", "there is no body to compress");
    if send.raw.is_some() {
        let alone = bodies == 0 && send.headers.is_empty() && send.method.is_none() && send.path == "/";
        let alone = alone && send.protocol == Protocol::H1;
        check.require(alone, "raw", "`raw` is the whole request: nothing stands beside it");
    }
    check.within("headers", |check| {
        for (name, values) in &send.headers {
            check.require(!client::splits(values), name.as_str(), "a line break in a header field: use `raw`");
        }
    });
    let target = send.path.starts_with('/') || send.path == "*" || send.path.contains("://");
    check.require(target, "path", format!("`{}` does not begin with `/`", send.path));
    if let Err(why) = body::bytes(send, body::Most(0)) {
        check.problem("base64", why);
    }
}

fn check_expect(expect: &Expect, check: &mut Checker) {
    if let Some(code) = &expect.code {
        let known = Code::ALL.iter().any(|known| known.name() == code);
        if !known {
            let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
            check.problem_hint("code", format!("`{code}` is not a code"), format!("one of {}", names.join(", ")));
        }
    }
    let fits = expect.code.as_ref().zip(expect.status).is_none_or(|(code, status)| {
        Code::ALL.iter().find(|known| known.name() == code).is_none_or(|code| code.status() == status)
    });
    check.require(fits, "status", "no answer with this code has this status");
}
