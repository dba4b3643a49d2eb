//! The compiled form: what the AST becomes, once, at load.

mod actions;
pub(crate) mod bits;
mod compile;
mod link;
mod load;
pub(crate) mod names;
pub(crate) mod number_search;
mod pattern;
pub(crate) mod plan;
pub(crate) mod prefilter;
pub(crate) mod proof;
pub(crate) mod rule;
mod settings;
pub(crate) mod shelf;
pub(crate) mod text;
pub(crate) mod trie;
mod update;

use std::sync::Arc;

use crate::engine::seen::Keys;
use crate::ir::bits::Bits;
use crate::ir::names::Names;
use crate::ir::plan::Plan;
use crate::ir::prefilter::Prefilter;
use crate::ir::rule::Rule;
use crate::ir::settings::Settings;
use crate::ir::trie::Trie;
use crate::operators::Patterns;
use crate::parse::ast::Variable;
use crate::problem::Problem;
use crate::source::Source;

/// Text in lower case with every run of digits as one `0`: a text that has a literal still has it when both are written
/// so.
pub(crate) fn collapse(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'0'..=b'9' if out.last() == Some(&b'0') => {}
            b'0'..=b'9' => out.push(b'0'),
            _ => out.push(byte.to_ascii_lowercase()),
        }
    }
    out
}

/// What the embedder decides about a rule set.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How inference traffic is treated.
    pub profile: Profile,
    /// Full names of untyped JSON arguments that are prompts, as `json.text`.
    pub prompt_fields: Vec<String>,
    /// A numeric run counts its elements for `SecArgumentsLimit` and `&ARGS` (always so under [`Profile::Stock`]).
    pub count_numbers: bool,
    /// Most arguments of a request, when the rules set no lower limit. 0 means 1,000.
    pub arguments: usize,
    /// Bytes × rules that one transaction may scan before it is [`crate::Verdict::OutOfWork`]. 0 means 100 million.
    pub work: u64,
    /// Transactions are given a [`crate::Store`]. Without one, rules that open a persistent collection are warned about.
    pub store: bool,
    /// Every optimisation off: no proof, no prefilter, no runs, no cache. For the equality tests.
    pub plain: bool,
}

/// How inference traffic is treated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// Prompt values are excused from rules that take a developer's question for an attack.
    #[default]
    Ml,
    /// The rules as they are.
    Stock,
}

/// Compiled patterns shared by the rule sets of one load (several routes, one Core Rule Set).
#[derive(Debug, Default)]
pub struct Library {
    pub(crate) patterns: Patterns,
}

/// A compiled rule set: immutable, shared by all transactions.
#[derive(Debug)]
pub struct RuleSet {
    /// Tells rule sets apart in the memory of a thread.
    pub(crate) serial: u64,
    /// Tells values apart in the memory of a thread.
    pub(crate) keys: Keys,
    /// Rules of phases 1 to 5.
    pub(crate) phases: [Vec<Rule>; 5],
    pub(crate) plans: [Plan; 5],
    /// The first rule of phase 1 that depends on nothing but TX variables, where none before it changes one.
    pub(crate) overture: Option<usize>,
    /// By ordinal, over literals as [`collapse`] writes them: for the names of the elements of an array.
    pub(crate) name_filter: Prefilter,
    /// By ordinal: for long values.
    pub(crate) text_filter: Prefilter,
    pub(crate) names: Names,
    pub(crate) trie: Trie,
    pub(crate) settings: Settings,
    pub(crate) options: Options,
    /// Variables that some rule reads.
    used: Bits,
    /// Some rule after phase 2 reads what lies in the request's body.
    pub(crate) keeps_body: bool,
    infos: Vec<RuleInfo>,
}

/// Rules as the compiler leaves them.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    phases: [Vec<Rule>; 5],
    infos: Vec<RuleInfo>,
}

/// What is known of a rule, for tools.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// Its id.
    pub id: u64,
    /// Its phase.
    pub phase: u8,
    /// Its message, macros as written.
    pub msg: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its severity, 0 (emergency) to 7.
    pub severity: Option<u8>,
    /// Where it stands.
    pub place: crate::problem::Place,
    /// Its text as written, with its chain.
    pub text: String,
    /// Which prompt values it is excused from under [`Profile::Ml`].
    pub excuses_prompts: bool,
}

impl RuleSet {
    /// Loads files in order; each entry is a path or a glob. Warnings come with success.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(
        source: &dyn Source,
        files: &[String],
        options: &Options,
        library: &mut Library,
    ) -> Result<(Arc<Self>, Vec<Problem>), Vec<Problem>> {
        load::load(source, files, options, library)
    }

    /// Every rule, in file order.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo> {
        self.infos.iter().cloned()
    }

    /// Runs text, code and JSON that ship with the crate through a thread's memory, so that no request meets it cold.
    pub fn warm(self: &Arc<Self>, scratch: &mut crate::engine::Scratch) {
        crate::engine::warm(self, scratch);
    }

    /// `SecResponseBodyAccess` and the types it is for: whether phase 4 wants a body of this media type.
    #[must_use]
    pub fn wants_reply(&self, content_type: &[u8]) -> bool {
        self.settings.reads_reply(content_type)
    }

    /// `SecRequestBodyLimit`, where the rules set one.
    #[must_use]
    pub const fn request_body_limit(&self) -> Option<u64> {
        self.settings.request_body_limit
    }

    /// Whether a rule reads the variable.
    pub(crate) fn uses(&self, variable: Variable) -> bool {
        self.used.contains(variable as usize)
    }

    /// Most arguments of a request.
    pub(crate) fn most_arguments(&self) -> usize {
        let own = if self.options.arguments == 0 { 1000 } else { self.options.arguments };
        let limit = self.settings.arguments.and_then(|most| usize::try_from(most).ok());
        limit.map_or(own, |limit| limit.min(own))
    }

    /// Most bytes × rules that a transaction may scan.
    pub(crate) const fn most_work(&self) -> u64 {
        if self.options.work == 0 { 100_000_000 } else { self.options.work }
    }

    /// How many rules there are.
    pub(crate) const fn count(&self) -> usize {
        self.infos.len()
    }
}
