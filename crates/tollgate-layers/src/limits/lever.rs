//! The lever of an incident: for a while, a tenant, a key or a network gets only a part of its budgets, or nothing. Outlives
//! policies; says what applies to a payer. Decides no request, reads no clock, and opens no file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use ipnet::IpNet;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Payer, Per};
use crate::auth::IdKey;

/// The most levers at once.
pub const MAX_LEVERS: usize = 1024;
/// The longest that one may hold: 30 days.
pub const MAX_LEVER_MS: u64 = 30 * 24 * 3_600_000;
/// The longest reason.
const MAX_REASON: usize = 200;
/// A part is written in thousandths.
pub(super) const WHOLE: u32 = 1000;

/// Every lever that is pulled.
#[derive(Debug)]
pub struct Levers {
    ids: IdKey,
    /// Absent while there is none: then nobody looks anything up.
    table: ArcSwapOption<Table>,
    /// Counts changes, so that a copy of the list elsewhere knows whether it is the newest.
    version: AtomicU64,
    list: Mutex<Vec<Lever>>,
}

/// One lever.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lever {
    /// Whom it is for. There is one at most for each.
    pub target: Target,
    /// What is left of rates and bursts, in thousandths: 0 lets nothing pass.
    pub permille: u32,
    /// When it was pulled, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// When it lets go by itself.
    pub until_unix_ms: u64,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// Whom a lever is for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everybody in a network.
    Cidr(#[serde(serialize_with = "as_text", deserialize_with = "of_text")] IpNet),
    /// A credential, by its id.
    Key(String),
    /// A tenant, by its name.
    Tenant(String),
}

/// Why a lever cannot be pulled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeverError {
    /// It would not lower anything.
    #[error("a factor is at least 0 and below 1, to a thousandth")]
    Factor,
    /// It holds for no time, or for too long.
    #[error("a lever holds for a second at least and 30 days at most")]
    Span,
    /// There are too many.
    #[error("{MAX_LEVERS} levers are pulled already")]
    TooMany,
    /// The reason is too long or not for a line.
    #[error("a reason has at most {MAX_REASON} characters and no control characters")]
    Reason,
}

/// What applies to one payer now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pull {
    /// What is left, in thousandths: the least of all that apply.
    pub(super) permille: u32,
    /// When the first of those lets go.
    pub(super) until_unix_ms: u64,
    tenant: bool,
    key: bool,
    network: bool,
    /// Tells apart what each draws on of a budget that it shares with others.
    pub(super) scope: (u64, u64),
}

#[derive(Debug, Default)]
struct Table {
    tenants: HashMap<u64, Entry>,
    keys: HashMap<u64, Entry>,
    /// By address, masked to a length; every length that occurs.
    networks: HashMap<IpNet, Entry>,
    lengths: Vec<(bool, u8)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    permille: u32,
    until_unix_ms: u64,
}

impl Levers {
    /// None yet. `ids` are those by which payers are known.
    #[must_use]
    pub fn new(ids: IdKey) -> Self {
        let (table, version, list) = (ArcSwapOption::empty(), AtomicU64::new(0), Mutex::default());
        Self { ids, table, version, list }
    }

    /// Pulls a lever, in the place of one for the same target, at `unix_ms`.
    ///
    /// # Errors
    /// It does not lower anything, holds for too long, or there are too many.
    pub fn pull(&self, lever: Lever, unix_ms: u64) -> Result<u64, LeverError> {
        lever.check(unix_ms)?;
        let target = lever.target.trimmed();
        let mut list = self.list.lock();
        list.retain(|other| other.target != target && other.until_unix_ms > unix_ms);
        if list.len() >= MAX_LEVERS {
            return Err(LeverError::TooMany);
        }
        list.push(Lever { target, ..lever });
        Ok(self.changed(&list))
    }

    /// Whether there is one for this target.
    #[must_use]
    pub fn holds(&self, target: &Target) -> bool {
        let target = target.trimmed();
        self.list.lock().iter().any(|lever| lever.target == target)
    }

