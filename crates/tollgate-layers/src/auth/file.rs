//! The key file: its records, what must hold of each, and how it is written. Reading it is the gateway's loader, which
//! knows places; putting it on disk, whole or not at all, is the caller's.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::check::Checker;

use super::{KeyId, Seal, Timestamp, is_env};
use crate::authz::Scope;

/// The longest that a key may live.
pub(super) const MAX_LIFE: Duration = Duration::from_hours(365 * 24);
/// The most keys of a file.
pub(super) const MAX_KEYS: usize = 1_000_000;
const MAX_LISTED: usize = 64;
const MAX_TEXT: usize = 256;
const MAX_LABEL: usize = 64;

/// The key file: written by `tollgate keys`, read by the gateway. It holds no secret, only seals.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The keys, oldest first.
    #[serde(default)]
    #[schemars(length(max = 1_000_000))]
    pub keys: Vec<KeyRecord>,
}

/// One key.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Its public part: 10 letters or digits.
    #[schemars(regex(pattern = "^[0-9A-Za-z]{10}$"))]
    pub id: String,
    /// HMAC-SHA-256 under the pepper, of id and secret, or of a whole `opaque` key: 64 lower-case hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: String,
    /// Which pepper of `auth.keys.pepper` it was sealed with.
    pub pepper_id: String,
    /// How it is recognised. Default: `issued`.
    #[serde(default, skip_serializing_if = "KeyKind::is_issued")]
    pub kind: KeyKind,
    /// The label inside it, for the key that follows it. Default: `live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9]{1,8}$"))]
    pub env: Option<String>,
    /// On whose behalf and bill it is used: a name of `tenants`.
    pub tenant: String,
    /// Who of the tenant uses it, such as `batch-scorer`: 1 to 64 of letters, digits, `.`, `_`, `-`, `@`, `:`. Budgets and
    /// policies then know its user as `TENANT/CLIENT`, whichever key is used. Default: nobody else than the key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub client: String,
    /// What the client uses it for, spelt likewise: of one client and purpose at most two keys live. Default: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub purpose: String,
    /// Without a `client`: the first key of its line, by whose id budgets and policies know its user. Default: itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9A-Za-z]{10}$"))]
    pub first: Option<String>,
    /// What it was made for. Default: everything that the tenant may do, but never `admin`, which must be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub scopes: Vec<Scope>,
    /// Models that it is held to, at most 64. Default: all of the tenant's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub models: Vec<String>,
    /// Addresses or networks that it may come from, at most 64. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub cidrs: Vec<String>,
    /// From when on it is valid. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When it ends: at most 365 days after it was made.
    pub expires_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Whether it lives. Default: `active`.
    #[serde(default)]
    pub state: KeyState,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The key that follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9A-Za-z]{10}$"))]
    pub successor: Option<String>,
    /// What it is for: free text, at most 256 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub note: String,
}

/// How a key is recognised.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// By the id inside it: it was made by `tollgate keys`.
    #[default]
    Issued,
    /// By its seal alone: another system made it, and its id here is a name of ours.
    Opaque,
}

impl KeyKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    fn is_issued(&self) -> bool {
        *self == Self::Issued
    }
}

/// Whether a key lives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is accepted.
    #[default]
    Active,
    /// It is accepted until it ends, and every answer says when that is; its successor is in use.
    Retiring,
    /// It is refused, for ever.
    Revoked,
}

impl KeyState {
    /// The word of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
        }
    }
}

impl KeyFile {
    /// Writes the file as YAML. Texts are quoted and escaped, so that none of them can become structure.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml =
            String::from("# Written by `tollgate keys`. It holds no secret: a key is shown once, when it is made.\n");
        if self.keys.is_empty() {
            yaml.push_str("keys: []\n");
            return yaml;
        }
        yaml.push_str("keys:\n");
        for record in &self.keys {
            record.write(&mut yaml);
        }
        yaml
    }
}

