//! The section `secrets.vault`, and what comes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};

use crate::config::{DurationText, SecretSource, endpoint, read_up_to};
use crate::tls::{Speaks, client_config};
use crate::upstream::Address;

/// Where a pod finds its token.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Vault or OpenBao: where it is, how we prove who we are, and what its mounts hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Where it is: `https://vault.internal:8200`. `http://` is for loopback alone. Redirects are not followed: name the node
    /// that is active, or what stands before all of them.
    pub url: String,
    /// PEM file with the roots for `https://`. Default: the web's public roots.
    #[serde(default)]
    pub ca: Option<String>,
    /// The namespace of everything, in OpenBao and the Enterprise edition.
    #[serde(default)]
    pub namespace: Option<String>,
    /// How we prove who we are: exactly one of `token`, `app_role`, `kubernetes`.
    pub login: LoginConfig,
    /// What mounts hold: `kv1`, `kv2`, or `dynamic` for engines that make credentials with a lease. Default: the first part of
    /// a path is a mount with `kv2`.
    #[serde(default)]
    pub mounts: BTreeMap<String, Engine>,
    /// How often what has no lease is read again, a tenth earlier or later. Default: `60s`.
    #[serde(default = "minute")]
    pub poll: DurationText,
    /// How long after the last good reading a value serves; then what needs it is closed. A leased value serves until its lease
    /// ends. Default: `24h`.
    #[serde(default = "day")]
    pub max_stale: DurationText,
    /// How long a start waits for secrets; after that the program ends with exit code 69. Default: `60s`.
    #[serde(default = "minute")]
    pub start_wait: DurationText,
    /// How long one answer may take, connecting included. Default: `5s`.
    #[serde(default = "moment")]
    pub timeout: DurationText,
}

/// How we prove who we are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// A role id and a secret id.
    pub app_role: Option<AppRoleConfig>,
    /// The token of a pod.
    pub kubernetes: Option<KubernetesConfig>,
    /// A token that somebody else gets and renews, such as an agent: `secret://file/token`. Read again at each login.
    pub token: Option<SecretRef>,
}

/// A role id and a secret id.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AppRoleConfig {
    /// Where the method is mounted. Default: `approle`.
    #[serde(default = "app_role")]
    pub mount: String,
    /// The role id, which is no secret.
    pub role_id: String,
    /// The secret id, read again at each login.
    pub secret_id: SecretRef,
    /// `secret_id` is a token that wraps the secret id: it is unwrapped once, after it was looked at where it comes from.
    /// Default: false.
    #[serde(default)]
    pub wrapped: bool,
}

/// The token of a pod.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// Where the method is mounted. Default: `kubernetes`.
    #[serde(default = "kubernetes")]
    pub mount: String,
    /// The role.
    pub role: String,
    /// The projected token, read again at each login. Default: where every pod has one.
    #[serde(default)]
    pub token_file: Option<String>,
    /// Whom the token must be meant for; a token for others, such as the API server's, is not sent. Default: not looked at.
    #[serde(default)]
    pub audience: Option<String>,
}

/// What a mount holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Credentials that are made when asked for, with a lease.
    Dynamic,
    /// Key and value, without versions.
    Kv1,
    /// Key and value, with versions.
    Kv2,
}

const fn minute() -> DurationText {
    DurationText::from_secs(60)
}

const fn day() -> DurationText {
    DurationText::from_secs(86_400)
}

const fn moment() -> DurationText {
    DurationText::from_secs(5)
}

