//! From the bytes of a file to an engine that has read them: hash, our own walk, then the engine under a deadline.

use std::borrow::Cow;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tollgate_core::time::Clock;

use crate::error::LoadError;
use crate::onnx::{self, Ports};
use crate::pool::Pool;
use crate::range::PortRange;

/// How a model is loaded and run.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The compute threads that run it.
    pub pool: Arc<Pool>,
    /// Measures the runs.
    pub clock: Clock,
    /// Names of the classes, in the order of the last dimension of the first output; may be empty.
    pub labels: Vec<Box<str>>,
    /// Whether the model takes the token ids of [`crate::tokens`], so that a caller may send text.
    pub text: bool,
    /// Ranges of the inputs' values; an integer input without one takes what the engine can hold.
    pub ranges: Vec<PortRange>,
    /// The hash that the file must have.
    pub sha256: Option<[u8; 32]>,
    /// How long the engine may take to read the file.
    pub deadline: Duration,
    /// The most bytes that the file may have.
    pub max_bytes: u64,
}

impl LoadOptions {
    /// No labels, no text, no pinned hash, 10 seconds, 1 GiB.
    #[must_use]
    pub const fn new(pool: Arc<Pool>, clock: Clock) -> Self {
        Self {
            pool,
            clock,
            labels: Vec::new(),
            text: false,
            ranges: Vec::new(),
            sha256: None,
            deadline: Duration::from_secs(10),
            max_bytes: 1 << 30,
        }
    }
}

/// The engine with the model in it, and the ports that the file declares.
pub(crate) struct Loaded {
    pub(crate) engine: rten::Model,
    pub(crate) ports: Ports,
}

/// Reads `file` as `options` say.
pub(crate) fn load(file: Cow<'static, [u8]>, options: &LoadOptions) -> Result<Loaded, LoadError> {
    if file.len() as u64 > options.max_bytes {
        return Err(LoadError::Large { what: "the file", bound: options.max_bytes });
    }
    check_digest(&file, options.sha256)?;
    let ports = onnx::read(&file)?;
    let engine = watched(options.deadline, move || match file {
        Cow::Borrowed(bytes) => rten::Model::load_static_slice(bytes),
        Cow::Owned(bytes) => rten::Model::load(bytes),
    })?;
    let engine = engine.map_err(|error| LoadError::Engine(error.to_string()))?;
    agree(&engine, &ports)?;
    Ok(Loaded { engine, ports })
}

fn check_digest(file: &[u8], expected: Option<[u8; 32]>) -> Result<(), LoadError> {
    let Some(expected) = expected else { return Ok(()) };
    let found = digest(&SHA256, file);
    if found.as_ref() == expected {
        return Ok(());
    }
    let found = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Err(LoadError::Digest { found })
}

/// Runs `read` on a thread of its own and waits no longer than `deadline`. A thread that is late is left behind: it
/// cannot be ended.
fn watched<T: Send + 'static>(
    deadline: Duration,
    read: impl FnOnce() -> T + Send + std::panic::UnwindSafe + 'static,
) -> Result<T, LoadError> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("model-load".to_owned())
        .spawn(move || {
            // The waiter may have left; then nobody wants the model.
            let _left = sender.send(catch_unwind(read));
        })
        .map_err(|error| LoadError::Thread(error.to_string()))?;
    match receiver.recv_timeout(deadline) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(LoadError::Panicked),
        Err(RecvTimeoutError::Timeout) => Err(LoadError::Late(deadline)),
    }
}

/// Two readers of one file must have read the same: the contract is made from ours, the run uses the engine's.
fn agree(engine: &rten::Model, ports: &Ports) -> Result<(), LoadError> {
    let sides = [("inputs", engine.input_ids(), &ports.inputs), ("outputs", engine.output_ids(), &ports.outputs)];
    for (what, ids, ports) in sides {
        let names = ids.iter().map(|id| engine.node_info(*id).and_then(|node| node.name()));
        if !names.eq(ports.iter().map(|port| Some(&*port.name))) {
            return Err(LoadError::Disagreement { what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_does_not_return_is_left_behind() {
        let (hold, release) = sync_channel::<()>(1);
        let short = Duration::from_millis(20);
        let late = watched(short, move || release.recv().is_ok());
        assert_eq!(late, Err(LoadError::Late(short)));
        drop(hold);
    }

    #[test]
    fn a_reader_that_panics_is_an_error() {
        let end = watched(Duration::from_secs(10), || -> u8 { panic!("expected in this test") });
        assert_eq!(end, Err(LoadError::Panicked));
    }

    #[test]
    fn a_file_with_another_hash_is_refused() {
        let empty = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
            0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
        ];
        assert_eq!(check_digest(b"", Some(empty)), Ok(()));
        assert!(matches!(check_digest(b"x", Some(empty)), Err(LoadError::Digest { found }) if found.len() == 64));
    }
}
