//! The admin listener of the gateway that runs with a configuration, for verbs that ask it something. Plain HTTP/1.1: that
//! listener is on loopback.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use tollgate_core::secret::Secret;
use tollgate_gateway::config::OperatorDesk;

use crate::environment;

/// How long an answer of the admin listener may take: an act waits for its record.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of such an answer.
const MOST: u64 = 256 << 20;

/// Which gateway a verb asks.
#[derive(Args, Debug)]
pub(crate) struct Whose {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
    /// Where the admin listener is, if not where the configuration says.
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

impl Whose {
    /// What the configuration says of the way there.
    pub(crate) fn desk(&self) -> anyhow::Result<OperatorDesk> {
        let env = environment();
        let mut desk = OperatorDesk::open(&self.config, &|name| env.get(name).cloned())?;
        desk.admin = self.admin.or(desk.admin);
        Ok(desk)
    }

    /// The admin listener of that gateway.
    pub(crate) fn door(&self) -> anyhow::Result<Door> {
        let OperatorDesk { admin, key, .. } = self.desk()?;
        let at = admin.context("no listener serves `admin` at an address and a port")?;
        if at.port() == 0 {
            bail!("the admin listener takes any free port: say `--admin ADDRESS`");
        }
        Ok(Door { at, key: key.context("no `admin: { key: … }`")? })
    }
}

/// The admin listener of a gateway.
pub(crate) struct Door {
    at: SocketAddr,
    key: Secret,
}

impl Door {
    pub(crate) const fn new(at: SocketAddr, key: Secret) -> Self {
        Self { at, key }
    }

    /// The body of the answer to a GET, as text. `None` where nobody listens.
    pub(crate) fn read(&self, target: &str) -> anyhow::Result<Option<String>> {
        match self.call("GET", target, "") {
            Ok(answer) => good(answer).map(Some),
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the gateway; an error with what it said where that is no yes.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> anyhow::Result<Value> {
        Ok(told(&good(self.call(method, target, body)?)?))
    }

    /// Asks the gateway: the status of its answer, and what it said.
    pub(crate) fn answer(&self, method: &str, target: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        let (status, body) = self.call(method, target, body)?;
        Ok((status, told(&body)))
    }

    fn call(&self, method: &str, target: &str, body: &str) -> anyhow::Result<(u16, String)> {
        let at = self.at;
        let mut stream =
            TcpStream::connect_timeout(&at, PATIENCE).with_context(|| format!("no gateway answers at {at}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer ")
                .into_bytes();
        request.extend_from_slice(self.key.expose());
        let rest = format!("\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request.extend_from_slice(rest.as_bytes());
        stream.write_all(&request)?;
        let mut answer = String::new();
        stream.take(MOST).read_to_string(&mut answer).with_context(|| format!("reading from {at}"))?;
        parted(&answer).with_context(|| format!("asking the gateway at {at}"))
    }
}

/// What a body says; its text as an error where it is no JSON.
fn told(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| json!({ "error": body }))
}

/// Status and body of a whole answer.
fn parted(answer: &str) -> anyhow::Result<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if status == 401 {
        bail!("it has another admin key");
    }
    Ok((status, body.to_owned()))
}

/// The body of an answer that says yes.
fn good((status, body): (u16, String)) -> anyhow::Result<String> {
    if status != 200 {
        let told = told(&body);
        let why = told.get("error").and_then(Value::as_str).unwrap_or("no word why");
        bail!("the gateway says {status}: {why}")
    }
    Ok(body)
}

fn is_refused(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_good_answer_has_a_body() {
        let body = |answer: &str| good(parted(answer)?);
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").expect("a body"), "{}");
        for bad in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 401 Unauthorized\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n{}"]
        {
            assert!(body(bad).is_err(), "{bad}");
        }
    }
}
