//! nginx with libmodsecurity in front of a small server of ours. Both live on free loopback ports and end with the run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use seclang::{Matched, Tally};
use serde_json::Value;
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::reflect::Reply;
use tollgate_conformance::{rules, wire};

const STEP: Duration = Duration::from_millis(2);
/// How long a line of the log, or an answer, may take.
const PATIENCE: u32 = 2_500;

/// The other engine.
#[derive(Debug)]
pub(crate) struct Peer {
    nginx: Child,
    port: u16,
    folder: PathBuf,
    log: File,
    /// The end of the log that is no line yet.
    part: Vec<u8>,
    lines: BTreeMap<String, BTreeMap<u64, [String; 2]>>,
}

/// What it said to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` without any.
    pub(crate) status: Option<u16>,
    /// The rules that matched, with message and data; `None` when nginx refused the request by itself.
    pub(crate) ids: Option<BTreeMap<u64, [String; 2]>>,
}

impl Peer {
    /// Starts it with the Core Rule Set between our base configuration and `settings`.
    pub(crate) fn start(crs: &Folder, settings: &str) -> Result<Self, String> {
        let told = |why: std::io::Error| why.to_string();
        let folder = std::env::temp_dir().join(format!("tollgate-differential-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(told)?;
        let crs = crs.path().canonicalize().map_err(told)?;
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).map_err(told);
        write("base.conf", rules::BASE)?;
        write("settings.conf", settings)?;
        write("modsecurity.conf", &modsecurity(&folder, &crs))?;
        write("audit.log", "")?;
        let port = free_port().map_err(told)?;
        write("nginx.conf", &nginx(&folder, port, serve().map_err(told)?))?;
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new(program);
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        let missing = |_| "apt-get install nginx libnginx-mod-http-modsecurity".to_owned();
        let nginx =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(missing)?;
        let log = File::open(folder.join("audit.log")).map_err(told)?;
        let mut peer = Self { nginx, port, folder, log, part: Vec::new(), lines: BTreeMap::new() };
        peer.listening()?;
        Ok(peer)
    }

    /// Sends a request and waits for its line in the log.
    pub(crate) fn ask(&mut self, raw: &[u8], id: &str) -> Result<Answer, String> {
        let answer = self.send(raw).map_err(|why| format!("nginx does not answer: {why}"))?;
        let digits = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
        let status = digits.and_then(|digits| digits.parse().ok());
        let is_refused = status.is_none_or(|status: u16| status >= 400);
        for _ in 0..if is_refused { 25 } else { PATIENCE } {
            self.poll().map_err(|why| why.to_string())?;
            if let Some(ids) = self.lines.remove(id) {
                return Ok(Answer { status, ids: Some(ids) });
            }
            thread::sleep(STEP);
        }
        if is_refused { Ok(Answer { status, ids: None }) } else { Err(format!("no line in the audit log for `{id}`")) }
    }

    /// Its findings in the form of ours.
    pub(crate) fn tally(found: BTreeMap<u64, [String; 2]>) -> Tally {
        let matched = found.into_iter().map(|(id, [msg, data])| Matched {
            id,
            phase: 0,
            severity: None,
            log: true,
            msg: msg.into_bytes(),
            data: data.into_bytes(),
            variable: Vec::new(),
            spared: true,
        });
        Tally { matched: matched.collect(), ..Tally::default() }
    }

    fn send(&self, raw: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // Refused early: the answer may still be there.
        let _ = stream.write_all(raw);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // A connection that nginx keeps open has said what it has to say.
            Err(why) if !matches!(why.kind(), ErrorKind::ConnectionReset | ErrorKind::WouldBlock) => Err(why),
            _ => Ok(answer),
        }
    }

    fn poll(&mut self) -> std::io::Result<()> {
        self.log.read_to_end(&mut self.part)?;
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.part.drain(..=end).collect();
            let Ok(line) = serde_json::from_str::<Value>(&String::from_utf8_lossy(&line)) else { continue };
            let transaction = &line["transaction"];
            let headers = transaction["request"]["headers"].as_object().into_iter().flatten();
            let id =
                headers.filter(|(name, _)| name.eq_ignore_ascii_case(wire::ID)).find_map(|(_, value)| value.as_str());
            let messages = transaction["messages"].as_array().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let ids = messages.filter_map(|message| {
                let details = &message["details"];
                Some((details["ruleId"].as_str()?.parse().ok()?, [text(&message["message"]), text(&details["data"])]))
            });
            let ids = ids.collect();
            if let Some(id) = id {
                self.lines.insert(id.to_owned(), ids);
            }
        }
        Ok(())
    }

    fn listening(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE * 4 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            if self.nginx.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            thread::sleep(STEP);
        }
        let log = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
        Err(format!("nginx with libmodsecurity does not start (apt-get install libnginx-mod-http-modsecurity): {log}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The master ends its worker when it is asked to; killed, it would leave it.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn modsecurity(folder: &Path, crs: &Path) -> String {
    let (folder, crs) = (folder.display(), crs.display());
    format!(
        "Include {folder}/base.conf
SecRequestBodyLimit 134217728
SecRequestBodyNoFilesLimit 134217728
SecAuditEngine On
SecAuditLogParts ABHZ
SecAuditLogType Serial
SecAuditLogFormat JSON
SecAuditLog {folder}/audit.log
Include {crs}/crs-setup.conf.example
Include {folder}/settings.conf
Include {crs}/rules/*.conf
"
    )
}

fn nginx(folder: &Path, port: u16, upstream: u16) -> String {
    let folder = folder.display();
    // A master that is root gives its workers to somebody who may not write into our folder.
    let user = if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        "user root;"
    } else {
        ""
    };
    format!(
        "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 1m;
  large_client_header_buffers 8 64k;
  underscores_in_headers on;
  ignore_invalid_headers off;
  server {{
    listen 127.0.0.1:{port};
    merge_slashes off;
    modsecurity on;
    modsecurity_rules_file {folder}/modsecurity.conf;
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.0;
    }}
  }}
}}
"
    )
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Answers as [`Reply`] says, in a thread that ends with the process; its port.
fn serve() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A connection that fails has no answer, and nginx says so.
            let _ = answer(&mut stream);
        }
    });
    Ok(port)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut raw, mut buffer) = (Vec::new(), vec![0; 65_536]);
    let whole = |raw: &[u8]| {
        let head = raw.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let request = Request::read(raw)?;
        let length =
            request.values("content-length").next().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        (raw.len() >= head + length.unwrap_or(0)).then_some(request)
    };
    let request = loop {
        let read = stream.read(&mut buffer)?;
        raw.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if let Some(request) = whole(&raw) {
            break request;
        }
        if read == 0 {
            return Ok(());
        }
    };
    let reply = Reply::to(&request);
    let mut head = format!("HTTP/1.0 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    if request.method == b"HEAD" { Ok(()) } else { stream.write_all(&reply.body) }
}
