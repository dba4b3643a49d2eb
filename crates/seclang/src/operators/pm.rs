//! `@pm` and `@pmFromFile`: many phrases in one pass, without regard to ASCII case.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, Input};

use super::{Captures, Unusable};

/// A compiled phrase list.
#[derive(Debug)]
pub struct Pm {
    searcher: AhoCorasick,
    /// The phrases, in lower case, each once.
    pub(super) phrases: Vec<Box<[u8]>>,
}

impl Pm {
    pub(super) fn compile(phrases: &[Vec<u8>]) -> Result<Self, Unusable> {
        let mut lower: Vec<Box<[u8]>> = phrases.iter().map(|phrase| phrase.to_ascii_lowercase().into()).collect();
        lower.sort_unstable();
        lower.dedup();
        let searcher = AhoCorasickBuilder::new().ascii_case_insensitive(true).build(&lower);
        let searcher = searcher.map_err(|why| Unusable::new(format!("the phrases cannot be compiled: {why}"), 0))?;
        Ok(Self { searcher, phrases: lower })
    }

    pub(super) fn test(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let Some(captures) = captures else { return self.searcher.is_match(value) };
        let Some(found) = self.searcher.find(Input::new(value).earliest(true)) else { return false };
        *captures = Captures::default();
        if let Some(slot) = captures.slots.first_mut() {
            *slot = Some(found.range());
        }
        true
    }
}

/// The phrases of an argument: split on whitespace, `|41 42|` being the bytes of these hexadecimal digits.
pub(super) fn phrases(argument: &str) -> Vec<Vec<u8>> {
    let mut phrases = vec![Vec::new()];
    let mut rest = argument.trim();
    while let Some(char) = rest.chars().next() {
        if let Some((bytes, behind)) = hexadecimal(rest) {
            extend(&mut phrases, &bytes);
            rest = behind;
            continue;
        }
        let (head, behind) = rest.split_at_checked(char.len_utf8()).unwrap_or((rest, ""));
        if char.is_ascii_whitespace() {
            phrases.push(Vec::new());
        } else {
            extend(&mut phrases, head.as_bytes());
        }
        rest = behind;
    }
    phrases.retain(|phrase| !phrase.is_empty());
    phrases
}

/// The phrases of a file: one on each line, trimmed; `#` at the beginning of a line makes it a comment.
pub(super) fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(<[u8]>::to_vec).collect()
}

/// The bytes of `|41 42|` at the beginning, and what follows. Bars around anything else are bars.
fn hexadecimal(text: &str) -> Option<(Vec<u8>, &str)> {
    let (inside, behind) = text.strip_prefix('|')?.split_once('|')?;
    let digits: String = inside.split_ascii_whitespace().collect();
    let fits =
        !digits.is_empty() && digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    fits.then(|| pairs.collect::<Option<Vec<u8>>>()).flatten().map(|bytes| (bytes, behind))
}

fn extend(phrases: &mut [Vec<u8>], bytes: &[u8]) {
    if let Some(phrase) = phrases.last_mut() {
        phrase.extend_from_slice(bytes);
    }
}
