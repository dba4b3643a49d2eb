//! The words of Valkey and Redis: one versioned script, run by its digest and sent whole where it is not known. Decides
//! nothing; what the numbers mean is said in `tollgate-limit`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use tollgate_core::secret::Secret;
use tollgate_limit::{Act, Bound, MAX_LEVELS, Standing};

use super::{Charged, Claim, Connect, Name, Store, StoreFault};

/// See the file itself.
const SCRIPT: &str = include_str!("script.lua");

/// Of the keys and of the script; another arithmetic gets another number, and its own balances.
const VERSION: u32 = 1;

/// A node that was not heard of for so long is gone.
const EXPIRY_US: u64 = 3_000_000;

/// How long a connection, and an answer, may take before they count as never. Requests wait far less.
const CONNECT: Duration = Duration::from_millis(500);
const ANSWER: Duration = Duration::from_millis(500);

/// How a store is reached.
#[derive(Clone)]
pub struct Dial {
    pub(super) client: Reach,
    pub(super) namespace: Box<str>,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) enum Reach {
    Cluster(ClusterClient),
    One(Client),
}

/// A connection to a store.
#[derive(Clone)]
pub struct Valkey {
    line: Line,
    pub(super) namespace: Box<str>,
    digest: Arc<str>,
}

#[derive(Clone)]
enum Line {
    Cluster(ClusterConnection),
    One(MultiplexedConnection),
}

impl Dial {
    /// How the store of `url` is reached: several, separated by commas, are of one cluster. `ca` is the PEM of the only
    /// authorities that its certificate may be of.
    ///
    /// # Errors
    /// What is wrong, without the address, which holds a password.
    pub fn new(url: &Secret, ca: Option<Vec<u8>>, cluster: bool, namespace: &str) -> Result<Self, String> {
        let text = str::from_utf8(url.expose()).map_err(|_| "is not text")?;
        let infos: Vec<_> = text.split(',').map(|url| info(url.trim())).collect::<Result<_, _>>()?;
        let tls = TlsCertificates { client_tls: None, root_cert: ca };
        // What the library says of a mistake may quote the address.
        let client = match (cluster, infos.as_slice()) {
            (false, [info]) if is_tls(info) => {
                Reach::One(Client::build_with_tls(info.clone(), tls).map_err(|_| "cannot be used with this `ca`")?)
            }
            (false, [info]) => Reach::One(Client::open(info.clone()).map_err(|_| "is no address of a store")?),
            (false, _) => return Err("names several servers: that is for `cluster: true`".to_owned()),
            (true, infos) => {
                let mut builder = ClusterClientBuilder::new(infos.iter().cloned());
                if infos.iter().any(is_tls) {
                    builder = builder.certs(tls);
                }
                let builder = builder.connection_timeout(CONNECT).response_timeout(ANSWER).retries(1);
                Reach::Cluster(builder.build().map_err(|_| "names no cluster: users and schemes must be the same")?)
            }
        };
        Ok(Self { client, namespace: namespace.into() })
    }
}

