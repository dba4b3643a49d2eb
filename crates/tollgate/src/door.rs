//! The admin listener of the gateway that runs with a configuration, for verbs that ask it something.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;
use tollgate_gateway::config::{Config, Serves};
use tollgate_gateway::secrets::Vault;

/// How long an answer of the admin listener may take: an act waits for its record.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of such an answer.
const MOST: u64 = 1 << 22;

/// The admin listener of a gateway.
pub(crate) struct Door {
    at: SocketAddr,
    key: Secret,
}

impl Door {
    pub(crate) fn of(
        config: &Config,
        at: Option<SocketAddr>,
        path: &Path,
        vars: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let named = config.listeners.values().find(|listener| listener.serves == Serves::Admin);
        let bind = named.map(|listener| listener.bind.as_str());
        let at = match (at, bind) {
            (Some(at), _) => at,
            (None, Some(bind)) => bind.parse().with_context(|| format!("`{bind}` is not an address and a port"))?,
            (None, None) => bail!("no listener serves `admin`"),
        };
        if at.port() == 0 {
            bail!("the admin listener takes any free port: say `--admin ADDRESS`");
        }
        let admin = config.admin.as_ref().context("no `admin: { key: … }`")?;
        let env = |name: &str| vars.get(name).cloned();
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut check = Checker::default();
        let key = Vault::new(&base, &env).open(&admin.key, "key", &mut check);
        let why = || check.finish().0.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ");
        Ok(Self { at, key: key.ok_or_else(|| anyhow!("the admin key: {}", why()))? })
    }

    /// Asks the gateway; an error with what it said where that is no yes.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> anyhow::Result<Value> {
        match self.answer(method, target, body)? {
            (200, told) => Ok(told),
            (status, told) => {
                let why = told.get("error").and_then(Value::as_str).unwrap_or("no word why");
                bail!("the gateway says {status}: {why}")
            }
        }
    }

    /// Asks the gateway: the status of its answer, and what it said.
    pub(crate) fn answer(&self, method: &str, target: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        let at = self.at;
        let mut stream =
            TcpStream::connect_timeout(&at, PATIENCE).with_context(|| format!("no gateway answers at {at}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer ")
                .into_bytes();
        request.extend_from_slice(self.key.expose());
        let rest = format!("\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request.extend_from_slice(rest.as_bytes());
        stream.write_all(&request)?;
        let mut answer = String::new();
        stream.take(MOST).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the gateway's answer is none")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status == 401 {
            bail!("the gateway at {at} has another admin key");
        }
        let told = serde_json::from_str(body).unwrap_or_else(|_| json!({ "error": body }));
        Ok((status, told))
    }
}