fn app_role() -> String {
    "approle".to_owned()
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

/// The section, ready for use.
pub(in crate::secrets) struct Plan {
    pub(super) address: Address,
    pub(super) namespace: Option<HeaderValue>,
    pub(super) login: Login,
    mounts: BTreeMap<String, Engine>,
    pub(super) poll: Duration,
    pub(super) max_stale: Duration,
    pub(super) timeout: Duration,
    /// How long a start waits.
    pub(in crate::secrets) start_wait: Duration,
}

/// How we prove who we are.
pub(super) enum Login {
    AppRole { mount: String, role_id: String, secret_id: Local, wrapped: bool },
    Kubernetes { mount: String, role: String, token_file: PathBuf, audience: Option<String> },
    Token(Local),
}

/// A secret of our own machine, which proves who we are: a file that is read each time, or a value that stays.
pub(in crate::secrets) enum Local {
    File(SecretSource, PathBuf),
    Fixed(Secret),
}

impl VaultConfig {
    /// Reports every mistake, then makes the plan. `local` opens references that are none to Vault.
    pub(in crate::secrets) fn compile(
        &self,
        base: &Path,
        check: &mut Checker,
        local: &mut dyn FnMut(&SecretRef, &str, &mut Checker) -> Option<Local>,
    ) -> Option<Plan> {
        let address = self.address(base, check);
        let namespace = self.namespace.as_deref().map(HeaderValue::from_str).transpose();
        check.require(namespace.is_ok(), "namespace", "the namespace is no value of a header field");
        let login = check.within("login", |check| self.login.compile(base, check, local));
        check.within("mounts", |check| {
            for mount in self.mounts.keys() {
                let plain = is_path(mount);
                check.require(plain, mount.as_str(), format!("`{mount}` is no mount: no `/` at its ends"));
            }
        });
        let times = [
            ("poll", self.poll),
            ("max_stale", self.max_stale),
            ("start_wait", self.start_wait),
            ("timeout", self.timeout),
        ];
        for (name, time) in times {
            check.require(time.0 >= Duration::from_millis(100), name, format!("`{time}` is too short a time"));
        }
        Some(Plan {
            address: address?,
            namespace: namespace.ok()?,
            login: login?,
            mounts: self.mounts.clone(),
            poll: self.poll.0,
            max_stale: self.max_stale.0,
            timeout: self.timeout.0,
            start_wait: self.start_wait.0,
        })
    }

    fn address(&self, base: &Path, check: &mut Checker) -> Option<Address> {
        let secure = self.url.starts_with("https://");
        check.require(secure || self.ca.is_none(), "ca", "`ca` is for `https://`");
        let pem = self.ca.as_ref().filter(|_| secure).map(|file| read_up_to(&base.join(file), 4 << 20));
        let pem = pem.transpose().map_err(|error| check.problem("ca", format!("cannot be read: {error}"))).ok()?;
        let tls = secure.then(|| client_config(pem.as_deref(), Speaks::H1)).transpose();
        let tls = tls.map_err(|why| check.problem("ca", why)).ok()?;
        let address = endpoint(&self.url, tls.as_ref()).map_err(|why| check.problem("url", why)).ok()?;
        let shown = address.tls.is_none() && !address.is_near();
        let message = "whoever stands between us and `http://` could read every secret";
        if shown {
            check.problem_hint("url", message, "use `https://`; `http://` is for loopback alone");
        }
        (!shown).then_some(address)
    }
}

impl LoginConfig {
    fn compile(
        &self,
        base: &Path,
        check: &mut Checker,
        local: &mut dyn FnMut(&SecretRef, &str, &mut Checker) -> Option<Local>,
    ) -> Option<Login> {
        match (&self.token, &self.app_role, &self.kubernetes) {
            (Some(token), None, None) => local(token, "token", check).map(Login::Token),
            (None, Some(role), None) => check.within("app_role", |check| {
                check.require(is_path(&role.mount), "mount", format!("`{}` is no mount", role.mount));
                check.require(!role.role_id.is_empty(), "role_id", "the role id is empty");
                let secret_id = local(&role.secret_id, "secret_id", check)?;
                let (mount, role_id) = (role.mount.clone(), role.role_id.clone());
                Some(Login::AppRole { mount, role_id, secret_id, wrapped: role.wrapped })
            }),
            (None, None, Some(pod)) => check.within("kubernetes", |check| {
                check.require(is_path(&pod.mount), "mount", format!("`{}` is no mount", pod.mount));
                check.require(!pod.role.is_empty(), "role", "the role is empty");
                let token_file = base.join(pod.token_file.as_deref().unwrap_or(POD_TOKEN));
                let (mount, role, audience) = (pod.mount.clone(), pod.role.clone(), pod.audience.clone());
                Some(Login::Kubernetes { mount, role, token_file, audience })
            }),
            _ => {
                check.problem_here("exactly one of `token`, `app_role` and `kubernetes` says how to log in");
                None
            }
        }
    }
}

impl Plan {
    /// What is asked for to read `path`, and what answers.
    pub(super) fn place(&self, path: &str) -> (Engine, String) {
        let mounts = self.mounts.iter().filter_map(|(mount, engine)| {
            let rest = path.strip_prefix(mount.as_str())?.strip_prefix('/')?;
            Some((mount.as_str(), rest, *engine))
        });
        let first = path.split_once('/').map(|(mount, rest)| (mount, rest, Engine::Kv2));
        match mounts.max_by_key(|(mount, ..)| mount.len()).or(first) {
            Some((mount, rest, Engine::Kv2)) => (Engine::Kv2, format!("{mount}/data/{rest}")),
            Some((_, _, engine)) => (engine, path.to_owned()),
            None => (Engine::Kv1, path.to_owned()),
        }
    }
}

/// Whether a mount can stand in a path as it is.
fn is_path(mount: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    !mount.is_empty() && mount.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(sign))
}