/// One server: `redis://`, `rediss://` and so on. A certificate is always checked.
fn info(url: &str) -> Result<ConnectionInfo, String> {
    if url.ends_with("#insecure") {
        return Err("says `#insecure`: a certificate is always checked".to_owned());
    }
    url.into_connection_info().map_err(|_| "is no address such as `rediss://user:password@host:6379`".to_owned())
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Connect for Dial {
    type Store = Valkey;

    async fn connect(&self) -> Result<Valkey, StoreFault> {
        let line = match &self.client {
            Reach::One(client) => {
                let config = AsyncConnectionConfig::new();
                let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
                Line::One(client.get_multiplexed_async_connection_with_config(&config).await.map_err(fault)?)
            }
            Reach::Cluster(client) => Line::Cluster(client.get_async_connection().await.map_err(fault)?),
        };
        let digest = redis::Script::new(SCRIPT).get_hash().into();
        Ok(Valkey { line, namespace: self.namespace.clone(), digest })
    }
}

impl Store for Valkey {
    async fn charge(&self, claims: &[Claim]) -> Result<Charged, StoreFault> {
        let numbers = self.balances("charge", claims).await?;
        let (first, rest) = numbers.split_first().ok_or_else(garbled)?;
        let natural = |number: &i64| u64::try_from(*number).map_err(|_| garbled());
        if *first != 0 {
            let at = usize::try_from(*first - 1).map_err(|_| garbled())?;
            let [wait, standing] = rest else { return Err(garbled()) };
            let (wait, standing) = (Duration::from_micros(natural(wait)?), Standing(natural(standing)?));
            return Ok(Charged::No { at, wait, standing });
        }
        let (pairs, _) = rest.as_chunks::<2>();
        let pairs = pairs.iter().map(|[granted, standing]| Ok((natural(granted)?, Standing(natural(standing)?))));
        let granted: arrayvec::ArrayVec<_, MAX_LEVELS> = pairs.take(MAX_LEVELS).collect::<Result<_, StoreFault>>()?;
        if granted.len() == claims.len() { Ok(Charged::Yes(granted)) } else { Err(garbled()) }
    }

    async fn settle(&self, claims: &[Claim]) -> Result<Vec<Standing>, StoreFault> {
        // Balances of one tag go together; calls that are under way at once share a write.
        let mut order: Vec<_> = (0..claims.len()).collect();
        order.sort_by_key(|&i| claims.get(i).map(|claim| claim.name.tag));
        let tag = |i: &usize| claims.get(*i).map(|claim| claim.name.tag);
        let groups: Vec<_> =
            order.chunk_by(|a, b| tag(a) == tag(b)).flat_map(|group| group.chunks(MAX_LEVELS)).collect();
        let calls = groups.iter().map(|group| async {
            let bare: Vec<_> = group.iter().filter_map(|&i| claims.get(i).copied()).collect();
            self.balances("settle", &bare).await
        });
        let mut standings = vec![Standing::default(); claims.len()];
        for (group, numbers) in groups.iter().zip(join_all(calls).await) {
            let numbers = numbers?;
            let (pairs, _) = numbers.get(1..).unwrap_or_default().as_chunks::<2>();
            for (&i, [_, standing]) in group.iter().zip(pairs) {
                if let Some(place) = standings.get_mut(i) {
                    *place = Standing(u64::try_from(*standing).map_err(|_| garbled())?);
                }
            }
        }
        Ok(standings)
    }

    async fn heartbeat(&self, node: u64) -> Result<u32, StoreFault> {
        let numbers: Vec<i64> =
            self.run(&[self.nodes()], &["beat".to_owned(), name(node), EXPIRY_US.to_string()]).await?;
        numbers.first().and_then(|count| u32::try_from(*count).ok()).ok_or_else(garbled)
    }

    async fn read_levers(&self) -> Result<String, StoreFault> {
        self.run(&[self.levers()], &["read".to_owned()]).await
    }

    async fn write_levers(&self, was: &str, text: &str, keep: Duration) -> Result<bool, StoreFault> {
        let (was, text, keep) = (was.to_owned(), text.to_owned(), keep.as_millis().to_string());
        let written: i64 = self.run(&[self.levers()], &["write".to_owned(), was, text, keep]).await?;
        Ok(written == 1)
    }

    async fn leave(&self, node: u64) -> Result<(), StoreFault> {
        self.run::<Vec<i64>>(&[self.nodes()], &["leave".to_owned(), name(node)]).await.map(drop)
    }
}

impl Valkey {
    async fn balances(&self, verb: &str, claims: &[Claim]) -> Result<Vec<i64>, StoreFault> {
        let keys: Vec<_> = claims.iter().map(|claim| self.key(claim.name)).collect();
        let mut arguments = Vec::with_capacity(1 + 7 * claims.len());
        arguments.push(verb.to_owned());
        for Claim { demand, .. } in claims {
            let (kind, bound, span) = match demand.bound {
                Bound::Rate { burst_us, debt_us } => ("r", burst_us, burst_us.saturating_add(debt_us)),
                Bound::Quota { max, keep_ms } => ("q", max, keep_ms.max(1)),
            };
            let act = match demand.act {
                Act::Charge => "c",
                Act::Debit => "d",
                Act::GiveBack => "g",
            };
            arguments.extend([kind, act].map(str::to_owned));
            arguments.extend([demand.want, demand.least, bound, span, demand.floor].map(|number| number.to_string()));
        }
        self.run(&keys, &arguments).await
    }

    /// Runs the script; sends it whole where the server does not know it, as after a restart.
    async fn run<T: FromRedisValue>(&self, keys: &[String], arguments: &[String]) -> Result<T, StoreFault> {
        match self.line.ask(&command("EVALSHA", &self.digest, keys, arguments)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.line.ask(&command("EVAL", SCRIPT, keys, arguments)).await.map_err(fault)
            }
            answer => answer.map_err(fault),
        }
    }

    /// Asks the store anything else.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreFault> {
        self.line.ask(command).await.map_err(fault)
    }

    fn key(&self, Name { tag, hash, period }: Name) -> String {
        let Self { namespace, .. } = self;
        match period {
            0 => format!("{namespace}:{VERSION}:{{{tag:08x}}}:{hash:016x}"),
            _ => format!("{namespace}:{VERSION}:{{{tag:08x}}}:{hash:016x}:{period}"),
        }
    }

    fn levers(&self) -> String {
        format!("{}:{VERSION}:levers", self.namespace)
    }

    fn nodes(&self) -> String {
        format!("{}:{VERSION}:nodes", self.namespace)
    }
}

impl Line {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Cluster(line) => command.query_async(&mut line.clone()).await,
            Self::One(line) => command.query_async(&mut line.clone()).await,
        }
    }
}

fn command(verb: &str, script: &str, keys: &[String], arguments: &[String]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

fn name(node: u64) -> String {
    format!("{node:016x}")
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn fault(error: RedisError) -> StoreFault {
    let broken = error.is_unrecoverable_error() || error.is_connection_refusal() || error.is_connection_dropped();
    // Neither kind nor code quotes an address.
    StoreFault { why: format!("{} {}", error.category(), error.code().unwrap_or_default()), broken }
}

pub(super) fn garbled() -> StoreFault {
    StoreFault { why: "an answer that makes no sense".to_owned(), broken: false }
}

#[cfg(test)]
mod tests;
