//! The `waf` section, and what a route may say of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::guard::{Mode, OnFault, Switch};

/// Rules written for the web. Without this section the pack that ships with the gateway is run and only watched.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WafConfig {
    /// `enforce`, `observe` or `off`. Default: `observe`. Where it is observed, every rule is evaluated and none
    /// refuses.
    pub mode: Mode,
    /// What a fault means, such as a spent budget: `close` or `open`.
    pub on_fault: OnFault,
    /// The OWASP Core Rule Set: `debian` for the package `modsecurity-crs`, or the directory of a release (`crs-setup.conf`
    /// or `crs-setup.conf.example`, and `rules/`), relative to this file. Default: none.
    pub crs: Option<String>,
    /// Rule files, directories (their `*.conf`) and patterns, relative to this file, loaded in this order. Default: none.
    pub rules: Vec<String>,
    /// Rules that ship with the gateway: `ml`, for model endpoints, or `none`. Default: `ml`.
    pub pack: Pack,
    /// How prompts are treated: `ml` excuses them from rules that take a developer's question for an attack; `stock`
    /// leaves all rules as they are. Default: `ml`.
    pub profile: Profile,
    /// Arguments of untyped JSON bodies that are prompts, such as `json.text`. Typed protocols know theirs.
    pub prompt_fields: Vec<String>,
    /// The most arguments of one request; an array of numbers counts as one. Default: 1000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_args: usize,
    /// How much scanning one request may cost, in bytes times rules. Default: 100000000, about 0.1 s.
    #[schemars(range(min = 100_000))]
    pub max_scan_work: u64,
    /// Scan replies that stream in windows as they pass. They are never held back. Default: false.
    pub stream_reply: bool,
    /// How eager the Core Rule Set is: 1 to 4. Default: as the rule files say.
    #[schemars(range(min = 1, max = 4))]
    pub paranoia: Option<u8>,
    /// The anomaly score at which a request is refused. Default: as the rule files say.
    #[schemars(range(min = 1, max = 100_000))]
    pub inbound_threshold: Option<u32>,
    /// The anomaly score at which a reply is refused. Default: as the rule files say.
    #[schemars(range(min = 1, max = 100_000))]
    pub outbound_threshold: Option<u32>,
    /// Lines of SecLang that take rules or targets away, such as `SecRuleRemoveById 942100`. Default: none.
    pub exclusions: Vec<String>,
    /// One line of JSON for every request, with the rules that matched. Default: none.
    pub log: Option<WafLogConfig>,
}

/// What a route changes: everything that is not written here is as in the section `waf`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteWaf {
    /// How eager the Core Rule Set is: 1 to 4.
    #[schemars(range(min = 1, max = 4))]
    pub paranoia: Option<u8>,
    /// The anomaly score at which a request is refused.
    #[schemars(range(min = 1, max = 100_000))]
    pub inbound_threshold: Option<u32>,
    /// The anomaly score at which a reply is refused.
    #[schemars(range(min = 1, max = 100_000))]
    pub outbound_threshold: Option<u32>,
    /// How prompts are treated: `ml` or `stock`.
    pub profile: Option<Profile>,
    /// Arguments of untyped JSON bodies that are prompts, instead of the section's.
    pub prompt_fields: Option<Vec<String>>,
    /// Rule files, directories and patterns, loaded after the section's.
    pub rules: Vec<String>,
    /// Lines of SecLang that take rules or targets away, after the section's.
    pub exclusions: Vec<String>,
}

/// Rules that ship with the gateway.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pack {
    /// For model endpoints.
    #[default]
    Ml,
    /// None.
    None,
}

/// How prompts are treated.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// They are excused from rules that take a developer's question for an attack.
    #[default]
    Ml,
    /// Like any other text.
    Stock,
}

/// One line of JSON for every request, also one that is refused before its head is understood. Each is written at once,
/// by the thread that serves: for test runs and forensics, not for a busy gateway.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WafLogConfig {
    /// The file, appended to, relative to this file.
    pub path: String,
    /// The header whose value is the `request_id` of the line. Default: none; the id is that of the exchange, which no
    /// client chooses.
    #[serde(default)]
    pub request_id_header: Option<String>,
    /// Write the messages of the rules with the data that they matched: text of the request. Default: false.
    #[serde(default)]
    pub data: bool,
}

impl Default for WafConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            on_fault: OnFault::default(),
            crs: None,
            rules: Vec::new(),
            pack: Pack::default(),
            profile: Profile::default(),
            prompt_fields: Vec::new(),
            max_args: 1000,
            max_scan_work: 100_000_000,
            stream_reply: false,
            paranoia: None,
            inbound_threshold: None,
            outbound_threshold: None,
            exclusions: Vec::new(),
            log: None,
        }
    }
}

impl WafConfig {
    /// The guard's settings.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        Switch { mode: self.mode, on_fault: self.on_fault }
    }
}

impl From<Profile> for seclang::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Ml => Self::Ml,
            Profile::Stock => Self::Stock,
        }
    }
}
