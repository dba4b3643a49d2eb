//! `secret://exec/NAME`: what a command of `secrets.exec` writes, once, when the gateway starts. No shell, no input, an
//! environment of chosen names only; what it says on its standard error is not read, as it may hold anything.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;

use rustix::process::{Pid, Signal, kill_process_group};

use super::config::ExecConfig;
use super::{MOST, Unopened};

/// Runs a command and takes what it writes.
pub(super) fn run(config: &ExecConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<u8>, Unopened> {
    let (program, arguments) = config.command.split_first().ok_or("has no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.envs(config.env.iter().filter_map(|name| Some((name, env(name)?))));
    // A group of its own, so that what it starts ends with it.
    let mut child = command.process_group(0).spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let written = written(&mut child, config);
    if written.is_err() {
        end(&child);
    }
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    let bytes = written?;
    match status.success() {
        true => Ok(bytes),
        false => Err(format!("failed: {status}")),
    }
}

fn written(child: &mut Child, config: &ExecConfig) -> Result<Vec<u8>, Unopened> {
    let out = child.stdout.take().ok_or("has no output")?;
    let (told, hear) = sync_channel(1);
    let reading = move || {
        let mut bytes = Vec::with_capacity(4096);
        let read = out.take(MOST + 1).read_to_end(&mut bytes).map(|_| bytes);
        // Nobody hears it any more if it was late.
        drop(told.send(read));
    };
    let reader = std::thread::Builder::new().name("secret-exec".to_owned()).spawn(reading);
    drop(reader.map_err(|error| format!("cannot be read from: {error}"))?);
    let read = hear.recv_timeout(config.timeout.0);
    let bytes = read.map_err(|_| format!("took longer than `{}`", config.timeout))?;
    let bytes = bytes.map_err(|error| format!("cannot be read from: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err("is larger than 64 KiB".to_owned());
    }
    Ok(bytes)
}

fn end(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ended = kill_process_group(group, Signal::KILL);
    }
}