impl KeyRecord {
    /// What budgets and policies know its user by. A key that follows another one is of the same user.
    #[must_use]
    pub fn principal(&self) -> Cow<'_, str> {
        match (&*self.client, &self.first) {
            ("", None) => Cow::Borrowed(&self.id),
            ("", Some(first)) => Cow::Borrowed(first),
            (client, _) => Cow::Owned(format!("{}/{client}", self.tenant)),
        }
    }

    /// Reports what is wrong with the record by itself. Texts are formatted only where they are told: a file may hold
    /// a million keys, and a revocation reads them all.
    pub(super) fn check(&self, check: &mut Checker) {
        check.require(KeyId::parse(&self.id).is_some(), "id", "an id is 10 letters or digits");
        check.require(Seal::parse(&self.hash).is_some(), "hash", "a hash is 64 lower-case hexadecimal digits");
        check.require(!self.tenant.is_empty(), "tenant", "a key belongs to a tenant");
        self.check_line(check);
        self.check_life(check);
        listed(check, "scopes", &self.scopes, |scope| format!("`{}`", scope.name()));
        listed(check, "models", &self.models, |model| format!("`{model}`"));
        listed(check, "cidrs", &self.cidrs, |cidr| format!("`{cidr}`"));
        for (i, cidr) in self.cidrs.iter().enumerate() {
            if let Err((message, hint)) = network(cidr) {
                check.within("cidrs", |check| check.problem_hint(i, message, hint));
            }
        }
        for (name, text) in [("created_by", &self.created_by), ("note", &self.note)] {
            if text.chars().count() > MAX_TEXT {
                check.problem(name, format!("at most {MAX_TEXT} characters"));
            }
        }
    }

    /// What says which other keys it belongs to.
    fn check_line(&self, check: &mut Checker) {
        for (name, text) in [("client", &self.client), ("purpose", &self.purpose)] {
            if !text.is_empty() && !is_label(text) {
                let hint = format!("1 to {MAX_LABEL} of letters, digits, `.`, `_`, `-`, `@`, `:`");
                check.problem_hint(name, "it is no label", hint);
            }
        }
        if self.env.as_ref().is_some_and(|env| !is_env(env)) {
            check.problem("env", "a label is 1 to 8 of `a-z`, `0-9`");
        }
        for (name, id) in [("first", &self.first), ("successor", &self.successor)] {
            if id.as_ref().is_some_and(|id| KeyId::parse(id).is_none()) {
                check.problem(name, "an id is 10 letters or digits");
            }
        }
        if self.first.is_some() && !self.client.is_empty() {
            check.problem("first", "only where there is no `client`");
        }
    }

    fn check_life(&self, check: &mut Checker) {
        let (made, end) = (self.created_at, self.expires_at);
        check.require(end > made, "expires_at", "the key ends before it was made");
        if end.since(made) > MAX_LIFE {
            let last = made.after(MAX_LIFE);
            check.problem_hint("expires_at", "a key lives at most 365 days", format!("the last day is `{last}`"));
        }
        if let Some(start) = self.not_before {
            check.require(start < end, "not_before", "the key ends before it is valid");
        }
        if self.state != KeyState::Revoked && self.revoked_at.is_some() {
            check.problem("revoked_at", format!("the state is `{}`", self.state.name()));
        }
    }

    /// The networks that it may come from; those that cannot be read are left out, and were reported.
    pub(super) fn networks(&self) -> Vec<IpNet> {
        self.cidrs.iter().filter_map(|cidr| network(cidr).ok()).collect()
    }

    fn write(&self, yaml: &mut String) {
        let fields = [
            ("id", quoted(&self.id)),
            ("hash", quoted(&self.hash)),
            ("pepper_id", quoted(&self.pepper_id)),
            ("kind", if self.kind.is_issued() { String::new() } else { "opaque".to_owned() }),
            ("env", optional(self.env.as_deref())),
            ("tenant", quoted(&self.tenant)),
            ("client", optional(Some(&self.client))),
            ("purpose", optional(Some(&self.purpose))),
            ("first", optional(self.first.as_deref())),
            ("scopes", list(self.scopes.iter().map(|scope| scope.name()))),
            ("models", list(self.models.iter().map(String::as_str))),
            ("cidrs", list(self.cidrs.iter().map(String::as_str))),
            ("not_before", time(self.not_before)),
            ("expires_at", time(Some(self.expires_at))),
            ("created_by", quoted(&self.created_by)),
            ("created_at", time(Some(self.created_at))),
            ("last_used", time(self.last_used)),
            ("state", self.state.name().to_owned()),
            ("revoked_at", time(self.revoked_at)),
            ("successor", optional(self.successor.as_deref())),
            ("note", optional(Some(&self.note))),
        ];
        let mut lead = "  - ";
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            let _written = writeln!(yaml, "{lead}{name}: {value}");
            lead = "    ";
        }
    }
}

