//! What a case file may say. The types are the reference: `tollgate test --schema` prints them for editors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tollgate_core::stage::Stage;
use tollgate_layers::authz::Scope;

/// A file of cases.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// The configuration to test, relative to this file. Default: that of the command line.
    #[serde(default)]
    pub(crate) config: Option<String>,
    /// The cases. Each meets a gateway of its own, whose budgets are full.
    pub(crate) cases: Vec<Case>,
}

/// One case: a promise, and the requests that prove it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The promise, as a sentence.
    pub(crate) what: String,
    /// Requests, one after the other.
    #[schemars(length(min = 1))]
    pub(crate) steps: Vec<Step>,
}

/// One request, and what must come of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What is sent.
    pub(crate) send: Send,
    /// Whose API key it carries: the name of a tenant, or a key with limits of its own. Default: none.
    #[serde(default, rename = "as")]
    pub(crate) caller: Option<Caller>,
    /// What the model server answers, if it is asked.
    #[serde(default)]
    pub(crate) stub: Stub,
    /// How often it is sent; `expect` holds for each. Default: 1.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) times: u32,
    /// What must come of it. What is not named is not looked at.
    pub(crate) expect: Expect,
}

/// A request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// Method. Default: `POST` with a body, else `GET`.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Target: path and query. Default: `/`.
    #[serde(default = "root")]
    pub(crate) path: String,
    /// `h1` or `h2`. Default: `h1`.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// Name of the listener. Default: the first that serves `data`.
    #[serde(default)]
    pub(crate) listener: Option<String>,
    /// Header fields: a text, or a list of texts for a field that is sent more than once. `Host`, `Content-Length` and,
    /// with a body, `Content-Type: application/json` are added unless they stand here.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Texts>,
    /// Body: this value as JSON.
    #[serde(default)]
    pub(crate) json: Option<Value>,
    /// Body: this text.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// Body: these bytes, in base64.
    #[serde(default)]
    pub(crate) base64: Option<String>,
    /// Body: these pieces, joined.
    #[serde(default)]
    pub(crate) pieces: Option<Vec<Piece>>,
    /// Whether the body is compressed with gzip, and `Content-Encoding` says so. Default: false.
    #[serde(default)]
    pub(crate) gzip: bool,
    /// The whole request byte for byte, for HTTP/1.1 that no client would write; `{host}` and `{key}` stand for the
    /// address and the caller's key. Nothing else of `send` may stand beside it, except `listener`.
    #[serde(default)]
    pub(crate) raw: Option<String>,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    /// HTTP/1.1
    #[default]
    H1,
    /// HTTP/2
    H2,
}

/// A text, or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Texts {
    /// Several.
    Many(Vec<String>),
    /// One.
    One(String),
}

/// A piece of a body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Piece {
    /// A text again and again.
    Repeated(Repeated),
    /// A text.
    Text(String),
}

/// A text again and again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeated {
    /// The text.
    pub(crate) repeat: String,
    /// How often.
    #[schemars(range(max = 1_000_000_000))]
    pub(crate) times: u64,
}

/// Whose key a request carries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Caller {
    /// A key with limits of its own.
    Key(KeyOf),
    /// A key of the tenant.
    Tenant(String),
}

/// A key with limits of its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyOf {
    /// Name of the tenant.
    pub(crate) tenant: String,
    /// What the key may do. Default: everything that the tenant may, but never `admin`.
    #[serde(default)]
    pub(crate) scopes: Vec<Scope>,
    /// Models that the key is held to. Default: all of the tenant's.
    #[serde(default)]
    pub(crate) models: Vec<String>,
    /// Networks that the key may be used from. Default: anywhere. Cases come from `127.0.0.1`.
    #[serde(default)]
    pub(crate) cidrs: Vec<String>,
    /// Whether the key was revoked. Default: false.
    #[serde(default)]
    pub(crate) revoked: bool,
}

/// What the model server answers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stub {
    /// Status. Default: 200.
    #[serde(default = "fine")]
    #[schemars(range(min = 200, max = 599))]
    pub(crate) status: u16,
    /// Header fields.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Texts>,
    /// Body: this value as JSON. Default: `{"stub": true}`.
    #[serde(default)]
    pub(crate) json: Option<Value>,
    /// Body: this text, instead of `json`.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// How long it takes, in milliseconds. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 60_000))]
    pub(crate) delay_ms: u64,
}

/// What must come of a request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Status of the answer.
    #[schemars(range(min = 200, max = 599))]
    pub(crate) status: Option<u16>,
    /// Code of the problem document.
    pub(crate) code: Option<String>,
    /// The stage that refused, as the record has it.
    pub(crate) stage: Option<Stage>,
    /// Where in the body the first mistake stands, as the problem document says.
    pub(crate) pointer: Option<String>,
    /// What the problem document says was expected there.
    pub(crate) expected: Option<String>,
    /// What the problem document says was found there.
    pub(crate) found: Option<String>,
    /// Header fields of the answer: a text, in which `*` stands for anything; or `null` for a field that must not be
    /// there.
    pub(crate) header: BTreeMap<String, Option<String>>,
    /// What the body of the answer contains.
    pub(crate) body_contains: Option<Texts>,
    /// What the body of the answer does not contain.
    pub(crate) body_lacks: Option<Texts>,
    /// Whether a model server was asked.
    pub(crate) upstream: Option<Reach>,
    /// What the model server was sent, the first time that it was asked.
    pub(crate) forwarded: Option<Forwarded>,
    /// What the evidence in the record contains: the reason that clients are not told.
    pub(crate) evidence_contains: Option<Texts>,
    /// Stages that only watch, and would have refused.
    pub(crate) would_refuse: Option<Vec<Stage>>,
}

/// Whether a model server was asked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// It was.
    Reached,
    /// Not a byte reached it.
    Untouched,
}

/// What the model server was sent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Forwarded {
    /// How often it was asked.
    pub(crate) times: Option<usize>,
    /// Method.
    pub(crate) method: Option<String>,
    /// Target.
    pub(crate) path: Option<String>,
    /// Header fields: as in `expect.header`.
    pub(crate) header: BTreeMap<String, Option<String>>,
    /// What its body contains.
    pub(crate) body_contains: Option<Texts>,
    /// Whether its body is, byte for byte, what was sent before any compression.
    pub(crate) body_as_sent: bool,
}

const fn once() -> u32 {
    1
}

const fn fine() -> u16 {
    200
}

fn root() -> String {
    "/".to_owned()
}

impl Default for Stub {
    fn default() -> Self {
        Self { status: fine(), headers: BTreeMap::new(), json: None, text: None, delay_ms: 0 }
    }
}

impl Texts {
    /// Them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::Many(texts) => texts.as_slice(),
            Self::One(text) => std::slice::from_ref(text),
        };
        texts.iter().map(String::as_str)
    }
}

impl Caller {
    /// The key that is meant.
    pub(crate) fn key(&self) -> KeyOf {
        match self {
            Self::Key(key) => key.clone(),
            Self::Tenant(tenant) => KeyOf { tenant: tenant.clone(), ..KeyOf::default() },
        }
    }
}
