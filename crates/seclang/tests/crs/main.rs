//! The Core Rule Set's own regression tests against the engine, without a socket: the same requests, expectations and
//! verdicts as over a socket (`ftw.py`). The rules are not in our repository; without them the tests say `not run`.
#![expect(clippy::print_stdout, reason = "the tests say how many passed, and what was not run")]

mod debian;
mod regression;

use tollgate_conformance::folder::{Folder, is_ci};

/// The Core Rule Set of this machine. Where there is none, CI fails and others read why nothing was run.
fn folder() -> Option<Folder> {
    match Folder::find() {
        Ok(folder) => Some(folder),
        Err(why) => {
            assert!(!is_ci(), "{why}");
            println!("not run: {why}");
            None
        }
    }
}
