//! The closed list of stages: metric label, audit field, configuration key and docs anchor in one word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Writes the enum and its tables from one list, so that no stage can be forgotten in one of them.
macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A step of the pipeline, in the order in which an exchange meets them.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Stage { $($(#[doc = $doc])+ $variant,)+ }

        impl Stage {
            /// Every stage, in pipeline order.
            pub const ALL: [Self; STAGES] = [$(Self::$variant,)+];

            /// The word used in configuration, metrics, logs and docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        /// How many stages there are.
        pub const STAGES: usize = [$($name,)+].len();
    };
}

stages! {
    /// Framing, hosts, paths, header caps.
    Hygiene = "hygiene",
    /// Which route serves this request; unlisted is absent.
    Routes = "routes",
    /// Address lists and trusted proxies.
    Network = "network",
    /// Requests per address, before any cryptography.
    Flood = "flood",
    /// Who is asking.
    Auth = "auth",
    /// Whether they may.
    Authz = "authz",
    /// Rules written for the web: SecLang, the Core Rule Set and our own pack.
    Waf = "waf",
    /// How the body is read: class, caps, decoder.
    Intake = "intake",
    /// One strict pass over the body.
    Parse = "parse",
    /// Shape, type, range, count.
    Contract = "contract",
    /// What the call will cost.
    Cost = "cost",
    /// Budgets.
    Limits = "limits",
    /// A fair, bounded place before the model.
    Queue = "queue",
    /// The model server.
    Upstream = "upstream",
    /// What leaves with the answer.
    Output = "output",
    /// What is written down.
    Record = "record",
}

impl Stage {
    /// Its place in tables indexed by stage.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_stage_is_its_place_in_the_list() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage.index(), place);
        }
    }
}
