//! What stands while the proxy benchmark runs: a folder with configurations, the mock model server, and the gateways.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;

use super::build::Nginx;
use super::cells::{Cell, Stages, Transport};
use super::process::{Core, Running, free_port, pinned};

/// Bytes of every answer.
pub(super) const REPLY_BYTES: u64 = 400;
/// Where every request goes.
pub(super) const PATH: &str = "/v2/models/m/infer";
const HOST: &str = "bench.test";

/// The programs that are used.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) nginx: Nginx,
    pub(super) load: PathBuf,
    pub(super) mock: PathBuf,
    pub(super) fixtures: PathBuf,
    /// `None` compares nginx with itself.
    pub(super) tollgate: Option<PathBuf>,
}

/// Everything that runs. The gateways end before the mock does, and the folder goes last.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) peer: Gateway,
    pub(super) bare: Gateway,
    pub(super) all: Gateway,
    pub(super) mock: u16,
    _mock: Running,
    pub(super) folder: Folder,
}

/// A gateway with its two listeners.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
    plain: u16,
    tls: u16,
}

/// A folder that is removed at the end.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Scene {
    pub(super) fn set(programs: &Programs, keep: bool) -> anyhow::Result<Self> {
        let folder = Folder::make(keep)?;
        let dir = folder.path();
        let made = Command::new(&programs.fixtures).args(["--host", HOST, "--dir"]).arg(dir).status()?;
        ensure!(made.success(), "the fixtures could not be written");
        let mut command = pinned(Core::Load, &programs.mock);
        command.args(["--reply-bytes", &REPLY_BYTES.to_string()]).stdout(Stdio::piped());
        let mut mock = Running::start("mock", command, dir)?;
        let port: u16 = mock.first_line()?.parse()?;
        let peer = Gateway::nginx("nginx", &programs.nginx, dir, port)?;
        let ours = |name: &'static str, config: &str| match &programs.tollgate {
            Some(program) => Gateway::tollgate(name, (program, config), dir, port),
            None => Gateway::nginx(name, &programs.nginx, dir, port),
        };
        let bare = ours("bare", BARE)?;
        let all = ours("all", ALL)?;
        Ok(Self { peer, bare, all, mock: port, _mock: mock, folder })
    }

    /// The side of ours that a cell measures.
    pub(super) const fn ours(&self, cell: Cell) -> &Gateway {
        match cell.stages {
            Stages::All => &self.all,
            Stages::Bare => &self.bare,
        }
    }

    /// Empties the access log: a round writes tens of megabytes. It is opened for appending, so nothing else is needed.
    pub(super) fn truncate_log(&self) -> anyhow::Result<()> {
        let log = self.folder.path().join("access.log");
        if log.exists() {
            std::fs::OpenOptions::new().write(true).open(log)?.set_len(0)?;
        }
        Ok(())
    }
}

impl Gateway {
    fn nginx(name: &'static str, nginx: &Nginx, dir: &Path, upstream: u16) -> anyhow::Result<Self> {
        let (plain, tls) = (free_port()?, free_port()?);
        let config = nginx_config(name, nginx, (plain, tls), upstream);
        let file = dir.join(format!("{name}.conf"));
        std::fs::write(&file, config)?;
        let mut command = pinned(Core::Gateway, Path::new(nginx.program));
        command.arg("-p").arg(dir).arg("-c").arg(file).arg("-e").arg(dir.join(format!("{name}-error.log")));
        command.stdout(Stdio::null());
        Self::listening(Running::start(name, command, dir)?, plain, tls)
    }

    fn tollgate(
        name: &'static str,
        (program, config): (&Path, &str),
        dir: &Path,
        upstream: u16,
    ) -> anyhow::Result<Self> {
        let (plain, tls) = (free_port()?, free_port()?);
        let ports = [("PLAIN", plain), ("TLS", tls), ("MOCK", upstream)];
        let fill = |text: String, (word, port): &(&str, u16)| text.replace(&format!("@{word}@"), &port.to_string());
        let file = dir.join(format!("{name}.yaml"));
        std::fs::write(&file, ports.iter().fold(format!("{COMMON}{config}"), fill))?;
        let mut command = pinned(Core::Gateway, program);
        command.args(["serve", "--config"]).arg(file).stdout(Stdio::null());
        Self::listening(Running::start(name, command, dir)?, plain, tls)
    }

    fn listening(mut running: Running, plain: u16, tls: u16) -> anyhow::Result<Self> {
        running.listening(plain)?;
        running.listening(tls)?;
        Ok(Self { running, plain, tls })
    }

