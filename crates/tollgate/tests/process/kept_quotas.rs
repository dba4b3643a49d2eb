//! What was used of a calendar quota outlives the process, also one that is killed: no more than the last second is lost.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::gateway::{Scratch, Served};

const ENV: [(&str, &str); 1] = [("ADMIN_KEY", "0123456789abcdef0123456789abcdef")];

/// Requests that the month has.
const QUOTA: u32 = 20;

/// A model server that is not there: what counts is that the request was admitted.
const CONFIG: &str = r#"
version: 1
listeners:
  data: { bind: "127.0.0.1:0" }
  admin: { bind: "127.0.0.1:0", serves: admin }
admin: { key: "secret://env/ADMIN_KEY" }
runtime: { workers: 1 }
record: { access: "off" }
state: { directory: kept }
upstreams: { nobody: { endpoints: ["http://127.0.0.1:1"] } }
flood: { mode: "off" }
limits: { budgets: [{ name: month, per: global, unit: requests, quota: 20, calendar: month }] }
routes: [{ name: all, path: "/{*rest}", methods: [GET], auth: none, protocol: none, upstream: nobody }]
"#;

/// Asks until the month is spent; how many were admitted.
fn spend_the_rest(gateway: &Served) -> u32 {
    let asked = (0..=QUOTA).find(|_| gateway.get("data", "/x", None) == 429);
    asked.expect("the month ends")
}

fn ask(gateway: &Served, times: u32) {
    for _ in 0..times {
        let status = gateway.get("data", "/x", None);
        assert!([502, 503].contains(&status), "{status}");
    }
}

fn written(scratch: &Scratch) -> SystemTime {
    let about = std::fs::metadata(scratch.path().join("kept/quotas")).and_then(|about| about.modified());
    about.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Waits until what happened so far is surely in the file: twice, because a write may have been under way.
///
/// A write within the same tick of the kernel's clock as the marker is not told from an older one, and without another
/// request no other follows: then it is asked again. How often it was asked in all.
fn wait_for_the_disk(gateway: &Served, scratch: &Scratch) -> u32 {
    let mut asked = 0;
    for turn in 0..2 {
        let marker = scratch.path().join(format!("marker-{turn}"));
        let marked = File::create(marker).and_then(|file| file.metadata()).and_then(|about| about.modified());
        let marked = marked.expect("a file");
        let seen = |asked: &mut u32| {
            ask(gateway, 1);
            *asked += 1;
            gateway.comes_true(|| written(scratch) > marked)
        };
        assert!(seen(&mut asked) || seen(&mut asked), "the quota is not written");
    }
    asked
}

#[test]
fn a_gateway_that_is_killed_loses_at_most_the_last_second() {
    let scratch = Scratch::new("kept");
    let config = scratch.write("tollgate.yaml", CONFIG);
    let gateway = Served::start(&config, &ENV);
    ask(&gateway, 5);
    let all = 5 + wait_for_the_disk(&gateway, &scratch);
    // SIGKILL: nothing of it runs any more.
    drop(gateway);

    let gateway = Served::start(&config, &ENV);
    let left = spend_the_rest(&gateway);
    // The very last request may have been in the second that was lost.
    assert!([QUOTA - all, QUOTA - all + 1].contains(&left), "{left} of {QUOTA} after {all}");
    gateway.stop();

    // One that is asked to stop loses nothing.
    let gateway = Served::start(&config, &ENV);
    assert_eq!(gateway.get("data", "/x", None), 429);
    assert_eq!(gateway.metric("tollgate_state_write_failures_total", ENV[0].1), Some(0.0));
    gateway.reload();
    gateway.stop();
}

#[test]
fn numbers_of_requests_do_not_begin_anew_with_a_kept_seed() {
    let scratch = Scratch::new("numbers");
    let config = scratch.write("tollgate.yaml", CONFIG);
    let numbers = [(), ()].map(|()| {
        let gateway = Served::start(&config, &ENV);
        let answer = gateway.answer("data", "/x", None).to_ascii_lowercase();
        gateway.stop();
        let number = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ").map(str::to_owned));
        number.expect("each answer has its number")
    });
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn a_second_gateway_does_not_start_in_the_same_directory() {
    let scratch = Scratch::new("shared");
    let config = scratch.write("tollgate.yaml", CONFIG);
    let gateway = Served::start(&config, &ENV);
    let said = serve_and_fail(&config);
    assert!(said.contains("another gateway keeps its state there"), "{said}");
    gateway.stop();
}

#[test]
fn a_file_that_is_no_quota_log_is_neither_ignored_nor_overwritten() {
    let scratch = Scratch::new("strange");
    let config = scratch.write("tollgate.yaml", CONFIG);
    std::fs::create_dir(scratch.path().join("kept")).expect("a directory");
    scratch.write("kept/quotas", "a shopping list");
    let said = serve_and_fail(&config);
    assert!(said.contains("`quotas`: no quota log"), "{said}");
    assert_eq!(std::fs::read(scratch.path().join("kept/quotas")).expect("it is there"), b"a shopping list");
}

fn serve_and_fail(config: &Path) -> String {
    let mut serve = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = serve.args(["serve", "--config"]).arg(config).env_clear().envs(ENV).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