    /// Lets a lever go; says whether there was one.
    pub fn release(&self, target: &Target) -> bool {
        let target = target.trimmed();
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|other| other.target != target);
        let found = list.len() < before;
        if found {
            self.changed(&list);
        }
        found
    }

    /// Takes out what has let go of itself; says whether anything did.
    pub fn expire(&self, unix_ms: u64) -> bool {
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|lever| lever.until_unix_ms > unix_ms);
        let some = list.len() < before;
        if some {
            self.changed(&list);
        }
        some
    }

    /// Every lever, and the number of the change that made the list so: what a store between nodes has to carry.
    #[must_use]
    pub fn list(&self) -> (u64, Vec<Lever>) {
        let list = self.list.lock();
        (self.version.load(Ordering::Acquire), list.clone())
    }

    /// Takes over a whole list, such as that of an earlier run; what is unsound or over is left out.
    pub fn replace(&self, levers: Vec<Lever>, unix_ms: u64) {
        self.list.lock().clear();
        for lever in levers {
            // What does not hold any more is no mistake.
            drop(self.pull(lever, unix_ms));
        }
        let list = self.list.lock();
        self.changed(&list);
    }

    /// Makes the table anew that requests look at.
    fn changed(&self, list: &[Lever]) -> u64 {
        let mut table = Table::default();
        for lever in list {
            let entry = Entry { permille: lever.permille, until_unix_ms: lever.until_unix_ms };
            match &lever.target {
                Target::Cidr(net) => {
                    let length = (net.addr().is_ipv4(), net.prefix_len());
                    if !table.lengths.contains(&length) {
                        table.lengths.push(length);
                    }
                    table.networks.insert(*net, entry);
                }
                Target::Key(id) => drop(table.keys.insert(self.ids.principal(id), entry)),
                Target::Tenant(name) => drop(table.tenants.insert(self.ids.tenant(name), entry)),
            }
        }
        self.table.store((!list.is_empty()).then(|| Arc::new(table)));
        self.version.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// What applies to `payer`: nothing, at the price of one load, while no lever is pulled.
    pub(super) fn of(&self, payer: Payer<'_>) -> Option<Pull> {
        let table = self.table.load();
        let table = table.as_ref()?;
        let holds = |entry: &&Entry| entry.until_unix_ms > payer.unix_ms;
        let known = !payer.who.is_anonymous();
        let tenant = table.tenants.get(&payer.who.tenant_id).filter(holds).filter(|_| known);
        let key = table.keys.get(&payer.who.principal_id).filter(holds).filter(|_| known);
        let network = table.network(payer.from).filter(|(_, entry)| holds(entry));
        let all = [tenant, key, network.map(|(_, entry)| entry)];
        let permille = all.iter().flatten().map(|entry| entry.permille).min()?;
        // Where nothing passes, the last one that says so ends it; else each end changes something.
        let ends = all.iter().flatten().filter(|entry| permille > 0 || entry.permille == 0);
        let ends = ends.map(|entry| entry.until_unix_ms);
        let until_unix_ms = if permille == 0 { ends.max() } else { ends.min() }?;
        let scope = match (key, network) {
            (Some(_), _) => (payer.who.principal_id, 0),
            (None, Some((net, _))) => (u64::from(net.prefix_len()), self.ids.principal(&net.to_string())),
            (None, None) => (0, 0),
        };
        let (tenant, key, network) = (tenant.is_some(), key.is_some(), network.is_some());
        Some(Pull { permille, until_unix_ms, tenant, key, network, scope })
    }
}

impl Lever {
    /// Whether it can be pulled at `unix_ms`, if there is room.
    ///
    /// # Errors
    /// It does not lower anything, holds for too long, or its reason is no line.
    pub fn check(&self, unix_ms: u64) -> Result<(), LeverError> {
        let span = self.until_unix_ms.saturating_sub(unix_ms);
        if self.permille >= WHOLE {
            return Err(LeverError::Factor);
        }
        if !(1000..=MAX_LEVER_MS).contains(&span) {
            return Err(LeverError::Span);
        }
        if self.reason.chars().count() > MAX_REASON || self.reason.chars().any(char::is_control) {
            return Err(LeverError::Reason);
        }
        Ok(())
    }
}

impl Table {
    /// The narrowest network that an address is in.
    fn network(&self, address: IpAddr) -> Option<(IpNet, &Entry)> {
        let address = address.to_canonical();
        let fits = self.lengths.iter().filter(|(v4, _)| *v4 == address.is_ipv4());
        let nets = fits.filter_map(|(_, length)| IpNet::new(address, *length).ok().map(|net| net.trunc()));
        nets.filter_map(|net| self.networks.get(&net).map(|entry| (net, entry))).max_by_key(|(net, _)| net.prefix_len())
    }
}

impl Pull {
    /// Whether the payer alone draws on a budget of this scope, as far as the lever goes, so that the budget itself can be
    /// lowered; what it shares with others it gets a smaller one of beside it. Budgets of models and of everybody stay.
    pub(super) const fn owns(&self, per: Per) -> Option<bool> {
        match per {
            Per::Address if self.network => Some(true),
            Per::Key if self.tenant || self.key => Some(true),
            Per::Tenant if self.tenant => Some(true),
            Per::Key | Per::Tenant => Some(false),
            Per::Address | Per::Global | Per::Model => None,
        }
    }

    /// So many units count for this many of a budget that is lowered.
    pub(super) fn dearer(&self, units: u64) -> u64 {
        dearer_by(self.permille, units)
    }

    /// What is left of so many.
    pub(super) fn part(&self, units: u64) -> u64 {
        let part = u128::from(units) * u128::from(self.permille) / u128::from(WHOLE);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

fn as_text<S: Serializer>(net: &IpNet, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(net)
}

fn of_text<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

/// What `units` count for where only `permille` thousandths are left.
pub(super) fn dearer_by(permille: u32, units: u64) -> u64 {
    let dearer = (u128::from(units) * u128::from(WHOLE)).div_ceil(u128::from(permille.max(1)));
    u64::try_from(dearer).unwrap_or(u64::MAX)
}

impl Target {
    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cidr(_) => "cidr",
            Self::Key(_) => "key",
            Self::Tenant(_) => "tenant",
        }
    }

    /// The same, as it is kept: of a network, without what is beyond its length.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        match self {
            Self::Cidr(net) => Self::Cidr(net.trunc()),
            other => other.clone(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cidr(net) => write!(f, "{net}"),
            Self::Key(name) | Self::Tenant(name) => f.write_str(name),
        }
    }
}
