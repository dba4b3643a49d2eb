//! What survives a restart, in the directory `state.directory`: the seed of all keyed hashes, what was used of calendar
//! quotas, the buckets that need longer than a minute to be full again, the levers that operators have pulled, and how far
//! releases have come. Each second the control thread appends what changed; nothing here is on the way of a request.
//!
//! The log is begun anew, in a file of its own that then takes the old one's name, when it has grown to several times what
//! it says, and after a write that failed.

mod costs;
mod used;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_layers::limits::Lever;
use tollgate_limit::{Memory, Moment, QuotaLog, Restored, StateError};

pub use costs::{KeptCost, KeptCosts};
pub use used::used_in;

/// The largest log that is read: a million counts take 28 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Buckets that are full again in less are forgotten.
const WORTH: Duration = Duration::from_mins(1);

/// A log grows to so many times its beginning, and to at least [`SMALL`], before it is begun anew.
const GROWTH: u64 = 8;
const SMALL: u64 = 1 << 20;

/// The open directory.
#[derive(Debug)]
pub struct Keep {
    directory: PathBuf,
    log: Mutex<Option<Open>>,
    /// What was written of buckets last.
    rates: AtomicU64,
    failures: AtomicU64,
    /// Locked as long as this lives: two gateways in one directory would overwrite each other's counts.
    _lock: File,
}

/// A log that is appended to.
#[derive(Debug)]
struct Open {
    log: QuotaLog,
    file: File,
    bytes: u64,
    most: u64,
}

impl Keep {
    /// Opens the directory, makes it if it is missing, and locks it.
    ///
    /// # Errors
    /// What the system said, or that another gateway is there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock = private(OpenOptions::new().create(true).truncate(false)).open(directory.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another gateway keeps its state there")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let (log, rates, failures) = (Mutex::new(None), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { directory: directory.to_owned(), log, rates, failures, _lock: lock })
    }

    /// The seed of the earlier runs, or `fresh`, which is written down.
    ///
    /// # Errors
    /// What the system said, or that the file holds no seed.
    pub fn seed(&self, fresh: u128) -> io::Result<u128> {
        let path = self.directory.join("seed");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let digits = text.trim_end();
                let sound = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let seed = u128::from_str_radix(digits, 16).ok().filter(|_| sound);
                seed.ok_or_else(|| io::Error::other("`seed` does not hold 32 hexadecimal digits"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whole or not at all: half a seed would be refused for ever.
                self.replace("seed", format!("{fresh:032x}\n").as_bytes())?;
                Ok(fresh)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over what was used in earlier runs, at `unix` seconds since the Unix epoch.
    ///
    /// # Errors
    /// What the system said, or that the file is none of ours: who loses a month of counts should know.
    pub fn restore(&self, ledger: &Memory, unix: u64) -> io::Result<Restored> {
        let Some(bytes) = self.read("quotas")? else { return Ok(Restored::default()) };
        ledger.restore(&bytes, unix).map_err(|error| strange("quotas", error))
    }

    /// Takes over the buckets of earlier runs: how many.
    ///
    /// # Errors
    /// What the system said, or that the file is none of ours.
    pub fn restore_rates(&self, ledger: &Memory, at: Moment) -> io::Result<usize> {
        let Some(bytes) = self.read("rates")? else { return Ok(0) };
        ledger.restore_rates(&bytes, at).map_err(|error| strange("rates", error))
    }

    /// Writes the buckets that are not full again for a minute, if they have changed. A failure is counted, and mended by
    /// the next call.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_rates(&self, ledger: &Memory, at: Moment) -> io::Result<()> {
        let state = ledger.rates(at, WORTH);
        if self.rates.load(Ordering::Relaxed) == state.mark || (state.count == 0 && self.read("rates")?.is_none()) {
            return Ok(());
        }
        let failed = |_: &io::Error| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        };
        self.replace("rates", &state.bytes).inspect_err(failed)?;
        self.rates.store(state.mark, Ordering::Relaxed);
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.directory.join(name);
        match fs::metadata(&path) {
            Ok(about) if about.len() > MAX_BYTES => Err(io::Error::other(format!("`{name}` is larger than 1 GiB"))),
            Ok(_) => fs::read(&path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what changed since the last time, or everything if that is due, and waits for the disk. A failure is counted,
    /// and mended by the next call.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, ledger: &Memory, unix: u64) -> io::Result<()> {
        let mut open = self.log.lock();
        let written = match open.as_mut().filter(|open| open.bytes < open.most) {
            Some(open) => open.append(ledger),
            None => self.begin(ledger, unix).map(|begun| *open = Some(begun)),
        };
        if written.is_err() {
            // What was encoded is lost: the next call writes everything.
            *open = None;
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    /// What earlier runs wrote down of releases.
    ///
    /// # Errors
    /// What the system said.
    pub fn releases(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.directory.join("releases")) {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes down how far releases have come. A failure is counted.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_releases(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.replace("releases", bytes).map(drop);
        if written.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    /// The levers of an earlier run.
    ///
    /// # Errors
    /// What the system said, or that the file is none of ours: who loses a lever in an incident should know.
    pub fn levers(&self) -> io::Result<Vec<Lever>> {
        match fs::read(self.directory.join("levers")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| io::Error::other(format!("`levers`: {error}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Writes the levers that are pulled now, and waits for the disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_levers(&self, levers: &[Lever]) -> io::Result<()> {
        let _one_at_a_time = self.log.lock();
        self.replace("levers", &serde_json::to_vec(levers)?).map(drop)
    }

    /// How many writes failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn begin(&self, ledger: &Memory, unix: u64) -> io::Result<Open> {
        let mut bytes = Vec::new();
        let log = QuotaLog::begin(ledger, unix, &mut bytes);
        let file = self.replace("quotas", &bytes)?;
        let length = bytes.len() as u64;
        Ok(Open { log, file, bytes: length, most: length.saturating_mul(GROWTH).max(SMALL) })
    }

    /// Puts a file with this content in the place of the one of that name. A crash leaves the one or the other.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let fresh = self.directory.join(format!("{name}.new"));
        let mut file = private(OpenOptions::new().create(true).truncate(true)).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }
}

impl Open {
    fn append(&mut self, ledger: &Memory) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.log.append(ledger, &mut bytes) == 0 {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.file.write_all(&bytes)?;
        self.file.sync_data()
    }
}

fn strange(name: &str, error: StateError) -> io::Error {
    io::Error::other(format!("`{name}`: {error}"))
}

/// Readable and writable by its owner only.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.read(true).write(true).mode(0o600)
}

#[cfg(test)]
mod tests;
