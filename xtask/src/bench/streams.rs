//! `cargo xtask bench streams`: ten thousand streams of events at once through the gateway, one event a second each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::machine::Machine;
use super::process::{Core, Running, free_port, pinned};
use super::scene::Folder;
use super::{build, page, root};
use crate::tally::say;

/// A model server and clients, in one program, and the gateway between them.
pub(super) struct Chat {
    program: Child,
    gateway: Running,
    /// The last line that the program prints.
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Chat {
    /// Starts both. `verb` is the program's; `@PID@` in it is the gateway's process.
    pub(super) fn set(streams: &Path, verb: &[&str], tollgate: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (plain, tls, file) = (free_port()?, free_port()?, folder.join("streams.yaml"));
        // The gateway wants to know the server, and the program the gateway's process: the server's port is chosen here.
        let upstream = free_port()?;
        let fill = |text: &str| {
            let ports = [("@PLAIN@", plain), ("@TLS@", tls), ("@MOCK@", upstream)];
            ports.iter().fold(text.to_owned(), |text, (word, port)| text.replace(word, &port.to_string()))
        };
        let secure = folder.join("cert.pem").exists();
        let listener = if secure { TLS } else { "" };
        std::fs::write(&file, fill(&CONFIG.replace("@LISTENER@", listener)))?;
        let mut command = pinned(Core::Gateway, tollgate);
        command.args(["serve", "--config"]).arg(&file).stdout(Stdio::null());
        let mut gateway = Running::start("streams", command, folder)?;
        gateway.listening(plain)?;
        let pid = gateway.pids().first().context("no process")?.to_string();
        let mut command = pinned(Core::Load, streams);
        command.args(["--port", &upstream.to_string()]).args(verb.iter().map(|word| word.replace("@PID@", &pid)));
        let errors = std::fs::File::create(folder.join("streams-program.log"))?;
        let mut program =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn().context("no program")?;
        let mut lines = BufReader::new(program.stdout.take().context("its output is a pipe")?).lines();
        lines.next().context("the program says nothing")??;
        let port = if secure { tls } else { plain };
        program.stdin.take().context("its input is a pipe")?.write_all(format!("{port}\n").as_bytes())?;
        Ok(Self { program, gateway, lines })
    }

    /// What the program reports when it is done.
    pub(super) fn report(mut self) -> anyhow::Result<Value> {
        let line = self.lines.next().context("the program ended without a report")??;
        ensure!(self.program.wait()?.success(), "the program failed");
        drop(self.gateway);
        Ok(serde_json::from_str(&line)?)
    }
}

const TLS: &str = r#"
  tls: { bind: "127.0.0.1:@TLS@", tls: { certs: [main] } }
certs: { main: { names: [bench.test], cert: cert.pem, key: "secret://file/key.pem" } }"#;

const CONFIG: &str = r#"version: 1
runtime: { workers: 1 }
listeners:
  plain: { bind: "127.0.0.1:@PLAIN@" }@LISTENER@
upstreams: { server: { endpoints: ["http://127.0.0.1:@MOCK@"], inflight: { max: 20000 } } }
models: { m: { upstream: server, contract: { max_output_tokens: 1000 } } }
routes:
  - { name: chat, path: "/v1/{*rest}", protocol: openai, models: [m], auth: none, timeout_ms: 600000 }
flood: { mode: "off" }
record: { access: "off" }
"#;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    json: bool,
    write: bool,
    streams: usize,
    seconds: u64,
    programs: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let quick = args.iter().any(|arg| arg == "--quick");
        let (streams, seconds) = if quick { (1_000, 15) } else { (10_000, 60) };
        let mut options = Self { json: false, write: false, streams, seconds, programs: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => {}
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--streams" => options.streams = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--programs" => options.programs = Some(value()?.into()),
                other => bail!("`bench streams` takes no `{other}`"),
            }
        }
        ensure!((1..=15_000).contains(&options.streams), "`--streams` from 1 to 15000");
        ensure!((15..=600).contains(&options.seconds), "`--seconds` from 15 to 600");
        Ok(options)
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let built = match &options.programs {
        Some(folder) => ["streams", "fixtures", "tollgate"].map(|name| folder.join(name)).to_vec(),
        None => {
            let bench = |name| ("tollgate-bench", name);
            build::build(&[bench("streams"), bench("fixtures"), ("tollgate", "tollgate")])?
        }
    };
    let [streams, fixtures, tollgate] = built.as_slice() else { bail!("a program is missing") };
    let (machine, folder) = (Machine::read(), Folder::make(false)?);
    let made = Command::new(fixtures).args(["--host", "bench.test", "--dir"]).arg(folder.path()).status()?;
    ensure!(made.success(), "the fixtures could not be written");
    let (count, events) = (options.streams.to_string(), options.seconds.to_string());
    let ca = folder.path().join("cert.pem");
    let ca = ca.to_str().context("a folder with a plain name")?;
    let verb = ["many", "--streams", &count, "--events", &events, "--ca", ca, "--watch", "@PID@"];
    let report = Chat::set(streams, &verb, tollgate, folder.path())?.report()?;
    if options.json {
        say(&format!("{:#}", json!({ "bench": "streams", "machine": machine.json(), "report": report })));
    } else {
        say(&text(&report, &machine));
    }
    if options.write {
        page::write(&root(), "streams", &text(&report, &machine))?;
    }
    let wrong: u64 = ["lost", "out_of_order", "broken"].iter().filter_map(|name| report[*name].as_u64()).sum();
    ensure!(wrong == 0 && report["whole"] == report["streams"], "streams lost events: {report}");
    Ok(())
}

fn text(report: &Value, machine: &Machine) -> String {
    let number = |name: &str| report[name].as_f64().unwrap_or_default();
    let rows = [
        ("streams at once, of one event a second", format!("{:.0}", number("open_at_once"))),
        ("client connections (HTTP/2 over TLS)", format!("{:.0}", number("connections"))),
        ("upstream connections", format!("{:.0}", number("streams"))),
        ("events sent and received", format!("{:.0} of {:.0}", number("events"), number("events_wanted"))),
        ("events lost", format!("{:.0}", number("lost"))),
        ("events out of order", format!("{:.0}", number("out_of_order"))),
        ("streams that came to their `[DONE]` and their end", format!("{:.0}", number("whole"))),
        ("memory of a stream", format!("{:.1} KiB", number("kb_per_stream"))),
        ("CPU of the gateway, one worker", format!("{:.0} % of a core", number("cpu_share") * 100.0)),
        ("CPU of an event", format!("{:.1} µs", number("cpu_us_per_event"))),
    ];
    let rows: Vec<String> = rows.iter().map(|(what, found)| format!("| {what} | {found} |")).collect();
    let busy = if machine.was_busy() { "\n\nThe machine was busy: the figures deserve less trust." } else { "" };
    format!("| | |\n|---|---|\n{}\n\n{machine}{busy}", rows.join("\n"))
}
