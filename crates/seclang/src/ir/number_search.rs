//! Finds the literals that a rule needs where they could stand in an array of numbers.

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::charset::ByteSet;

/// Most literals, in every spelling: more are no few.
const MOST: usize = 64;

/// Tells whether an array of numbers holds one of the literals of a rule.
#[derive(Debug)]
pub(crate) enum NumberSearch {
    Automaton(AhoCorasick),
    /// None of them is made of what numbers are made of.
    Never,
    /// Sixteen bytes and more at a time.
    Packed(Searcher),
}

impl NumberSearch {
    /// For literals that are found whatever the case of their letters. `None` where they are too many.
    pub(crate) fn new(literals: &[Box<[u8]>]) -> Option<Self> {
        let spelled: Vec<Vec<u8>> =
            literals.iter().filter(|literal| is_of_numbers(literal)).flat_map(|it| spellings(it)).collect();
        if spelled.is_empty() {
            return Some(Self::Never);
        }
        if spelled.len() > MOST || spelled.iter().any(Vec::is_empty) {
            return None;
        }
        if let Some(packed) = Config::new().match_kind(MatchKind::LeftmostFirst).builder().extend(&spelled).build() {
            return Some(Self::Packed(packed));
        }
        // Processors without the instructions that it takes.
        AhoCorasick::builder()
            .prefilter(false)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&spelled)
            .ok()
            .map(Self::Automaton)
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Automaton(search) => search.is_match(text),
            Self::Never => false,
            Self::Packed(search) => search.find(text).is_some(),
        }
    }
}

/// Whether a JSON number could hold it.
fn is_of_numbers(literal: &[u8]) -> bool {
    ByteSet::of(literal).is_subset(&ByteSet::NUMBERS)
}

/// The literal with every exponent's letter in either case; all of it once where there are too many of these.
fn spellings(literal: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for &byte in literal {
        if byte.eq_ignore_ascii_case(&b'e') {
            let upper: Vec<Vec<u8>> = all.iter().map(|it| [&**it, b"E"].concat()).collect();
            all.iter_mut().for_each(|it| it.push(b'e'));
            all.extend(upper);
        } else {
            all.iter_mut().for_each(|it| it.push(byte));
        }
        if all.len() > MOST {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{NumberSearch, spellings};

    fn search(literals: &[&str]) -> NumberSearch {
        let literals: Vec<Box<[u8]>> = literals.iter().map(|it| it.as_bytes().into()).collect();
        NumberSearch::new(&literals).expect("few")
    }

    #[test]
    fn literals_are_found_in_either_case_and_anywhere() {
        let search = search(&["1e309", "2147483648", "union"]);
        let filler = "[0.123456789,".repeat(9);
        for (text, found) in
            [("1e309", true), ("-1E309]", true), ("12147483648", true), ("214748364", false), ("", false)]
        {
            assert_eq!(search.is_match(text.as_bytes()), found, "{text}");
            assert_eq!(search.is_match(format!("{filler}{text},{filler}").as_bytes()), found, "{text}");
        }
    }

    #[test]
    fn words_stand_in_no_number() {
        assert!(matches!(search(&["select", "0x1"]), NumberSearch::Never));
        assert_eq!(spellings(b"1e2E").len(), 4);
        assert!(NumberSearch::new(&[b"eeeeeeeeeeee".to_vec().into_boxed_slice()]).is_none());
    }
}
