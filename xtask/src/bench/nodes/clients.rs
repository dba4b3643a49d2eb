//! Clients of all gateways at once, at a pace of their own: what was admitted, and how long answers took.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// Connections to each gateway.
const CONNECTIONS: u64 = 6;
/// One request in so many has no budget.
const CONTROL: u64 = 4;
const SLOW: Duration = Duration::from_millis(5);
/// A gateway sets its timer so much earlier.
const SLACK: Duration = Duration::from_millis(2);
/// Longer than any answer takes.
const STUCK: Duration = Duration::from_secs(10);

/// What clients saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    /// Which part of the answers took longer than 5 ms, of those with the budget and of those without.
    pub(super) slow: f64,
    pub(super) slow_without: f64,
    /// Which part of the waits of a thread that only sleeps for 3 ms took longer than 5.
    pub(super) asleep: f64,
    /// Requests whose time had passed when their turn came.
    pub(super) unsent: u64,
}

/// What one client counts.
#[derive(Debug, Default)]
struct Count {
    admitted: u64,
    refused: u64,
    unsent: u64,
    /// Answers, and those that were slow, with the budget and without.
    answers: [(u64, u64); 2],
}

/// Clients that ask until they are stopped.
pub(super) struct Load {
    began: Instant,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<anyhow::Result<Count>>>,
    sleeper: JoinHandle<(u64, u64)>,
}

impl Load {
    /// Asks these ports, `per_second` times in all beside the control.
    pub(super) fn start(ports: &[u16], per_second: u64) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = CONNECTIONS * u64::try_from(ports.len())?;
        let pace = Duration::from_nanos(1_000_000_000 * clients / (per_second * CONTROL / (CONTROL - 1)));
        let began = now();
        let client = |number: u64, port: u16| {
            let stop = Arc::clone(&stop);
            // Clients that all ask at once would be waves.
            let first = began + pace.mul_f64(f64::from(u32::try_from(number)?) / f64::from(u32::try_from(clients)?));
            Ok(std::thread::spawn(move || ask(port, (first, pace), &stop)))
        };
        let each = ports.iter().flat_map(|port| (0..CONNECTIONS).map(|_| *port)).zip(0..);
        let clients = each.map(|(port, number)| client(number, port)).collect::<anyhow::Result<_>>()?;
        let until = Arc::clone(&stop);
        let sleeper = std::thread::spawn(move || sleep_on(&until));
        Ok(Self { began, stop, clients, sleeper })
    }

    /// Ends it; what was seen, and how long it took.
    pub(super) fn stop(self) -> anyhow::Result<(Seen, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Count::default();
        for client in self.clients {
            let Ok(count) = client.join() else { bail!("a client panicked") };
            let count = count?;
            all.admitted += count.admitted;
            all.refused += count.refused;
            all.unsent += count.unsent;
            for (sum, part) in all.answers.iter_mut().zip(count.answers) {
                *sum = (sum.0 + part.0, sum.1 + part.1);
            }
        }
        let Ok(asleep) = self.sleeper.join() else { bail!("a sleeper panicked") };
        let [budget, free] = all.answers;
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let [slow, slow_without, asleep] = [budget, free, asleep].map(|(all, slow)| slow as f64 / all.max(1) as f64);
        let Count { admitted, refused, unsent, .. } = all;
        Ok((Seen { admitted, refused, slow, slow_without, asleep, unsent }, now() - self.began))
    }
}

/// What this machine makes of a wait of the same length: sleeps, and how many of them were too long.
fn sleep_on(stop: &AtomicBool) -> (u64, u64) {
    let (mut all, mut long) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = now();
        std::thread::sleep(SLOW - SLACK);
        all += 1;
        long += u64::from(now() - began > SLOW);
    }
    (all, long)
}

fn ask(port: u16, (first, pace): (Instant, Duration), stop: &AtomicBool) -> anyhow::Result<Count> {
    let mut line = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
    line.get_ref().set_nodelay(true)?;
    line.get_ref().set_read_timeout(Some(STUCK))?;
    let (mut count, mut due) = (Count::default(), first);
    for turn in 0.. {
        std::thread::sleep(due.saturating_duration_since(now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // What could not be sent in time is not sent at all: a wave of it would be another load.
        while due + pace < now() {
            due += pace;
            count.unsent += 1;
        }
        let is_control = turn % CONTROL == 0;
        let path = if is_control { "/free/x" } else { "/shared/x" };
        let began = now();
        line.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n").as_bytes())?;
        let status = answer(&mut line)?;
        if let Some((answers, slow)) = count.answers.get_mut(usize::from(is_control)) {
            *answers += 1;
            *slow += u64::from(now() - began > SLOW);
        }
        match (status, is_control) {
            (200, true) => {}
            (200, false) => count.admitted += 1,
            (429, false) => count.refused += 1,
            (other, _) => bail!("an answer of status {other}"),
        }
        due += pace;
    }
    Ok(count)
}

/// The status of the next answer, which is read to its end.
fn answer(line: &mut BufReader<TcpStream>) -> anyhow::Result<u16> {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut field = String::new();
        ensure!(line.read_line(&mut field)? > 0, "a gateway closed a connection");
        let field = field.trim_end().to_ascii_lowercase();
        if let Some(rest) = field.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|digits| digits.parse().ok()).context("a status")?;
        } else if let Some(rest) = field.strip_prefix("content-length: ") {
            length = rest.parse()?;
        } else if field.is_empty() {
            break;
        }
    }
    line.read_exact(&mut vec![0; length])?;
    Ok(status)
}

#[expect(clippy::disallowed_methods, reason = "what is measured here is time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
