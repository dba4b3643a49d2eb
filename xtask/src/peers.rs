//! `cargo xtask peers [SUITE ...]`: the gateway against real clients and real servers.
//!
//! Prepares what `tests/servers/peers.py` needs, runs it and counts its lines; what is checked stands there. A check
//! that could not run is neither passed nor failed: the caller decides what that means. Nothing is written into the
//! repository: the environments, each kept until its requirements change, and the work folder of the last run, with
//! every log, are in `target/peers`.

mod node;

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::project::Project;
use crate::tally::{Tally, say};

const SCRIPTS: &str = "tests/servers";
/// The environment of the driver.
const DRIVER: &str = "env";
/// Suites whose servers need packages that go with no others: an environment each, of `requirements/NAME.txt`.
const OWN: [&str; 4] = ["issuer", "kserve", "llamacpp", "triton"];
/// Suites whose server nobody has by the way, and the variable that names a Python with it. They run where it is set, or
/// where they are named.
const GIVEN: [(&str, &str); 1] = [("vllm", "TOLLGATE_VLLM_PYTHON")];
/// Suites that use a client out of the environment of another.
const BORROWS: [(&str, &str); 1] = [("vllm", "llamacpp")];
/// The wheels that `requirements.txt` pins are for this version.
const PYTHON: &str = "3.11";
/// How long the checks may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    /// The longest that one check may be silent: a model server needs a while to start.
    silence: Duration,
    /// The longest that all of them may take, in seconds; the driver obeys it itself.
    limit: u64,
}

const PATIENCE: Patience = Patience { silence: Duration::from_secs(120), limit: 420 };
/// With a server of [`GIVEN`], whose start alone may take minutes.
const MUCH: Patience = Patience { silence: Duration::from_secs(600), limit: 1_200 };

/// How the checks ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many held.
    pub(crate) passed: u64,
    /// Those that did not, each with what was found.
    pub(crate) failed: Vec<String>,
    /// Those whose peer is not here, each with the command that would change that.
    pub(crate) not_run: Vec<String>,
}

/// Prepares the peers and runs the suites that `args` names, or all of them.
///
/// # Errors
/// When the gateway does not build, or this machine cannot run anything at all.
pub(crate) fn run(project: &Project, args: &[String]) -> Result<Outcome> {
    let built = project.tollgate()?;
    let home = project.target.join("peers");
    fs::create_dir_all(&home).with_context(|| format!("`{}` cannot be made", home.display()))?;
    // Two runs at once would share the environment and the work folder.
    let lock = File::create(home.join("lock")).context("opening the lock file")?;
    lock.lock().context("waiting for another run")?;

    let work = home.join("work");
    if work.exists() {
        fs::remove_dir_all(&work).context("clearing the work folder")?;
    }
    fs::create_dir_all(&work)?;
    // A copy: another build may replace the program while it serves.
    let tollgate = work.join("tollgate");
    fs::copy(&built, &tollgate).context("copying the program")?;

    let scripts = project.root.join(SCRIPTS);
    let (python, lacking) = match environment(&home, DRIVER, &scripts.join("requirements.txt"))? {
        Environment::Ready(python) => (python, None),
        Environment::Lacking(python, command) => (python, Some(command)),
        Environment::NoPython => {
            let why = format!("every suite | apt-get install python{PYTHON} python{PYTHON}-venv");
            return Ok(Outcome { not_run: vec![why], ..Outcome::default() });
        }
    };
    let mut driver = project.command(python, &["-B"]);
    let given = given(args, |name| std::env::var_os(name));
    let patience = if given.is_empty() { PATIENCE } else { MUCH };
    driver.arg(scripts.join("peers.py")).args(["--limit", &patience.limit.to_string()]);
    add_own(&mut driver, &home, &scripts, args)?;
    let wants_node = args.is_empty() || args.iter().any(|suite| suite == "issuer");
    if let Some(packages) = wants_node.then(|| node::packages(&home, &scripts.join("issuer"))).transpose()?.flatten() {
        driver.arg("--node").arg(packages);
    }
    driver.args(given.iter().flat_map(|given| ["--python", given]));
    driver.arg("--tollgate").arg(&tollgate).arg("--work").arg(&work);
    driver.args(lacking.iter().flat_map(|command| ["--lacking", command])).args(args);
    watch(driver, &work.join("driver.log"), patience)
}

