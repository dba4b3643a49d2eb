//! The demo keeps every promise that it makes, on a terminal, in a pipe and for machines, and leaves nothing behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tollgate_core::time::Clock;

/// Nothing may take longer than this, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

#[test]
fn every_verdict_of_the_tour_is_as_promised() {
    let mut demo = Demo::start("json", &["--once", "--json"]);
    let status = demo.ended();
    let text = demo.said();
    assert!(status.success(), "{status}: {text}{}", demo.complained());
    assert!(!text.contains('\x1b'), "colour codes for a machine");
    let document: Value = serde_json::from_str(&text).expect("one JSON document");
    assert_eq!(document["good"], true);
    assert_eq!(document["verdicts"], document["as_promised"]);
    let tour = document["tour"].as_array().expect("a list");
    let models: Vec<_> = tour.iter().map(|one| one["model"].as_str().expect("a name")).collect();
    assert_eq!(models, ["digits", "digits", "digits", "phishing", "phishing", "sentiment", "sentiment"]);
    let attacks = document["attacks"].as_array().expect("a list");
    assert!(attacks.len() >= 16, "{} attacks", attacks.len());
    for one in attacks.iter().chain(tour) {
        assert_eq!(one["as_promised"], true, "{one}");
        assert!(one["took_us"].as_u64() > Some(0), "{one}");
    }
    for attack in attacks {
        assert_eq!(attack["got"], attack["promised"], "{attack}");
    }
    let flood = &document["flood"];
    assert_eq!(flood["as_promised"], true, "{flood}");
    assert_eq!(flood["good_served"], flood["good_sent"], "{flood}");
    assert_eq!(flood["other"], 0, "{flood}");
    assert!(flood["evidence"].as_str().expect("evidence").contains("`flood_compute`"), "{flood}");
    demo.left_nothing();
}

#[test]
fn in_a_pipe_the_tour_is_plain_text_of_100_columns() {
    let mut demo = Demo::start("plain", &["--once"]);
    let status = demo.ended();
    let text = demo.said();
    assert!(status.success(), "{status}: {text}{}", demo.complained());
    assert!(text.is_ascii(), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    // A path is as long as it is, and stays in one piece to be copied.
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("config "));
    let widest = lines.max_by_key(|line| line.len()).unwrap_or_default();
    assert!(widest.len() <= 100, "{} columns: {widest}", widest.len());
    assert!(text.contains("@@"), "no digit was drawn: {text}");
    assert!(text.contains("request from other domain"), "{text}");
    assert!(!text.contains("NO "), "{text}");
    demo.left_nothing();
}

#[test]
fn after_the_tour_it_serves_until_it_is_told_to_stop_and_what_was_to_be_kept_is_kept() {
    let home = directory("kept-home");
    let kept = home.join("kept");
    let mut demo = Demo::start("kept", &["--keep", kept.to_str().expect("a path of letters")]);
    demo.until(|text| text.contains("Ctrl-C ends it"));
    kill_process(Pid::from_child(&demo.child), Signal::INT).expect("it runs");
    let status = demo.ended();
    assert!(status.success(), "{status}: {}", demo.complained());
    for name in ["tollgate.yaml", "ca.pem", "keys.yaml", "digit.json"] {
        assert!(kept.join(name).is_file(), "`{name}` is missing");
    }
    // The key that was shown is in no file.
    let text = demo.said();
    let key = text.split_once("export KEY=").and_then(|(_, rest)| rest.lines().next()).expect("a key to try");
    for file in kept.read_dir().expect("a directory") {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
    }
    demo.left_nothing();
    // A directory with anything in it is never written to.
    let mut again = Demo::start("again", &["--once", "--keep", kept.to_str().expect("a path of letters")]);
    assert_eq!(again.ended().code(), Some(69));
    assert!(again.complained().contains("is not empty"), "{}", again.complained());
    std::fs::remove_dir_all(home).expect("to clean up");
}

/// A running demo with a temporary directory of its own.
struct Demo {
    child: Child,
    home: PathBuf,
}

impl Demo {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let home = directory(name);
        let temporary = home.join("tmp");
        std::fs::create_dir(&temporary).expect("a directory");
        let file = |name: &str| Stdio::from(File::create(home.join(name)).expect("a file"));
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("the program starts");
        Self { child, home }
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        poll(|| {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("it does not end: {}{}", self.said(), self.complained()))
    }

    fn until(&mut self, so: impl Fn(&str) -> bool) {
        let mut over = None;
        poll(|| {
            over = self.child.try_wait().expect("a child of ours");
            over.is_some() || so(&self.said())
        });
        assert!(so(&self.said()) && over.is_none(), "{over:?}: {}{}", self.said(), self.complained());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.home.join("out")).expect("a file")
    }

    fn complained(&self) -> String {
        std::fs::read_to_string(self.home.join("err")).expect("a file")
    }

    fn left_nothing(&self) {
        let left: Vec<_> = self.home.join("tmp").read_dir().expect("a directory").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already, or a test has failed.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.home));
    }
}

fn poll(mut done: impl FnMut() -> bool) {
    let clock = Clock::real();
    let began = clock.now();
    while !done() && clock.now().since(began) < PATIENCE {
        std::thread::sleep(LOOK);
    }
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}-{}", std::process::id()));
    std::fs::create_dir(&path).expect("a new directory");
    path
}
