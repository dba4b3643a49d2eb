//! `tollgate serve`: serves until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_gateway::start::{Control, Gateway, Setup};

use crate::embed::Onnx;
use crate::environment;
use crate::exit::Exit;

/// Serve. SIGHUP reloads the configuration and keeps the old policy if the new one has mistakes; SIGTERM and SIGINT
/// stop accepting, let running requests end within `http.drain_ms`, and exit.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let setup = Setup { config: self.config, env: environment(), embed: Box::new(Onnx::default()), access: None };
        let gateway = Gateway::start(setup)?;
        say(&gateway);
        until_stopped(gateway.control())?;
        gateway.drain();
        Ok(Exit::Good)
    }
}

#[expect(clippy::print_stderr, reason = "the bin speaks to people")]
fn say(gateway: &Gateway) {
    for (name, address) in gateway.addresses() {
        eprintln!("tollgate: `{name}` listens on {address}");
    }
    for warning in gateway.warnings() {
        eprintln!("tollgate: warning: {warning}");
    }
}

/// Obeys signals until one says stop.
pub(crate) fn until_stopped(control: &Arc<Control>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            tokio::select! {
                _ = hangup.recv() => reload(control).await,
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            }
        }
    })
}

#[expect(clippy::print_stderr, reason = "the bin speaks to people")]
async fn reload(control: &Arc<Control>) {
    let control = Arc::clone(control);
    let redactor = Arc::clone(&control.state.redactor);
    match tokio::task::spawn_blocking(move || control.reload()).await {
        Ok(Ok(generation)) => eprintln!("tollgate: policy {generation} serves"),
        Ok(Err(error)) => {
            let error = error.to_string();
            eprintln!("{}\ntollgate: the old policy goes on", redactor.clean(&error));
        }
        Err(_) => eprintln!("tollgate: the reload was lost; the old policy goes on"),
    }
}
