//! Look-around and backreferences that a linear engine can keep after all: the forms in the Core Rule Set 3.3. Everything
//! else of the kind is refused by [`super::pcre`].
//!
//! What must not follow or precede is written out as what may, one byte more or less of the match being the only trace.
//! A word that must, or must not, be the same as an earlier one becomes a group, and the two are compared on a match.

use std::fmt::Write as _;

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::charset::ByteSet;

/// Most texts that a look-behind may name, and bytes of each.
const MOST: (usize, usize) = (64, 16);
/// Most characters of what is written for one.
const WRITTEN: usize = 32 * 1024;

/// Two groups that must hold the same word, without regard to ASCII case, or must not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) same: bool,
}

impl Pair {
    /// Whether the groups of a match are as they must be. A group that took no part is.
    pub(super) fn holds(self, group: impl Fn(usize) -> Option<Vec<u8>>) -> bool {
        match (group(self.first), group(self.second)) {
            (Some(first), Some(second)) => first.eq_ignore_ascii_case(&second) == self.same,
            _ => true,
        }
    }
}

/// `(?!literal)` at the end of a pattern.
pub(super) fn not_followed_by(literal: &[u8]) -> Option<String> {
    if literal.is_empty() || literal.len() > MOST.1 || !literal.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut text = String::new();
    for byte in literal.iter().rev() {
        let byte = char::from(*byte);
        let further = if text.is_empty() { String::new() } else { format!("|{byte}{text}") };
        text = format!(r"(?:\z|[^{byte}]{further})");
    }
    Some(text)
}

/// `(?<!…)` at the beginning of a pattern: what may stand before.
pub(super) fn not_preceded_by(inside: &Hir) -> Option<String> {
    let texts = texts(inside)?;
    if texts.iter().any(Vec::is_empty) {
        return None;
    }
    let mut written = String::new();
    let all: Vec<&[ByteSet]> = texts.iter().map(Vec::as_slice).collect();
    before(&all, &mut written)?;
    Some(written)
}

/// Writes what may stand before when none of the texts may end there, byte by byte backwards.
fn before(texts: &[&[ByteSet]], written: &mut String) -> Option<()> {
    written.push_str(r"(?:\A");
    let mut left = ByteSet::ALL;
    for byte in 0..=u8::MAX {
        if !left.contains(byte) {
            continue;
        }
        let hit = |byte: u8| -> Vec<bool> {
            texts.iter().map(|text| text.last().is_some_and(|set| set.contains(byte))).collect()
        };
        // Bytes that the texts cannot tell apart.
        let mine = hit(byte);
        let alike: Vec<u8> = (byte..=u8::MAX).filter(|other| left.contains(*other) && hit(*other) == mine).collect();
        alike.iter().for_each(|byte| left.remove(*byte));
        let further: Vec<&[ByteSet]> = texts
            .iter()
            .zip(mine)
            .filter(|(_, hit)| *hit)
            .filter_map(|(text, _)| text.split_last().map(|(_, rest)| rest))
            .collect();
        if further.iter().any(|text| text.is_empty()) {
            continue;
        }
        written.push('|');
        if !further.is_empty() {
            before(&further, written)?;
        }
        class(&alike, written);
        if written.len() > WRITTEN {
            return None;
        }
    }
    written.push(')');
    Some(())
}

fn class(bytes: &[u8], written: &mut String) {
    written.push('[');
    for run in bytes.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            // Writing to a `String` cannot fail.
            let _ = write!(written, "\\x{first:02x}-\\x{last:02x}");
        }
    }
    written.push(']');
}

/// Every text that a pattern of fixed lengths matches, as sets of bytes.
fn texts(hir: &Hir) -> Option<Vec<Vec<ByteSet>>> {
    let found = match hir.kind() {
        HirKind::Empty => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.iter().map(|byte| ByteSet::of(&[*byte])).collect()],
        HirKind::Class(Class::Bytes(class)) => {
            let set =
                class.ranges().iter().fold(ByteSet::NONE, |set, range| set.with_range(range.start(), range.end()));
            vec![vec![set]]
        }
        HirKind::Capture(capture) => texts(&capture.sub)?,
        HirKind::Alternation(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(texts).collect();
            parts?.into_iter().flatten().collect()
        }
        HirKind::Concat(parts) => {
            let mut all = vec![Vec::new()];
            for part in parts {
                let part = texts(part)?;
                all = all
                    .iter()
                    .flat_map(|text: &Vec<ByteSet>| part.iter().map(|more| [text.as_slice(), more].concat()))
                    .collect();
                if all.len() > MOST.0 {
                    return None;
                }
            }
            all
        }
        HirKind::Class(Class::Unicode(_)) | HirKind::Look(_) | HirKind::Repetition(_) => return None,
    };
    (found.len() <= MOST.0 && found.iter().all(|text| text.len() <= MOST.1)).then_some(found)
}
