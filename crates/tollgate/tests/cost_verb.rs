//! `tollgate cost` tells what was learned, of the gateway that runs and of one that has ended, and what it exports loads.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const KEY: &str = "0123456789abcdef0123456789abcdef";

const CONFIG: &str = r#"
version: 1
listeners:
  data: { bind: "127.0.0.1:0" }
  admin: { bind: "127.0.0.1:0", serves: admin }
admin: { key: "secret://env/ADMIN_KEY" }
runtime: { workers: 1 }
record: { access: "off" }
state: { directory: kept }
upstreams: { fraud: { embedded: fraud_mlp } }
models: { fraud: { upstream: fraud } }
routes: [{ name: predict, path: "/predict/{model}", protocol: plain, models: [fraud], auth: none }]
"#;

/// A directory of its own for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.0.join("tollgate.yaml");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A gateway that serves; killed when dropped.
struct Served {
    child: Child,
    at: BTreeMap<String, SocketAddr>,
}

impl Served {
    fn start(config: &Path) -> Self {
        let mut child = tollgate("serve", config).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let (mut at, mut line) = (BTreeMap::new(), String::new());
        while at.len() < 2 && said.read_line(&mut line).expect("it speaks") > 0 {
            if let Some((name, address)) = line.split_once("` listens on ") {
                let name = name.rsplit('`').next().expect("a name").to_owned();
                at.insert(name, address.trim().parse().expect("an address"));
            }
            line.clear();
        }
        std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
        Self { child, at }
    }

    fn predict(&self) {
        let mut stream = TcpStream::connect(self.at["data"]).expect("it accepts");
        let body = r#"{"features":[0,0,0,0,0,0,0,0,0]}"#;
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close", body.len());
        write!(stream, "POST /predict/fraud HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("a living process");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn tollgate(verb: &str, config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(verb.split(' ')).arg("--config").arg(config);
    command.env_clear().env("ADMIN_KEY", KEY).stdout(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn what_was_learned_is_shown_of_a_gateway_that_runs_and_of_one_that_has_ended_and_is_a_prior() {
    let scratch = Scratch::new("cost-verb");
    let config = scratch.write(CONFIG);
    let nothing = tollgate("cost show", &config).output().expect("it runs");
    assert_eq!(nothing.status.code(), Some(69), "nobody runs, and nothing was kept");
    let gateway = Served::start(&config);
    for _ in 0..70 {
        gateway.predict();
    }
    let admin = gateway.at["admin"].to_string();
    let running = text(&tollgate("cost show", &config).args(["--admin", &admin]).output().expect("it runs"));
    assert!(running.contains("fraud at fraud: 70 calls") || running.contains("fraud at fraud: 69 calls"), "{running}");
    assert!(running.contains("for every call") && running.contains("runs now"), "{running}");
    let mut wrong = tollgate("cost show", &config);
    wrong.args(["--admin", &admin]).env("ADMIN_KEY", "another key, long enough");
    assert_eq!(wrong.output().expect("it runs").status.code(), Some(69));
    gateway.stop();
    let kept = text(&tollgate("cost show", &config).output().expect("it runs"));
    assert!(kept.contains("fraud at fraud: ") && kept.contains("no gateway runs"), "{kept}");
    let json: serde_json::Value =
        serde_json::from_str(&text(&tollgate("cost show --json", &config).output().expect("it runs"))).expect("JSON");
    assert_eq!(json["costs"][0]["model"], "fraud");
    let exported = text(&tollgate("cost export", &config).output().expect("it runs"));
    let prior = exported.lines().skip_while(|line| !line.contains("cost:")).map(|line| format!("{line}\n"));
    let models = format!("models:\n  fraud:\n    upstream: fraud\n{}", prior.collect::<String>());
    let config = scratch.write(&CONFIG.replace("models: { fraud: { upstream: fraud } }\n", &models));
    text(&tollgate("check", &config).output().expect("it runs"));
}