/// The Pythons of [`GIVEN`] for the suites that run, as the driver takes them.
fn given(suites: &[String], variable: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let runs = |suite: &str| suites.is_empty() || suites.iter().any(|named| named == suite);
    let python = |(suite, name): &(&str, &str)| {
        let path = variable(name).filter(|path| !path.is_empty() && runs(suite))?;
        Some(format!("{suite}={}", path.to_string_lossy()))
    };
    GIVEN.iter().filter_map(python).collect()
}

/// The Python of a suite's own environment, which is made where it is not there yet.
///
/// # Errors
/// It cannot be made.
pub(crate) fn python(project: &Project, suite: &str) -> Result<PathBuf> {
    let home = project.target.join("peers");
    fs::create_dir_all(&home)?;
    let requirements = project.root.join(SCRIPTS).join(format!("requirements/{suite}.txt"));
    match environment(&home, suite, &requirements)? {
        Environment::Ready(python) => Ok(python),
        Environment::Lacking(_, command) => bail!("the packages of `{suite}` are not there: {command}"),
        Environment::NoPython => bail!("no Python: apt-get install python{PYTHON} python{PYTHON}-venv"),
    }
}

/// Tells the driver the environments that these suites have of their own.
fn add_own(driver: &mut Command, home: &Path, scripts: &Path, suites: &[String]) -> Result<()> {
    let uses =
        |suite: &String, own: &str| suite.split('-').next() == Some(own) || BORROWS.contains(&(suite.as_str(), own));
    for own in OWN.iter().filter(|own| suites.is_empty() || suites.iter().any(|suite| uses(suite, own))) {
        // The driver says what is lacking without it.
        if let Environment::Ready(python) = environment(home, own, &scripts.join(format!("requirements/{own}.txt")))? {
            driver.arg("--python").arg(format!("{own}={}", python.display()));
        }
    }
    Ok(())
}

/// What there is to run scripts with.
enum Environment {
    /// A Python with every package.
    Ready(PathBuf),
    /// A Python without them, and the command that would install them.
    Lacking(PathBuf, String),
    /// Nothing.
    NoPython,
}

/// The virtual environment of these requirements, made where it is not there yet.
fn environment(home: &Path, name: &str, requirements: &Path) -> Result<Environment> {
    let Some((python, version)) = ["python3.11", "python3"].iter().find_map(|program| version(program)) else {
        return Ok(Environment::NoPython);
    };
    if version != PYTHON {
        let command = format!("apt-get install python{PYTHON} python{PYTHON}-venv");
        return Ok(Environment::Lacking(python, command));
    }
    let mut hasher = DefaultHasher::new();
    fs::read(requirements).context("reading the requirements")?.hash(&mut hasher);
    let folder = home.join(format!("{name}-{:016x}", hasher.finish()));
    let inside = folder.join("bin/python");
    // Written last: an environment without it was interrupted.
    let complete = folder.join("complete");
    if complete.exists() && version_of(&inside).is_some() {
        return Ok(Environment::Ready(inside));
    }
    for old in fs::read_dir(home)?.flatten() {
        if old.file_name().to_string_lossy().strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) {
            fs::remove_dir_all(old.path()).context("removing an old environment")?;
        }
    }
    match install(&python, &folder, requirements) {
        Ok(()) => {
            fs::write(&complete, "").context("marking the environment")?;
            Ok(Environment::Ready(inside))
        }
        Err(error) => {
            say(&format!("the packages of `{}` are not there: {error:#}", requirements.display()));
            Ok(Environment::Lacking(python, error.to_string()))
        }
    }
}

fn version(name: &str) -> Option<(PathBuf, String)> {
    let python = PathBuf::from(name);
    let version = version_of(&python)?;
    Some((python, version))
}

