//! `tollgate cost` tells what was learned, of the gateway that runs and of one that has ended, and what it exports loads.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::gateway::{Scratch, Served};

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

fn predict(gateway: &Served) {
    let mut stream = TcpStream::connect(gateway.at("data")).expect("it accepts");
    let body = r#"{"features":[0,0,0,0,0,0,0,0,0]}"#;
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close", body.len());
    write!(stream, "POST /predict/fraud HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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
    let config = scratch.write("tollgate.yaml", CONFIG);
    let nothing = tollgate("cost show", &config).output().expect("it runs");
    assert_eq!(nothing.status.code(), Some(69), "nobody runs, and nothing was kept");
    let gateway = Served::start(&config, &[("ADMIN_KEY", KEY)]);
    for _ in 0..70 {
        predict(&gateway);
    }
    let admin = gateway.at("admin").to_string();
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
    let config = scratch.write("tollgate.yaml", &CONFIG.replace("models: { fraud: { upstream: fraud } }\n", &models));
    text(&tollgate("check", &config).output().expect("it runs"));
}
