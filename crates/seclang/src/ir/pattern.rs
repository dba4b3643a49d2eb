//! Regular expressions that select names, tags and messages. Those of `@rx` are the operators' own.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// A pattern for tags and messages.
pub(crate) fn sensitive(text: &str) -> Result<Regex, String> {
    build(text, false)
}

/// A pattern for names of variables.
pub(crate) fn insensitive(text: &str) -> Result<Regex, String> {
    build(text, true)
}

fn build(text: &str, fold: bool) -> Result<Regex, String> {
    let syntax = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .case_insensitive(fold)
        .nest_limit(100);
    let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(1 << 16);
    Regex::builder()
        .syntax(syntax)
        .configure(config)
        .build(text)
        .map_err(|error| format!("`{text}` is no regular expression: {error}"))
}
