//! The regression tests of the Core Rule Set over the socket, against `examples/crs-conformance/tollgate.yaml` as it is:
//! requests are sent byte for byte, and what the rules found is read from the gateway's log. The rules are not in our
//! repository; where there are none, the test says `not run`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tollgate_conformance::cases::{self, Case, Overrides, Polarity};
use tollgate_conformance::folder::{Folder, is_ci};
use tollgate_conformance::front::Request;
use tollgate_conformance::reflect::Reply;
use tollgate_conformance::{judge, wire};
use tollgate_layers::waf::{Matched, Tally};
use tollgate_testkit::Folder as Scratch;

/// Most tests whose expectation is replaced, because an HTTP front must not do what they expect.
const MOST_OVERRIDES: usize = 15;
/// How long an answer, or a line of the log, may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/crs-conformance").join(name)
}

#[test]
fn the_core_rule_set_passes_its_own_tests_over_the_socket() {
    let (folder, tests) = match Folder::find().map(|folder| (folder.tests(), folder)) {
        Ok((Some(tests), folder)) => (folder, tests),
        Ok((None, _)) => return not_run("the Core Rule Set came without its tests"),
        Err(why) => return not_run(&why),
    };
    let mut corpus = cases::load(&tests).expect("the tests");
    let overrides = std::fs::read_to_string(example("overrides.yaml")).expect("the overrides");
    let overrides: Overrides = cases::yaml(&overrides).expect("the overrides");
    assert!(overrides.apply(&mut corpus) <= MOST_OVERRIDES);
    let gateway = Gateway::start(&folder, reflector());
    let mut log = Log { path: gateway.scratch.join("waf.jsonl"), seen: 0, lines: HashMap::new() };
    let mut failed: BTreeMap<&str, String> = BTreeMap::new();
    for case in &corpus {
        if let Err(why) = judged(case, gateway.at, &mut log) {
            failed.insert(&case.name, why);
        }
    }
    report(&corpus, &failed);
}

#[expect(clippy::print_stdout, reason = "says what was not run")]
fn not_run(why: &str) {
    println!("not run: {why}");
    assert!(!is_ci(), "{why}");
}

fn judged(case: &Case, at: SocketAddr, log: &mut Log) -> Result<(), String> {
    for (number, stage) in case.stages.iter().enumerate() {
        let id = format!("{}-{number}", case.name);
        let status = exchange(at, &wire::request(&stage.input, &id));
        let tally = log.of(&id);
        let outcome = status.and_then(|status| Some((status, tally.as_ref()?)));
        judge::stage(&stage.output, outcome).map_err(|why| format!("stage {number}: {why}"))?;
    }
    Ok(())
}

/// Sends bytes and reads the status of the answer; `None` where there is none.
fn exchange(at: SocketAddr, raw: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(at).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    // Refused early, the rest may find nobody: the answer may be there all the same.
    drop(stream.write_all(raw));
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).ok()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok();
    // The line of the log is written when the answer is over, and an answer that nobody reads is cut.
    let mut length = 0;
    loop {
        line.clear();
        if answer.read_line(&mut line).ok()? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    drop(std::io::copy(&mut answer.take(length), &mut std::io::sink()));
    status
}

/// The log of the rules, as far as it was read.
struct Log {
    path: PathBuf,
    seen: usize,
    lines: HashMap<String, Tally>,
}

#[derive(Deserialize)]
struct Line {
    request_id: Option<String>,
    rule_ids: Vec<u64>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    id: u64,
    msg: String,
    data: String,
}

