//! What each provider gives, and what none of them takes.

use std::os::unix::fs::PermissionsExt as _;

use tollgate_core::check::Checker;
use tollgate_core::secret::SecretRef;
use tollgate_core::time::Clock;
use tollgate_testkit::Folder;

use super::{Opener, Secrets, SecretsConfig};
use crate::record::Redactor;

/// What `reference` opens to, or why not.
fn open(opener: &mut Opener<'_>, reference: &str) -> Result<String, String> {
    let mut check = Checker::default();
    let value = opener.open(&SecretRef(reference.to_owned()), "key", &mut check);
    match value {
        Some(value) => Ok(String::from_utf8_lossy(value.expose()).into_owned()),
        None => Err(check.finish().0.remove(0).message),
    }
}

fn configured(yaml: &str) -> SecretsConfig {
    serde_saphyr::from_str(yaml).expect("a section")
}

#[test]
fn a_file_is_a_file_that_nobody_else_can_read() {
    let folder = Folder::fresh();
    folder.write("good", "of-the-file\n");
    folder.write("loose", "of-the-file");
    std::fs::set_permissions(folder.join("loose"), PermissionsExt::from_mode(0o640)).expect("a mode");
    folder.write("large", vec![b'x'; 65_537]);
    folder.write("nul", "a\0b");
    folder.write("empty", "\n");
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut opener = Opener::new(folder.path(), &|_| None);
    assert_eq!(open(&mut opener, "secret://file/good"), Ok("of-the-file".to_owned()));
    for (name, why) in [
        ("loose", "can be read by others: `chmod 600` it"),
        ("large", "is larger than 64 KiB"),
        ("nul", "holds a NUL byte"),
        ("empty", "is empty"),
        ("pipe", "is no file"),
    ] {
        let reference = format!("secret://file/{name}");
        assert_eq!(open(&mut opener, &reference), Err(format!("`{reference}` {why}")));
    }
}

#[test]
fn a_credential_of_systemd_is_found_where_systemd_says() {
    let folder = Folder::fresh();
    folder.write("pepper", "of-systemd");
    // As an access list for the service shows.
    std::fs::set_permissions(folder.join("pepper"), PermissionsExt::from_mode(0o440)).expect("a mode");
    let directory = folder.path().display().to_string();
    let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone());
    let mut opener = Opener::new(folder.path(), &env);
    assert_eq!(open(&mut opener, "secret://systemd/pepper"), Ok("of-systemd".to_owned()));
    let none = open(&mut Opener::new(folder.path(), &|_| None), "secret://systemd/pepper");
    assert!(none.is_err_and(|why| why.contains("`CREDENTIALS_DIRECTORY` is not set")));
}

#[test]
fn a_command_runs_without_a_shell_and_with_the_chosen_environment_alone() {
    let folder = Folder::fresh();
    let env = |name: &str| Some(format!("value of {name}"));
    let mut opener = Opener::new(folder.path(), &env);
    let section = "exec:
  plain: { command: [/bin/echo, \"$HOME; of-the-command\"] }
  env: { command: [/usr/bin/env], env: [CHOSEN] }
  fails: { command: [/bin/false] }
  hangs: { command: [/bin/sleep, \"600\"], timeout: 50ms }
  missing: { command: [/no/such/program] }
";
    let mut check = Checker::default();
    opener.configure(&configured(section), &mut check);
    assert!(check.is_clean());
    assert_eq!(open(&mut opener, "secret://exec/plain"), Ok("$HOME; of-the-command".to_owned()));
    assert_eq!(open(&mut opener, "secret://exec/env"), Ok("CHOSEN=value of CHOSEN".to_owned()));
    for (name, why) in [
        ("fails", "failed: exit status: 1"),
        ("hangs", "took longer than `50ms`"),
        ("missing", "cannot be run: No such file or directory (os error 2)"),
        ("unnamed", "is not one of `secrets.exec`"),
    ] {
        let reference = format!("secret://exec/{name}");
        assert_eq!(open(&mut opener, &reference), Err(format!("`{reference}` {why}")));
    }
}

#[test]
fn a_command_runs_once_and_not_at_a_reload() {
    let folder = Folder::fresh();
    let section = configured("exec: { a: { command: [/bin/date, \"+%N\"] }, b: { command: [/bin/date] } }");
    let (secrets, redactor) = (Secrets::new(Clock::driven()), Redactor::default());
    let mut check = Checker::default();
    let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
    opener.configure(&section, &mut check);
    let first = open(&mut opener, "secret://exec/a").expect("it runs");
    assert_eq!(open(&mut opener, "secret://exec/a").as_ref(), Ok(&first));
    secrets.adopt(opener.opened(), &redactor);
    let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
    opener.configure(&section, &mut check);
    assert_eq!(open(&mut opener, "secret://exec/a"), Ok(first.clone()));
    let late = open(&mut opener, "secret://exec/b").expect_err("the gateway has started");
    assert!(late.contains("is run when the gateway starts: restart it"), "{late}");
    assert_eq!(redactor.clean(&first), "[redacted]");
}

#[test]
fn a_changed_value_is_told_and_the_old_one_is_good_for_the_grace() {
    let folder = Folder::fresh();
    folder.write("pepper", "the first value");
    let clock = Clock::driven();
    let (secrets, redactor) = (Secrets::new(clock.clone()), Redactor::default());
    let changes = secrets.changes();
    let reference = SecretRef("secret://file/pepper".to_owned());
    let compile = || {
        let mut opener = Opener::new(folder.path(), &|_| None).beside(&secrets);
        opener.configure(&configured("grace: 1h"), &mut Checker::default());
        let value = open(&mut opener, &reference.0).expect("a value");
        let before = opener.before(&reference).map(|value| String::from_utf8_lossy(value.expose()).into_owned());
        secrets.adopt(opener.opened(), &redactor);
        (value, before)
    };
    assert_eq!(compile(), ("the first value".to_owned(), None));
    secrets.look();
    assert_eq!(changes.has_changed().ok(), Some(false));
    folder.write("pepper", "the second value");
    secrets.look();
    assert_eq!(changes.has_changed().ok(), Some(true));
    let both = ("the second value".to_owned(), Some("the first value".to_owned()));
    assert_eq!(compile(), both);
    assert_eq!(compile(), both, "another compilation within the grace");
    clock.advance(std::time::Duration::from_hours(1));
    let mut changes = secrets.changes();
    changes.mark_unchanged();
    secrets.look();
    assert_eq!(changes.has_changed().ok(), Some(true), "the end of the grace is a change");
    assert_eq!(compile(), ("the second value".to_owned(), None));
    assert_eq!(redactor.clean("the first value, the second value"), "[redacted], [redacted]");
    // What cannot be read is no change: the last good value serves.
    std::fs::remove_file(folder.join("pepper")).expect("a file");
    changes.mark_unchanged();
    secrets.look();
    assert_eq!(changes.has_changed().ok(), Some(false));
}
