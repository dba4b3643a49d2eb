//! Any bytes as configuration files: `\x1f` ends a file, and the others can be included by the first.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use tollgate_gateway::config::{Config, Sources, load};

const NAMES: [&str; 3] = ["tollgate.yaml", "a.yaml", "b.yaml"];

/// A file loads, or every mistake has a place within a file that was read.
pub(crate) fn run(data: &[u8]) {
    let files: BTreeMap<&str, &[u8]> = NAMES.into_iter().zip(data.split(|byte| *byte == 0x1f)).collect();
    let of = |path: &Path| path.file_name().and_then(|name| files.get(name.to_str()?)).copied();
    let read = |path: &Path| of(path).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::NotFound.into());
    let list = |_: &Path| Ok(files.keys().map(|name| (*name).to_owned()).collect());
    let env = |name: &str| match name {
        "PORT" => Some("8443".to_owned()),
        "EMPTY" => Some(String::new()),
        "HOSTILE" => Some("x: [&a *a, \n- !!t {".to_owned()),
        _ => None,
    };
    let sources = Sources { read: &read, list: &list, env: &env };
    let again = || load::<Config>(Path::new(NAMES[0]), &sources);
    match again() {
        Ok(loaded) => {
            let second = again().expect("what loaded once loads again");
            assert_eq!(loaded.fingerprint, second.fingerprint, "the fingerprint is of the files alone");
        }
        Err(report) => {
            assert!(!report.problems.is_empty(), "a refusal names a mistake");
            for problem in &report.problems {
                let lines = of(&problem.file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
                // A mistake at the end may stand behind the last line end; `\r` ends lines as well.
                let returns = of(&problem.file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\r').count());
                assert!(problem.line >= 1 && problem.column >= 1, "a place is counted from 1");
                assert!(problem.line as usize <= lines + returns + 2, "a place is within its file");
                assert!(!problem.message.is_empty(), "a mistake says what is wrong");
            }
            assert!(!report.to_string().is_empty());
        }
    }
}
