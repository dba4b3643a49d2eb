//! The recorder thread: blocking writes of access lines live here and nowhere else.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use parking_lot::Mutex;

/// How many full buffers may wait for the disk.
const QUEUE: usize = 64;

/// Where access lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RecordTarget {
    /// A file, appended to.
    File(PathBuf),
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
}

impl RecordTarget {
    /// What `record.access` says; files are relative to `base`.
    #[must_use]
    pub fn of(access: Option<&str>, base: &Path) -> Self {
        match access {
            None | Some("stdout") => Self::Stdout,
            Some("off") => Self::Off,
            Some(file) => Self::File(base.join(file)),
        }
    }
}

/// Takes finished lines from workers. When the disk is behind, lines are dropped and counted: a request never waits.
pub struct Recorder {
    sender: Option<SyncSender<Work>>,
    spares: Mutex<Vec<Vec<u8>>>,
    dropped: AtomicU64,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the thread is given.
enum Work {
    /// A line that somebody waits for, and whom to tell whether it was written.
    Awaited(Vec<u8>, SyncSender<bool>),
    /// Lines that nobody waits for.
    Lines(Vec<u8>),
}

impl Recorder {
    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread cannot be started.
    pub fn start(target: &RecordTarget) -> std::io::Result<Self> {
        let out: Option<Box<dyn Write + Send>> = match target {
            RecordTarget::File(path) => Some(Box::new(File::options().create(true).append(true).open(path)?)),
            RecordTarget::Off => None,
            RecordTarget::Stdout => Some(Box::new(std::io::stdout())),
        };
        let mut recorder =
            Self { sender: None, spares: Mutex::default(), dropped: AtomicU64::new(0), thread: Mutex::default() };
        if let Some(out) = out {
            let (sender, receiver) = sync_channel(QUEUE);
            recorder.sender = Some(sender);
            let thread = thread::Builder::new().name("recorder".into()).spawn(move || run(&receiver, out))?;
            recorder.thread = Mutex::new(Some(thread));
        }
        Ok(recorder)
    }

    /// Whether lines go anywhere.
    #[must_use]
    pub const fn wants_lines(&self) -> bool {
        self.sender.is_some()
    }

    /// Hands lines over; drops and counts them if the thread is behind.
    pub fn hand_over(&self, lines: Vec<u8>) {
        let Some(sender) = &self.sender else { return };
        if let Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) = sender.try_send(Work::Lines(lines)) {
            let (Work::Lines(lines) | Work::Awaited(lines, _)) = work;
            let lost = memchr::memchr_iter(b'\n', &lines).count() as u64;
            self.dropped.fetch_add(lost, Ordering::Relaxed);
            let mut spares = self.spares.lock();
            if spares.len() < 8 {
                let mut spare = lines;
                spare.clear();
                spares.push(spare);
            }
        }
    }

    /// Writes one line behind all that came before it, and waits until it is written: for acts of operators, which must be on
    /// record before they are answered. Blocks; never on a worker. `None` where lines go nowhere.
    #[must_use]
    pub fn append(&self, line: Vec<u8>) -> Option<bool> {
        let sender = self.sender.as_ref()?;
        let (told, hear) = sync_channel(1);
        let sent = sender.send(Work::Awaited(line, told)).is_ok();
        Some(sent && hear.recv().unwrap_or(false))
    }

    /// An empty buffer.
    #[must_use]
    pub fn spare(&self) -> Vec<u8> {
        self.spares.lock().pop().unwrap_or_else(|| Vec::with_capacity(40 * 1024))
    }

    /// Lines that found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.lock().take() {
            // Nothing more can be said about lines that a failing thread held.
            drop(thread.join());
        }
    }
}

fn run(receiver: &Receiver<Work>, mut out: Box<dyn Write + Send>) {
    while let Ok(work) = receiver.recv() {
        let (Work::Lines(lines) | Work::Awaited(lines, _)) = &work;
        // A full disk loses lines and never requests; the next buffer is tried again.
        let written = out.write_all(lines).and_then(|()| out.flush()).is_ok();
        if let Work::Awaited(_, told) = work {
            // Who does not wait any more need not be told.
            let _ = told.send(written);
        }
    }
}
