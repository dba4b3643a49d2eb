//! The tokenizer of the sentiment model: hashed words and pairs of neighbours, without a vocabulary.
//!
//! It is the same function as `token_ids` in `models/train_sentiment.py`; the committed samples prove that. It reads no
//! further than it needs and allocates only its answer.

/// Ids are below this; 0 is padding.
pub const TABLE: u32 = 65_536;

/// Exactly `length` ids of `text`: its pieces, then its pairs of neighbouring pieces, then padding.
#[must_use]
pub fn token_ids(text: &str, length: usize) -> Vec<i32> {
    let mut pieces = Pieces { singles: Vec::new(), pairs: Vec::new(), open: None, last: None };
    for character in text.chars().flat_map(char::to_lowercase) {
        match Class::of(character) {
            Some((class, byte)) => pieces.push(class, byte),
            None => pieces.close(),
        }
        if pieces.singles.len() >= length {
            break;
        }
    }
    pieces.close();
    let ids = pieces.singles.iter().chain(&pieces.pairs).map(|hash| id(*hash));
    ids.chain(std::iter::repeat(0)).take(length).collect()
}

/// What runs of characters are made of.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Class {
    Mark,
    Word,
}

impl Class {
    fn of(character: char) -> Option<(Self, u8)> {
        let byte = u8::try_from(character).ok()?;
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'\'' => Some((Self::Word, byte)),
            b'!' | b'?' | b':' | b';' | b'(' | b')' | b'<' | b'>' => Some((Self::Mark, byte)),
            _ => None,
        }
    }
}

/// Hashes of the pieces so far. A pair's hash goes on where the first piece's ended, so no text is kept.
struct Pieces {
    singles: Vec<u32>,
    pairs: Vec<u32>,
    open: Option<Open>,
    last: Option<u32>,
}

/// The piece that is being read.
struct Open {
    class: Class,
    single: u32,
    pair: Option<u32>,
}

impl Pieces {
    fn push(&mut self, class: Class, byte: u8) {
        if self.open.as_ref().is_some_and(|open| open.class != class) {
            self.close();
        }
        let last = self.last;
        let open = self.open.get_or_insert_with(|| Open {
            class,
            single: FNV_START,
            pair: last.map(|hash| fnv1a(hash, b' ')),
        });
        open.single = fnv1a(open.single, byte);
        open.pair = open.pair.map(|hash| fnv1a(hash, byte));
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.singles.push(open.single);
            self.pairs.extend(open.pair);
            self.last = Some(open.single);
        }
    }
}

const FNV_START: u32 = 2_166_136_261;

const fn fnv1a(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(16_777_619)
}

fn id(hash: u32) -> i32 {
    i32::try_from(1 + hash % (TABLE - 1)).expect("the table is far smaller than i32")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word, with all its intermediate lists.
    fn by_definition(text: &str, length: usize) -> Vec<i32> {
        let mut pieces: Vec<String> = Vec::new();
        let mut class_before = None;
        for character in text.to_lowercase().chars() {
            let class = Class::of(character).map(|(class, _)| class);
            match (class, class_before == class) {
                (Some(_), true) => pieces.last_mut().expect("a run is open").push(character),
                (Some(_), false) => pieces.push(character.to_string()),
                (None, _) => {}
            }
            class_before = class;
        }
        let pairs: Vec<_> = pieces.windows(2).map(|pair| pair.join(" ")).collect();
        let hash = |text: &String| id(text.bytes().fold(FNV_START, fnv1a));
        let mut ids: Vec<_> = pieces.iter().chain(&pairs).map(hash).take(length).collect();
        ids.resize(length, 0);
        ids
    }

    #[test]
    fn ids_are_those_of_the_definition() {
        let long = "so good it's (really) GOOD!! ".repeat(40);
        for text in ["", "  ", "a", "Great film :)", "don't!!stop", "naïve café 3:30", "K\u{212a}İ x", &long] {
            assert_eq!(token_ids(text, 128), by_definition(text, 128), "{text:?}");
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // Published test vector of FNV-1a, 32 bits: "foobar".
        assert_eq!(b"foobar".iter().fold(FNV_START, |hash, byte| fnv1a(hash, *byte)), 0xbf9c_f968);
    }

    #[test]
    fn a_text_of_any_length_gives_the_same_number_of_ids() {
        assert_eq!(token_ids(&"a".repeat(1 << 20), 128).len(), 128);
        assert_eq!(token_ids(&"a ".repeat(1 << 20), 128).len(), 128);
        assert_eq!(token_ids("", 128), [0; 128]);
    }
}