fn version_of(python: &Path) -> Option<String> {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let done = Command::new(python).args(["-c", ask]).stdin(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// The context of an error is the command that mends it.
fn install(python: &Path, folder: &Path, requirements: &Path) -> Result<()> {
    say(&format!("installing the packages of `{}`, once", requirements.display()));
    let made = Command::new(python).args(["-m", "venv"]).arg(folder).stdin(Stdio::null()).output();
    succeeded(&made.context("running python")?).with_context(|| format!("apt-get install python{PYTHON}-venv"))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--retries", "1", "--require-hashes", "--only-binary", ":all:", "-r"]).arg(requirements);
    succeeded(&pip.stdin(Stdio::null()).output().context("running pip")?)
        .context("cargo xtask peers, again where pip can reach a package index")
}

/// The last words of a program that failed.
fn succeeded(done: &Output) -> Result<()> {
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    bail!("{}: {}", done.status, words.trim().lines().last().unwrap_or("no word"))
}

/// Ends the driver on every path. What it started ends with it.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the driver, passes its lines on and counts them.
fn watch(mut command: Command, log: &Path, patience: Patience) -> Result<Outcome> {
    let errors = File::create(log).context("opening the log")?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut driver = Driver(command.spawn().context("starting the checks")?);
    let lines = BufReader::new(driver.0.stdout.take().context("its output is a pipe")?).lines();
    let (sender, receiver) = sync_channel(16);
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut outcome = Outcome::default();
    loop {
        match receiver.recv_timeout(patience.silence) {
            Ok(line) => {
                say(&line);
                outcome.count(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                outcome.failed.push(format!(
                    "the checks | silent for {} s: {}",
                    patience.silence.as_secs(),
                    log.display()
                ));
                return Ok(outcome);
            }
        }
    }
    drop(reader.join());
    let status = driver.0.wait().context("waiting for the checks")?;
    // 1 says that a check failed, and that check has a line.
    let told = status.success() || (status.code() == Some(1) && !outcome.failed.is_empty());
    if !told || outcome.is_empty() {
        outcome.failed.push(format!("the checks | ended with {status}: {}", log.display()));
    }
    if !outcome.failed.is_empty() {
        say(&format!("details: {}", log.display()));
    }
    Ok(outcome)
}

impl Outcome {
    /// In numbers.
    pub(crate) fn tally(&self) -> Tally {
        let count = |list: &Vec<String>| u64::try_from(list.len()).unwrap_or(u64::MAX);
        Tally { passed: self.passed, failed: count(&self.failed), skipped: count(&self.not_run) }
    }

    /// Counts one line of the driver.
    fn count(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if let Some(what) = line.strip_prefix("FAILED ") {
            self.failed.push(what.trim().to_owned());
        } else if let Some(what) = line.strip_prefix("not run ") {
            self.not_run.push(what.trim().to_owned());
        }
    }

    const fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.not_run.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Outcome {
        let log = std::env::temp_dir().join(format!("peers-test-{}-{}", std::process::id(), text.len()));
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        let outcome = watch(command, &log, PATIENCE).unwrap();
        fs::remove_file(log).unwrap();
        outcome
    }

    #[test]
    fn each_line_counts_as_what_it_says() {
        let outcome = script("echo 'ok      a: b'; echo 'FAILED  a: c | why'; echo 'not run a: d | apt-get'; exit 1");
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.failed, ["a: c | why"]);
        assert_eq!(outcome.not_run, ["a: d | apt-get"]);
    }

    #[test]
    fn a_server_that_must_be_given_runs_where_its_python_is_named() {
        let named = |name: &str| (name == "TOLLGATE_VLLM_PYTHON").then(|| OsString::from("/v/bin/python"));
        assert_eq!(given(&[], named), ["vllm=/v/bin/python"]);
        assert_eq!(given(&["vllm".to_owned()], named), ["vllm=/v/bin/python"]);
        assert!(given(&["curl".to_owned()], named).is_empty() && given(&[], |_| None).is_empty());
        assert!(given(&[], |_| Some(OsString::new())).is_empty());
    }

    #[test]
    fn a_driver_that_says_nothing_failed() {
        assert_eq!(script("exit 0").failed.len(), 1);
    }

    #[test]
    fn a_driver_that_dies_after_good_lines_failed() {
        let outcome = script("echo 'ok      a: b'; exit 3");
        assert_eq!((outcome.passed, outcome.failed.len()), (1, 1));
        assert_eq!(script("echo 'ok      a: b'; kill -9 $$").failed.len(), 1);
    }
}