/// Reports lists that are too long, and what stands in them twice.
fn listed<T: PartialEq>(check: &mut Checker, name: &str, items: &[T], show: impl Fn(&T) -> String) {
    if items.len() > MAX_LISTED {
        return check.problem(name, format!("at most {MAX_LISTED} entries"));
    }
    for (i, item) in items.iter().enumerate() {
        if items.iter().take(i).any(|earlier| earlier == item) {
            check.within(name, |check| check.problem(i, format!("{} is listed twice", show(item))));
        }
    }
}

/// Reads a network, or one address.
fn network(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let message = format!("`{text}` is not a network");
        return Err((message, "write `192.0.2.0/24`, `2001:db8::/32` or one address".to_owned()));
    };
    if net.addr() != net.network() {
        return Err((format!("`{text}` has bits set beyond its prefix"), format!("the network is `{}`", net.trunc())));
    }
    Ok(net)
}

fn is_label(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte);
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(fit)
}

/// Nothing where there is nothing to say.
fn optional(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).map(quoted).unwrap_or_default()
}

fn time(time: Option<Timestamp>) -> String {
    time.map(|time| quoted(&time.to_string())).unwrap_or_default()
}

/// A flow list; nothing where it is empty.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(quoted).collect();
    if items.is_empty() { String::new() } else { format!("[{}]", items.join(", ")) }
}

/// A double-quoted scalar of YAML 1.2: everything but letters, digits and plain ASCII signs is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let code = u32::from(character);
        let _written = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            ' '..='~' => write!(quoted, "{character}"),
            _ if character.is_alphanumeric() => write!(quoted, "{character}"),
            _ if code <= 0xffff => write!(quoted, "\\u{code:04X}"),
            _ => write!(quoted, "\\U{code:08X}"),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::KeyFile;
    use crate::auth::NewKey;
    use crate::auth::tests::{NOW, at, issue, request};
    use crate::authz::Scope;

    #[test]
    fn an_empty_file_is_read_back() {
        let file = KeyFile::default();
        assert_eq!(serde_saphyr::from_str::<KeyFile>(&file.to_yaml()).expect("it can be read"), file);
    }

    proptest! {
        #[test]
        fn a_written_file_is_read_back(note in "\\PC{0,40}", wild in any::<String>(), model in any::<String>()) {
            let mut file = KeyFile::default();
            let full = NewKey {
                scopes: vec![Scope::Infer, Scope::List],
                cidrs: vec!["10.0.0.0/8".into()],
                not_before: Some(at("2027-01-02T00:00:00Z")),
                note,
                ..request()
            };
            issue(&mut file, full, 1);
            issue(&mut file, request(), 2);
            file.keys[1].created_by = wild;
            file.keys[1].models = vec![model];
            file.keys[1].last_used = Some(at("2027-01-03T00:00:00Z"));
            file.keys[1].kind = super::KeyKind::Opaque;
            file.keys[1].first = Some(file.keys[0].id.clone());
            file.keys[0].client = "batch-scorer".into();
            file.keys[0].purpose = "nightly".into();
            file.keys[0].successor = Some(file.keys[1].id.clone());
            file.revoke(&file.keys[1].id.clone(), at(NOW)).expect("it is there");
            let read: KeyFile = serde_saphyr::from_str(&file.to_yaml()).expect("it can be read");
            assert_eq!(read, file);
        }
    }
}