impl Log {
    /// What the rules found of a request; waits for its line.
    fn of(&mut self, id: &str) -> Option<Tally> {
        for _ in 0..PATIENCE.as_millis() {
            self.read();
            if let Some(tally) = self.lines.remove(id) {
                return Some(tally);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn read(&mut self) {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let fresh = text.get(self.seen..).unwrap_or_default();
        let whole = fresh.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in fresh.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
        {
            let line: Line = serde_json::from_slice(line).expect("a line is JSON");
            assert_eq!(line.rule_ids.len(), line.messages.len());
            let id = line.request_id.unwrap_or_default();
            let matched = line.messages.into_iter().map(matched).collect();
            let other = self.lines.insert(id.clone(), Tally { matched, ..Tally::default() });
            assert!(other.is_none() || id.is_empty(), "`{id}` has two lines");
        }
        self.seen += whole;
    }
}

fn matched(message: Message) -> Matched {
    Matched {
        id: message.id,
        phase: 0,
        severity: None,
        log: true,
        msg: message.msg.into_bytes(),
        data: message.data.into_bytes(),
        variable: Vec::new(),
        spared: false,
    }
}

/// Prints the rates, lists the failures, and holds the number that pass to the one that is pinned.
#[expect(clippy::print_stdout, reason = "rates and failures are what a run is for")]
fn report(corpus: &[Case], failed: &BTreeMap<&str, String>) {
    for polarity in [Polarity::Positive, Polarity::Negative, Polarity::StatusOnly] {
        let all: Vec<_> = corpus.iter().filter(|case| case.polarity() == polarity).collect();
        let passed = all.iter().filter(|case| !failed.contains_key(case.name.as_str())).count();
        println!("crs: over the socket, {polarity:?}: {passed} of {}", all.len());
    }
    for (name, why) in failed {
        println!("FAIL {name}: {why}");
    }
    let (passed, all) = (corpus.len() - failed.len(), corpus.len());
    let pinned = std::fs::read_to_string(example("pass-count")).expect("the pinned count");
    if pinned.trim().ends_with(&format!(" of {all}")) {
        assert_eq!(format!("{passed} of {all}"), pinned.trim(), "`pass-count` may only grow");
    } else {
        println!("the pinned count, {}, is of another version of the tests", pinned.trim());
        assert!(passed * 1000 >= all * 995, "{passed} of {all} pass");
    }
}

/// The program, serving the example; killed when dropped.
struct Gateway {
    child: Child,
    at: SocketAddr,
    scratch: Scratch,
    /// Held open, so that what the gateway says has a reader.
    _said: std::thread::JoinHandle<()>,
}

impl Gateway {
    fn start(folder: &Folder, upstream: SocketAddr) -> Self {
        let scratch = Scratch::fresh();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        serve.args(["serve", "--config"]).arg(example("tollgate.yaml")).env_clear();
        serve.env("TOLLGATE_LISTEN", "127.0.0.1:0").env("TOLLGATE_UPSTREAM", format!("http://{upstream}"));
        serve.env("TOLLGATE_CRS_DIR", std::path::absolute(folder.path()).expect("a path"));
        serve.env("TOLLGATE_CRS_LOG", scratch.join("waf.jsonl"));
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("listens on") {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "it does not serve");
        }
        let at = line.rsplit(' ').next().expect("an address").trim().parse().expect("an address");
        let said = std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
        Self { child, at, scratch, _said: said }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The server behind the gateway, until the test ends.
fn reflector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || reflect(stream));
        }
    });
    at
}

fn reflect(mut stream: TcpStream) {
    drop(stream.set_nodelay(true));
    let mut held = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        while let Some(end) = whole(&held) {
            let raw: Vec<u8> = held.drain(..end).collect();
            let Some(request) = Request::read(&raw) else { return };
            let reply = Reply::to(&request);
            let mut answer = format!("HTTP/1.1 {} X\r\n", reply.status).into_bytes();
            for (name, value) in &reply.headers {
                answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            answer.extend_from_slice(b"\r\n");
            if request.method != b"HEAD" {
                answer.extend_from_slice(&reply.body);
            }
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => held.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

/// Where the first request ends; the gateway frames bodies by their length, whatever the client did.
fn whole(held: &[u8]) -> Option<usize> {
    let head = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(head + length.unwrap_or(0)).filter(|end| *end <= held.len())
}
