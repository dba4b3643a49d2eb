//! Asking the gateway that serves a configuration, at its admin listener. Plain HTTP/1.1: that listener is on loopback.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tollgate_gateway::config::OperatorDesk;

use crate::environment;

/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The way to the gateway of a configuration.
pub(crate) struct Operator {
    desk: OperatorDesk,
    /// The address that the command line names, instead of the one of the configuration.
    admin: Option<SocketAddr>,
}

impl Operator {
    /// Reads the configuration at `path`.
    pub(crate) fn of(path: &Path, admin: Option<SocketAddr>) -> anyhow::Result<Self> {
        let env = environment();
        let desk = OperatorDesk::open(path, &|name| env.get(name).cloned())?;
        Ok(Self { desk, admin })
    }

    /// Where the gateway keeps what survives a restart.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.desk.kept.as_deref()
    }

    /// The answer to `GET target`. `None` where nobody listens.
    pub(crate) fn get(&self, target: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let (Some(admin), Some(key)) = (self.admin.or(self.desk.admin), &self.desk.key) else { return Ok(None) };
        let mut stream = match TcpStream::connect_timeout(&admin, PATIENCE) {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("asking the gateway at `{admin}`")),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nAuthorization: Bearer ");
        stream.write_all(&[head.as_bytes(), key.expose(), b"\r\n\r\n"].concat())?;
        let mut answer = Vec::new();
        stream.take(MAX_BYTES).read_to_end(&mut answer).with_context(|| format!("reading from `{admin}`"))?;
        body(&answer).map(Some).with_context(|| format!("asking the gateway at `{admin}`"))
    }
}

/// The body of a whole answer, if that says 200.
fn body(answer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let end =
        answer.windows(4).position(|window| window == b"\r\n\r\n").context("an answer without an end of its head")?;
    let (head, rest) = answer.split_at(end);
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line.get(9..12) {
        Some(b"200") => Ok(rest.get(4..).unwrap_or_default().to_vec()),
        Some(b"401") => bail!("it does not know the key of this configuration"),
        _ => bail!("it answered `{}`", String::from_utf8_lossy(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_good_answer_has_a_body() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").expect("a body"), b"{}");
        for bad in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 401 Unauthorized\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n{}"]
        {
            assert!(body(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
