//! The four gateways and the mock model server behind them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::super::build::Nginx;
use super::super::process::{Core, Running, free_port, pinned};

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Nginx,
    NginxRules,
    Ours,
    OurRules,
}

/// Everything that runs; it ends with this.
#[derive(Debug)]
pub(super) struct Scene {
    /// In the order of [`Side`].
    gateways: Vec<(Running, u16)>,
    _mock: Running,
    _folder: Folder,
}

/// A folder that is removed at the end.
#[derive(Debug)]
struct Folder(PathBuf, bool);

impl Scene {
    pub(super) fn set((mock, nginx, tollgate): (&Path, &Nginx, &Path), crs: &Path, keep: bool) -> anyhow::Result<Self> {
        let folder = Folder(std::env::temp_dir().join(format!("tollgate-bench-waf-{}", std::process::id())), keep);
        fs::create_dir(&folder.0)?;
        let dir = &folder.0;
        fs::copy(super::root().join("rules/base.conf"), dir.join("base.conf"))?;
        fs::write(dir.join("modsecurity.conf"), modsecurity(dir, crs))?;
        let mut command = pinned(Core::Load, mock);
        command.args(["--reply-bytes", "400"]).stdout(Stdio::piped());
        let mut mock = Running::start("mock", command, dir)?;
        let upstream: u16 = mock.first_line()?.parse()?;
        let mut gateways = Vec::new();
        for (name, rules) in [("nginx", false), ("nginx-rules", true)] {
            let port = free_port()?;
            let file = dir.join(format!("{name}.conf"));
            fs::write(&file, nginx_config((name, dir), (port, upstream), rules))?;
            let mut command = pinned(Core::Gateway, Path::new(nginx.program));
            command.arg("-p").arg(dir).arg("-c").arg(file).arg("-e").arg(dir.join(format!("{name}-error.log")));
            command.stdout(Stdio::null());
            gateways.push((Running::start(name, command, dir)?, port));
        }
        for (name, rules) in [("ours", false), ("our-rules", true)] {
            let port = free_port()?;
            let file = dir.join(format!("{name}.yaml"));
            fs::write(&file, our_config((port, upstream), rules.then_some(crs)))?;
            let mut command = pinned(Core::Gateway, tollgate);
            command.args(["serve", "--config"]).arg(file).stdout(Stdio::null());
            gateways.push((Running::start(name, command, dir)?, port));
        }
        for (running, port) in &mut gateways {
            running.listening(*port)?;
        }
        Ok(Self { gateways, _mock: mock, _folder: folder })
    }

    fn gateway(&self, side: Side) -> &(Running, u16) {
        &self.gateways[side as usize]
    }

    pub(super) fn port(&self, side: Side) -> u16 {
        self.gateway(side).1
    }

    pub(super) fn pids(&self, side: Side) -> Vec<u32> {
        self.gateway(side).0.pids()
    }

    /// Megabytes resident in the process that does the work.
    pub(super) fn rss_mb(&self, side: Side) -> f64 {
        let of = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        };
        self.pids(side).into_iter().filter_map(of).fold(0.0, f64::max) / 1024.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.1 {
            // What cannot be removed lies in the folder for temporary things.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The same files in the same order as ours, blocking, without an audit log; caps that no row reaches.
fn modsecurity(dir: &Path, crs: &Path) -> String {
    let (dir, crs) = (dir.display(), crs.display());
    format!(
        "Include {dir}/base.conf
SecRequestBodyLimit 134217728
SecRequestBodyNoFilesLimit 134217728
SecAuditEngine Off
Include {crs}/crs-setup.conf.example
Include {crs}/rules/*.conf
"
    )
}

fn nginx_config((name, dir): (&str, &Path), (port, upstream): (u16, u16), rules: bool) -> String {
    let dir = dir.display();
    let (load, on) = if rules {
        let load = "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;\n";
        (load, format!("modsecurity on;\n    modsecurity_rules_file {dir}/modsecurity.conf;"))
    } else {
        ("", String::new())
    };
    format!(
        "{load}daemon off;
worker_processes 1;
pid {name}.pid;
error_log {name}-error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {name}-body;
  proxy_temp_path {name}-proxy;
  fastcgi_temp_path {name}-fastcgi;
  uwsgi_temp_path {name}-uwsgi;
  scgi_temp_path {name}-scgi;
  client_max_body_size 4m;
  client_body_buffer_size 4m;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 8; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    {on}
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
    }}
  }}
}}
"
    )
}

/// Tensors go through the contract on both of our sides. The chat is an untyped body without a prompt field: every rule
/// sees its text, as with libmodsecurity.
fn our_config((port, upstream): (u16, u16), crs: Option<&Path>) -> String {
    let waf = match crs {
        Some(crs) => format!("waf: {{ mode: enforce, crs: \"{}\", pack: none, profile: ml }}", crs.display()),
        None => "waf: { mode: \"off\" }".to_owned(),
    };
    format!(
        r#"version: 1
runtime: {{ workers: 1 }}
listeners:
  plain: {{ bind: "127.0.0.1:{port}" }}
upstreams:
  mock: {{ endpoints: ["http://127.0.0.1:{upstream}"] }}
models:
  m:
    upstream: mock
    contract:
      batch: {{ max: 16 }}
      inputs:
        - {{ name: x, dtype: FP32, shape: [batch, features], range: [-10, 10] }}
routes:
  - {{ name: infer, path: "/v2/models/{{model}}/infer", protocol: oip, models: [m], auth: none, max_body_bytes: 4194304 }}
  - {{ name: rest, path: "/{{*rest}}", protocol: none, auth: none, upstream: mock, max_body_bytes: 4194304 }}
network: {{ mode: "off" }}
flood: {{ mode: "off" }}
authz: {{ mode: "off" }}
limits: {{ mode: "off" }}
record: {{ access: "off" }}
{waf}
"#
    )
}