    pub(super) const fn port(&self, transport: Transport) -> u16 {
        match transport {
            Transport::Plain => self.plain,
            Transport::TlsH1 | Transport::TlsH2 => self.tls,
        }
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.running.pids()
    }

    /// Megabytes that its processes hold: each shared page divided among those that share it.
    pub(super) fn pss_mb(&self) -> f64 {
        let pss = |pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().trim_end_matches(" kB").parse::<f64>().ok()
        };
        self.pids().into_iter().filter_map(pss).sum::<f64>() / 1024.0
    }

    /// Megabytes that its first process holds, shared pages counted whole.
    pub(super) fn rss_mb(&self) -> f64 {
        let status = self.pids().first().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")));
        let status = status.and_then(Result::ok).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
    }
}

impl Folder {
    pub(super) fn make(keep: bool) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies in the folder for temporary things.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// nginx as a plain proxy that reads whole bodies first, as it does by default. Connections live as long as the run;
/// a body of 1 MB stays in memory, which costs nginx less than its default of a file.
fn nginx_config(name: &str, nginx: &Nginx, (plain, tls): (u16, u16), upstream: u16) -> String {
    let (flag, directive) = if nginx.http2_directive { ("", "http2 on;") } else { (" http2", "") };
    format!(
        "\
daemon off;
worker_processes 1;
pid {name}.pid;
error_log {name}-error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path {name}-body;
  proxy_temp_path {name}-proxy;
  fastcgi_temp_path {name}-fastcgi;
  uwsgi_temp_path {name}-uwsgi;
  scgi_temp_path {name}-scgi;
  client_max_body_size 2m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  upstream mock {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl{flag};
    {directive}
    server_name {HOST};
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_request_buffering on;
    }}
  }}
}}
"
    )
}

/// Both configurations of ours.
const COMMON: &str = r#"version: 1
runtime: { workers: 1 }
listeners:
  plain: { bind: "127.0.0.1:@PLAIN@" }
  tls: { bind: "127.0.0.1:@TLS@", tls: { certs: [main] } }
certs:
  main: { names: [bench.test], cert: cert.pem, key: "secret://file/key.pem" }
upstreams:
  mock: { endpoints: ["http://127.0.0.1:@MOCK@"], inflight: { max: 256 } }
upstream_defaults: { max_idle_per_worker: 256 }
"#;

/// Nothing but a proxy.
const BARE: &str = r#"routes:
  - { name: bare, path: "/{*rest}", protocol: none, auth: none, upstream: mock, max_body_bytes: 2097152 }
network: { mode: "off" }
flood: { mode: "off" }
waf: { mode: "off" }
authz: { mode: "off" }
contract: { mode: "off" }
limits: { mode: "off" }
output: { security_headers: false }
record: { access: "off" }
"#;

/// Every stage but the rules, which have a bench of their own, with budgets that are charged and never empty, and a log that is written.
const ALL: &str = r#"models:
  m:
    upstream: mock
    contract:
      batch: { max: 1024 }
      inputs:
        - { name: x, dtype: FP32, shape: [batch, features], range: [-10, 10] }
    cost: { fixed_us: 1000, per_element_ns: 100 }
routes:
  - { name: infer, path: "/v2/models/{model}/infer", protocol: oip, models: [m], max_body_bytes: 2097152 }
tenants:
  bench: { models: [m], budgets: [tenant, key] }
auth: { keys: { file: keys.yaml, pepper: { v1: "secret://file/pepper" } } }
flood: { per_address: { burst: 1000000000, refill_per_sec: 1000000000 } }
waf: { mode: "off" }
limits:
  budgets:
    - { name: tenant, per: tenant, burst: 1000000000000, refill_per_sec: 1000000000 }
    - { name: key, per: key, burst: 1000000000000, refill_per_sec: 1000000000 }
record: { access: access.log }
"#;

#[cfg(test)]
mod tests {
    use super::{Nginx, nginx_config};

    #[test]
    fn http2_is_switched_on_in_the_words_of_either_nginx() {
        let nginx = |http2_directive| Nginx { program: "nginx", version: String::new(), http2_directive };
        let old = nginx_config("n", &nginx(false), (1, 2), 3);
        assert!(old.contains("listen 127.0.0.1:2 ssl http2;") && !old.contains("http2 on"));
        let new = nginx_config("n", &nginx(true), (1, 2), 3);
        assert!(new.contains("listen 127.0.0.1:2 ssl;") && new.contains("http2 on;"));
    }
}
