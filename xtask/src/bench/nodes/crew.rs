//! The processes of a run: a store, gateways that share it, and a model server that answers at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::super::process::{Core, Running, free_port, pinned};
use super::clients::now;

const KEY: &str = "the-admin-key-of-a-benchmark";
const STEP: Duration = Duration::from_millis(5);
/// How long anything may take to be found.
const PATIENCE: Duration = Duration::from_secs(15);

/// A budget that all gateways share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) burst: u64,
    pub(super) rate: u64,
}

/// See the module. Everything ends with it.
pub(super) struct Crew {
    pub(super) budget: Budget,
    pub(super) gateways: Vec<Gateway>,
    store: Option<Running>,
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

/// A gateway, and its two listeners.
pub(super) struct Gateway {
    _running: Running,
    plain: u16,
    admin: u16,
}

/// What the server says of its version.
pub(super) fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.context("no server: `apt-get install redis-server`, or name one with `--store`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v=")).context("no version")?;
    let name = text.split_whitespace().next().unwrap_or_default();
    Ok(format!("{} {version}", if name.eq_ignore_ascii_case("valkey") { "Valkey" } else { "Redis" }))
}

impl Crew {
    /// Starts all of it, and waits until every gateway counts every other.
    pub(super) fn start(
        (tollgate, store): (&Path, &Path),
        (nodes, budget): (usize, Budget),
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let url = folder.join("store.url");
        std::fs::write(&url, format!("redis://127.0.0.1:{port}"))?;
        // It may hold a password: a gateway takes no such file that others can read.
        std::fs::set_permissions(&url, std::fs::Permissions::from_mode(0o600))?;
        let (program, folder) = (store.to_owned(), folder.to_owned());
        let mut crew = Self { budget, gateways: Vec::new(), store: None, program, folder, port };
        crew.start_the_store()?;
        let server = serve_a_model()?;
        for _ in 0..nodes {
            let gateway = Gateway::start(tollgate, (server, nodes, budget), &crew.folder)?;
            crew.gateways.push(gateway);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let all = nodes as f64;
        crew.until("every gateway is found", |gateway| Ok(gateway.sample("tollgate_store_nodes")? >= all))?;
        crew.until("every gateway is up", |gateway| Ok(gateway.sample("tollgate_store_up")? > 0.0))?;
        Ok(crew)
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.gateways.iter().map(|gateway| gateway.plain).collect()
    }

    /// As a crash would.
    pub(super) fn kill_the_store(&mut self) {
        if let Some(store) = self.store.take() {
            store.kill();
        }
    }

    /// Starts the store again; how long after it accepted the last gateway judged by it again.
    pub(super) fn restore(&mut self) -> anyhow::Result<Duration> {
        let before: Vec<_> = self.gateways.iter().map(Gateway::by_the_store).collect::<anyhow::Result<_>>()?;
        self.start_the_store()?;
        let began = now();
        let mut waiting: Vec<_> = self.gateways.iter().zip(before).collect();
        while !waiting.is_empty() {
            ensure!(now() - began < PATIENCE, "a gateway does not come back");
            let mut left = Vec::new();
            for (gateway, before) in waiting {
                if gateway.by_the_store()? <= before {
                    left.push((gateway, before));
                }
            }
            waiting = left;
            std::thread::sleep(STEP);
        }
        Ok(now() - began)
    }

    /// A sum over all gateways of a sample with these labels.
    pub(super) fn sum(&self, name: &str) -> anyhow::Result<f64> {
        self.gateways.iter().map(|gateway| gateway.sample(name)).sum()
    }

    /// How many charges were judged in one of these ways.
    pub(super) fn judged(&self, hows: &[&str]) -> anyhow::Result<f64> {
        hows.iter().map(|how| self.sum(&format!("tollgate_store_judged_total{{how=\"{how}\"}}"))).sum()
    }

    fn start_the_store(&mut self) -> anyhow::Result<()> {
        let mut command = pinned(Core::Both, &self.program);
        let port = self.port.to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(&self.folder).stdout(Stdio::null());
        let mut store = Running::start("store", command, &self.folder)?;
        store.listening(self.port)?;
        self.store = Some(store);
        Ok(())
    }

    fn until(&self, what: &str, test: impl Fn(&Gateway) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = now();
        for gateway in &self.gateways {
            while !test(gateway)? {
                ensure!(now() - began < PATIENCE, "{what}: not within {PATIENCE:?}");
                std::thread::sleep(STEP);
            }
        }
        Ok(())
    }
}

impl Gateway {
    fn start(tollgate: &Path, (server, nodes, budget): (u16, usize, Budget), folder: &Path) -> anyhow::Result<Self> {
        let (plain, admin) = (free_port()?, free_port()?);
        let Budget { burst, rate } = budget;
        let text = format!(
            r#"version: 1
runtime: {{ workers: 1 }}
listeners:
  plain: {{ bind: "127.0.0.1:{plain}" }}
  admin: {{ bind: "127.0.0.1:{admin}", serves: admin }}
admin: {{ key: "secret://env/ADMIN_KEY" }}
upstreams: {{ server: {{ endpoints: ["http://127.0.0.1:{server}"], inflight: {{ max: 256 }} }} }}
limits:
  budgets: [{{ name: all, per: global, unit: requests, burst: {burst}, refill_per_sec: {rate} }}]
  store: {{ url: "secret://file/store.url", expected_nodes: {nodes} }}
routes:
  - {{ name: shared, path: "/shared/{{*rest}}", methods: [GET], auth: none, protocol: none, upstream: server }}
  - {{ name: free, path: "/free/{{*rest}}", methods: [GET], auth: none, protocol: none, upstream: server, free: true }}
flood: {{ mode: "off" }}
record: {{ access: "off" }}
"#
        );
        let config = folder.join(format!("nodes-{plain}.yaml"));
        std::fs::write(&config, text)?;
        let mut command = pinned(Core::Both, tollgate);
        command.args(["serve", "--config"]).arg(&config).env("ADMIN_KEY", KEY).stdout(Stdio::null());
        let mut running = Running::start("tollgate", command, folder)?;
        running.listening(plain)?;
        running.listening(admin)?;
        Ok(Self { _running: running, plain, admin })
    }

    /// Charges that the store had a part in.
    fn by_the_store(&self) -> anyhow::Result<f64> {
        let metrics = self.metrics()?;
        let hows = ["leased", "waited", "recalled"];
        let how = |how| sample(&metrics, &format!("tollgate_store_judged_total{{how=\"{how}\"}}"));
        hows.into_iter().map(how).sum()
    }

    fn sample(&self, name: &str) -> anyhow::Result<f64> {
        sample(&self.metrics()?, name)
    }

    fn metrics(&self) -> anyhow::Result<String> {
        let mut line = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin))?;
        line.set_read_timeout(Some(PATIENCE))?;
        let head =
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n");
        line.write_all(head.as_bytes())?;
        let mut answer = String::new();
        line.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn sample(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no `{name}`"))?;
    value.trim().parse().with_context(|| format!("`{name}`"))
}

/// A server that says 200 to everything, for as long as this process runs; its port.
fn serve_a_model() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends when its gateway does.
            std::thread::spawn(move || drop(answer_all(stream)));
        }
    });
    Ok(port)
}

fn answer_all(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut line = BufReader::new(stream);
    loop {
        let mut field = String::new();
        match line.read_line(&mut field)? {
            0 => bail!("it is over"),
            _ if field.trim_end().is_empty() => {
                line.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
            _ => {}
        }
    }
}
