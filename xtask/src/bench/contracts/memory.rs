//! What one large body costs the gateway in memory, from its first byte to the answer: the highest that its resident set
//! came to, less what it was before, beside the bytes of the body.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::super::process::{Core, Running, free_port, pinned};

/// Gateways that are asked, one after the other.
const TIMES: usize = 3;
/// Floats of a row.
const ROW: usize = 1_000;

/// A kind of body, and how many times itself it cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) what: &'static str,
    pub(super) bytes: usize,
    /// The worst of several.
    pub(super) times: f64,
}

pub(super) fn measure(mock: &Path, tollgate: &Path, folder: &Path) -> anyhow::Result<Vec<Held>> {
    let bodies = [("OIP JSON, 17 digits a float", json()), ("OIP binary tensor", binary())];
    let mut held = Vec::new();
    for (what, body) in bodies {
        let mut times = 0.0_f64;
        for _ in 0..TIMES {
            times = times.max(once(mock, tollgate, folder, &body)?);
        }
        held.push(Held { what, bytes: body.bytes.len(), times });
    }
    Ok(held)
}

struct Body {
    bytes: Vec<u8>,
    json: Option<usize>,
}

fn json() -> Body {
    let mut data = String::new();
    for at in 0..400 * ROW {
        let comma = if at == 0 { "" } else { ", " };
        // Seventeen digits, as Python writes a single.
        let _ = write!(
            data,
            "{comma}0.{:017}",
            (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 99_999_999_999_999_999
        );
    }
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[400,{ROW}],"datatype":"FP32","data":[{data}]}}]}}"#);
    Body { bytes: body.into_bytes(), json: None }
}

fn binary() -> Body {
    let size = 2_000 * ROW * 4;
    let head = format!(
        r#"{{"inputs":[{{"name":"x","shape":[2000,{ROW}],"datatype":"FP32","parameters":{{"binary_data_size":{size}}}}}]}}"#
    );
    let mut bytes = head.clone().into_bytes();
    bytes.extend(std::iter::repeat_n(0.5_f32.to_le_bytes(), 2_000 * ROW).flatten());
    Body { bytes, json: Some(head.len()) }
}

fn once(mock: &Path, tollgate: &Path, folder: &Path, body: &Body) -> anyhow::Result<f64> {
    let mut command = pinned(Core::Load, mock);
    command.stdout(Stdio::piped());
    let mut mock = Running::start("mock", command, folder)?;
    let (port, upstream) = (free_port()?, mock.first_line()?);
    let file = folder.join("memory.yaml");
    std::fs::write(&file, CONFIG.replace("@PORT@", &port.to_string()).replace("@MOCK@", &upstream))?;
    let mut command = pinned(Core::Gateway, tollgate);
    command.args(["serve", "--config"]).arg(&file).stdout(Stdio::null());
    let mut gateway = Running::start("memory", command, folder)?;
    gateway.listening(port)?;
    let pid = *gateway.pids().first().context("no process")?;
    for _ in 0..20 {
        send(port, &Body { bytes: SMALL.into(), json: None })?;
    }
    // Forgets the highest mark so far.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let before = status_kb(pid, "VmRSS:")?;
    send(port, body)?;
    let most = status_kb(pid, "VmHWM:")?;
    Ok((most - before) * 1024.0 / body.bytes.len() as f64)
}

fn send(port: u16, body: &Body) -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is a client")]
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.bytes.len();
    let framing = body.json.map_or_else(String::new, |json| format!("inference-header-content-length: {json}\r\n"));
    let head = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nhost: bench.test\r\nconnection: close\r\n{framing}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body.bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn status_kb(pid: u32, row: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(row)).context("a status of another form")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

const SMALL: &[u8] = br#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.5]}]}"#;

const CONFIG: &str = r#"version: 1
runtime: { workers: 1 }
listeners: { plain: { bind: "127.0.0.1:@PORT@" } }
upstreams: { mock: { endpoints: ["http://127.0.0.1:@MOCK@"] } }
models:
  m:
    upstream: mock
    contract:
      batch: { max: 4096 }
      inputs: [{ name: x, dtype: FP32, shape: [batch, features], range: [-10, 10] }]
routes:
  - { name: infer, path: "/v2/models/{model}/infer", protocol: oip, models: [m], auth: none, max_body_bytes: 16777216 }
memory: { bodies: 64MiB }
record: { access: "off" }
"#;
