//! Turns a pattern of the PCRE dialect into one that `regex-syntax` reads with the same meaning, or says where that
//! cannot be. It knows the spelling of patterns, not what they match.
//!
//! The result is ASCII: bytes above 7F become `\xhh`, as PCRE without UTF mode matches bytes.

use super::Unusable;
use super::around::{self, Pair};

/// A pattern in the other dialect.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    /// For each byte of `text`, the byte of the pattern that it comes from.
    origins: Vec<usize>,
    /// What a match must hold besides.
    pub(super) pairs: Vec<Pair>,
}

impl Translated {
    /// Where a byte of the text comes from.
    pub(super) fn origin(&self, offset: usize) -> usize {
        self.origins.get(offset).or(self.origins.last()).copied().unwrap_or_default()
    }
}

/// What is left of the pattern and what has been written.
struct Walk<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    out: Translated,
    /// For each open group, whether white space outside of it counts (`(?x)`).
    extended: Vec<bool>,
    /// Groups so far.
    groups: usize,
}

/// Horizontal white space as a class's items.
const HORIZONTAL: &str = r"\x09\x20\xa0";
/// Vertical white space as a class's items.
const VERTICAL: &str = r"\x0a-\x0d\x85";

/// Translates a pattern.
pub(super) fn translate(pattern: &str) -> Result<Translated, Unusable> {
    let whole = pattern.as_bytes();
    let out = Translated {
        text: String::with_capacity(whole.len()),
        origins: Vec::with_capacity(whole.len()),
        pairs: Vec::new(),
    };
    let mut walk = Walk { whole, rest: whole, out, extended: vec![false], groups: 0 };
    while !walk.rest.is_empty() {
        walk.step()?;
    }
    Ok(walk.out)
}

impl<'a> Walk<'a> {
    fn step(&mut self) -> Result<(), Unusable> {
        let extended = self.extended.last().copied().unwrap_or_default();
        match self.rest {
            [b'\\', ..] => self.escape(),
            [b'[', rest @ ..] => self.class(rest),
            [b'(', b'?', b'#', rest @ ..] => {
                self.rest = rest.split_once_at(b')').ok_or_else(|| self.refuse("a comment without an end"))?;
                Ok(())
            }
            [b'(', ..] => self.group(),
            [b')', rest @ ..] => {
                self.extended.pop();
                self.put(")", rest);
                Ok(())
            }
            [b'*' | b'+' | b'?', ..] => self.quantifier(1),
            [b'{', rest @ ..] => match counted(rest) {
                Some(length) => self.quantifier(length + 1),
                None => {
                    self.put(r"\{", rest);
                    Ok(())
                }
            },
            [b'#', rest @ ..] if extended => {
                self.rest = rest.split_once_at(b'\n').unwrap_or_default();
                Ok(())
            }
            [byte, rest @ ..] => {
                self.literal(*byte, rest);
                Ok(())
            }
            [] => Ok(()),
        }
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), Unusable> {
        if let Some(rest) = self.rest.strip_prefix(br"\b\1\b") {
            self.pair(r"\b(\w+)\b", rest, true);
            return Ok(());
        }
        let (text, rest): (&str, _) = match self.rest {
            [_, b'h', rest @ ..] => (r"[\x09\x20\xa0]", rest),
            [_, b'H', rest @ ..] => (r"[^\x09\x20\xa0]", rest),
            [_, b'v', rest @ ..] => (r"[\x0a-\x0d\x85]", rest),
            [_, b'V', rest @ ..] => (r"[^\x0a-\x0d\x85]", rest),
            [_, b'R', rest @ ..] => (r"(?:\x0d\x0a|[\x0a-\x0d\x85])", rest),
            [_, b'N', rest @ ..] => (r"[^\x0a]", rest),
            [_, b'Z', rest @ ..] => (r"(?:\x0a?\z)", rest),
            [_, b'A', rest @ ..] => (r"\A", rest),
            [_, b'z', rest @ ..] => (r"\z", rest),
            [_, b'b', rest @ ..] => (r"\b", rest),
            [_, b'B', rest @ ..] => (r"\B", rest),
            [_, b'Q', rest @ ..] => return self.quoted(rest),
            [_, b'E', rest @ ..] => ("", rest),
            [_, b'1'..=b'9' | b'g' | b'k', ..] => return Err(self.refuse_hint("a backreference", LINEAR)),
            [_, b'K', ..] => return Err(self.refuse_hint(r"`\K`", "captures do the same")),
            [_, b'G' | b'X' | b'C', ..] => return Err(self.refuse("an escape without a counterpart here")),
            _ => return self.shared_escape(),
        };
        self.put(text, rest);
        Ok(())
    }

    /// An escape that means the same in and out of a class.
    fn shared_escape(&mut self) -> Result<(), Unusable> {
        if let [_, letter @ (b'd' | b'D' | b's' | b'S' | b'w' | b'W'), rest @ ..] = self.rest {
            let text = format!("\\{}", char::from(*letter));
            self.put(&text, rest);
            return Ok(());
        }
        let (byte, rest) = self.escaped_byte()?;
        self.put(&format!("\\x{byte:02x}"), rest);
        Ok(())
    }

    /// The byte that an escape stands for.
    fn escaped_byte(&self) -> Result<(u8, &'a [u8]), Unusable> {
        Ok(match self.rest {
            [_, b'a', rest @ ..] => (0x07, rest),
            [_, b'e', rest @ ..] => (0x1b, rest),
            [_, b'f', rest @ ..] => (0x0c, rest),
            [_, b'n', rest @ ..] => (b'\n', rest),
            [_, b'r', rest @ ..] => (b'\r', rest),
            [_, b't', rest @ ..] => (b'\t', rest),
            [_, b'c', byte, rest @ ..] => (byte.to_ascii_uppercase() ^ 0x40, rest),
            [_, b'x', b'{', ..] => self.braced()?,
            [_, b'x', rest @ ..] => number(rest, 2, 16),
            [_, rest @ ..] if matches!(rest, [b'0'..=b'7', ..]) => number(rest, 3, 8),
            [_, b'p' | b'P', ..] => return Err(self.refuse_hint("a Unicode property", "values are bytes: use a class")),
            [_, byte, ..] if byte.is_ascii_alphanumeric() => {
                return Err(self.refuse(&format!("unknown escape `\\{}`", char::from(*byte))));
            }
            [_, byte, rest @ ..] => (*byte, rest),
            _ => return Err(self.refuse("a backslash at the end")),
        })
    }

    /// `\x{h…}`, a byte.
    fn braced(&self) -> Result<(u8, &'a [u8]), Unusable> {
        let wrong = || self.refuse_hint("`\\x{…}` is not a byte", "00 to ff: values are bytes");
        let inside = self.rest.get(3..).unwrap_or_default();
        let end = memchr::memchr(b'}', inside).ok_or_else(wrong)?;
        let (digits, rest) = inside.split_at_checked(end).ok_or_else(wrong)?;
        let text = std::str::from_utf8(digits).map_err(|_| wrong())?;
        let byte = u32::from_str_radix(text, 16).ok().and_then(|number| u8::try_from(number).ok()).ok_or_else(wrong)?;
        Ok((byte, rest.get(1..).unwrap_or_default()))
    }

    /// `\Q…\E`
    fn quoted(&mut self, rest: &'a [u8]) -> Result<(), Unusable> {
        let end = memchr::memmem::find(rest, br"\E").unwrap_or(rest.len());
        let (inside, rest) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        for &byte in inside {
            self.put(&format!("\\x{byte:02x}"), rest);
        }
        self.rest = rest.get(2..).unwrap_or_default();
        Ok(())
    }

    fn group(&mut self) -> Result<(), Unusable> {
        let outer = self.extended.last().copied().unwrap_or_default();
        let (text, rest): (String, _) = match self.rest {
            [_, b'?', b'=' | b'!', ..] | [_, b'?', b'<', b'=' | b'!', ..] => return self.around(),
            [_, b'?', b'>', ..] => return Err(self.refuse_hint("an atomic group", "`(?:` matches the same or more")),
            [_, b'?', b'P', b'=' | b'>', ..] => return Err(self.refuse_hint("a backreference", LINEAR)),
            [_, b'?', b'P', b'<', rest @ ..] | [_, b'?', b'<' | b'\'', rest @ ..] => {
                // Rules reach groups by number alone.
                let end = rest.iter().position(|byte| matches!(byte, b'>' | b'\''));
                let rest = end.and_then(|end| rest.get(end + 1..));
                ("(".to_owned(), rest.ok_or_else(|| self.refuse("a group name without an end"))?)
            }
            [_, b'?', rest @ ..] => return self.flags(rest, outer),
            [_, b'*', ..] => return Err(self.refuse("a verb of PCRE")),
            [_, rest @ ..] => ("(".to_owned(), rest),
            [] => return Ok(()),
        };
        self.extended.push(outer);
        self.groups += 1;
        self.put(&text, rest);
        Ok(())
    }

    /// Look-around, where what it says can be said without it.
    fn around(&mut self) -> Result<(), Unusable> {
        let refused = || self.refuse_hint("look-around", LINEAR);
        if let Some(after) = self.rest.strip_prefix(br"(?!\b\1\b)") {
            let rest = after.strip_prefix(br"[\d\w]+").or_else(|| after.strip_prefix(br"\w+")).ok_or_else(refused)?;
            self.pair(r"(\w+)", rest, false);
            return Ok(());
        }
        let text = if let Some(after) = self.rest.strip_prefix(b"(?!") {
            // At the end of the pattern: what may follow is nobody else's.
            let literal = after.strip_suffix(b")").filter(|_| self.extended.len() == 1);
            literal.and_then(around::not_followed_by).map(|text| (text, &[][..]))
        } else {
            let after = self.rest.strip_prefix(b"(?<!").filter(|_| self.out.text.is_empty());
            after.and_then(|after| {
                let (inside, rest) = after.split_at_checked(closing(after)?)?;
                let inside = super::rx::parse(std::str::from_utf8(inside).ok()?).ok()?;
                Some((around::not_preceded_by(&inside)?, rest.get(1..)?))
            })
        };
        let (text, rest) = text.ok_or_else(refused)?;
        self.put(&text, rest);
        Ok(())
    }

    /// A group that is compared with the first one.
    fn pair(&mut self, text: &str, rest: &'a [u8], same: bool) {
        self.groups += 1;
        self.out.pairs.push(Pair { first: 1, second: self.groups, same });
        self.put(text, rest);
    }

    /// `(?flags)` and `(?flags:`.
    fn flags(&mut self, rest: &'a [u8], outer: bool) -> Result<(), Unusable> {
        let count = rest.iter().take_while(|byte| matches!(byte, b'i' | b'm' | b's' | b'x' | b'U' | b'-')).count();
        let (flags, rest) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let mut on = true;
        let mut extended = outer;
        for &flag in flags {
            match flag {
                b'-' => on = false,
                b'x' => extended = on,
                _ => {}
            }
        }
        let flags = String::from_utf8_lossy(flags);
        match rest {
            [b':', rest @ ..] => {
                self.extended.push(extended);
                self.put(&format!("(?{flags}:"), rest);
            }
            [b')', rest @ ..] => {
                if let Some(current) = self.extended.last_mut() {
                    *current = extended;
                }
                let text = if flags.is_empty() { "(?:)".to_owned() } else { format!("(?{flags})") };
                self.put(&text, rest);
            }
            _ => return Err(self.refuse_hint("a group of a kind that is not supported", LINEAR)),
        }
        Ok(())
    }

    /// A quantifier of that many bytes, with what may follow it.
    fn quantifier(&mut self, length: usize) -> Result<(), Unusable> {
        let (text, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        let mut text = String::from_utf8_lossy(text).into_owned();
        let rest = match rest {
            // Possessive: a search in linear time gives nothing back, it looks at all ways at once. Read as greedy it
            // matches the same values, or more where what follows could begin inside.
            [b'+', rest @ ..] => rest,
            [b'?', rest @ ..] => {
                text.push('?');
                rest
            }
            _ => rest,
        };
        self.put(&text, rest);
        Ok(())
    }

    /// A class: nested brackets, `&&`, `--` and `~~` are plain bytes in PCRE.
    fn class(&mut self, rest: &'a [u8]) -> Result<(), Unusable> {
        let start = self.whole.len() - self.rest.len();
        let rest = match rest {
            [b'^', rest @ ..] => {
                self.put("[^", rest);
                rest
            }
            _ => {
                self.put("[", rest);
                rest
            }
        };
        if let [b']', rest @ ..] = rest {
            self.put(r"\]", rest);
        }
        let mut left = Left::Nothing;
        loop {
            left = match self.rest {
                [] => return Err(Unusable::new("bad pattern: a class without an end", start)),
                [b']', rest @ ..] => {
                    self.put("]", rest);
                    return Ok(());
                }
                [b'-', end, rest @ ..] if left == Left::Byte && *end != b']' => {
                    if class_escape(end, rest) {
                        // `a-\d`: the hyphen is a hyphen.
                        let rest = self.rest.get(1..).unwrap_or_default();
                        self.put(r"\-", rest);
                    } else {
                        let rest = self.rest.get(1..).unwrap_or_default();
                        self.put("-", rest);
                        self.item()?;
                    }
                    Left::Nothing
                }
                _ => self.item()?,
            };
        }
    }

    /// One item of a class; whether it may begin a range.
    fn item(&mut self) -> Result<Left, Unusable> {
        match self.rest {
            [b'[', b':', name @ ..] => {
                if let Some(end) = memchr::memmem::find(name, b":]")
                    && let Some((word, rest)) = name.split_at_checked(end)
                    && word.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'^')
                {
                    self.put(&format!("[:{}:]", String::from_utf8_lossy(word)), rest.get(2..).unwrap_or_default());
                    return Ok(Left::Nothing);
                }
                self.put(r"\[", self.rest.get(1..).unwrap_or_default());
            }
            [_, b'h', rest @ ..] if self.escaped() => return Ok(self.items(HORIZONTAL, rest)),
            [_, b'v', rest @ ..] if self.escaped() => return Ok(self.items(VERTICAL, rest)),
            [_, b'H' | b'V' | b'N' | b'R' | b'X' | b'B', ..] if self.escaped() => {
                return Err(self.refuse("an escape that has no meaning in a class here"));
            }
            [_, b'Q', rest @ ..] if self.escaped() => self.quoted(rest)?,
            [_, b'E', rest @ ..] if self.escaped() => self.rest = rest,
            [_, b'b', rest @ ..] if self.escaped() => self.put(r"\x08", rest),
            [_, b'd' | b'D' | b's' | b'S' | b'w' | b'W', ..] if self.escaped() => {
                self.shared_escape()?;
                return Ok(Left::Nothing);
            }
            [b'\\', ..] => self.shared_escape()?,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() => self.put(&char::from(*byte).to_string(), rest),
            [byte, rest @ ..] => self.put(&format!("\\x{byte:02x}"), rest),
            [] => {}
        }
        Ok(Left::Byte)
    }

    fn items(&mut self, text: &str, rest: &'a [u8]) -> Left {
        self.put(text, rest);
        Left::Nothing
    }

    fn escaped(&self) -> bool {
        self.rest.first() == Some(&b'\\')
    }

    fn literal(&mut self, byte: u8, rest: &'a [u8]) {
        match byte {
            0x21..=0x7e => self.put(&char::from(byte).to_string(), rest),
            // White space means nothing where `(?x)` is on, and a byte elsewhere: `regex-syntax` tells these apart.
            b' ' | b'\n' | b'\t' | b'\r' | 0x0b | 0x0c => self.put(&char::from(byte).to_string(), rest),
            _ => self.put(&format!("\\x{byte:02x}"), rest),
        }
    }

    /// Writes text that stands for what has been read up to `rest`.
    fn put(&mut self, text: &str, rest: &'a [u8]) {
        let at = self.whole.len() - self.rest.len();
        self.out.text.push_str(text);
        self.out.origins.resize(self.out.text.len(), at);
        self.rest = rest;
    }

    fn refuse(&self, what: &str) -> Unusable {
        Unusable::new(format!("bad pattern: {what}"), self.whole.len() - self.rest.len())
    }

    fn refuse_hint(&self, what: &str, hint: &str) -> Unusable {
        self.refuse(what).hint(hint)
    }
}

const LINEAR: &str = "patterns run in linear time: split the rule into a chain";

/// What stands before a hyphen in a class.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Left {
    Byte,
    Nothing,
}

trait SplitOnce {
    /// What follows the first such byte.
    fn split_once_at(&self, byte: u8) -> Option<&[u8]>;
}

impl SplitOnce for [u8] {
    fn split_once_at(&self, byte: u8) -> Option<&[u8]> {
        memchr::memchr(byte, self).and_then(|at| self.get(at + 1..))
    }
}

/// Where the group closes that `text` is the inside of.
fn closing(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_class, mut at) = (0_usize, false, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class && depth == 0 => return Some(at),
            b')' if !in_class => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether a range would end in a class rather than in a byte.
fn class_escape(end: &u8, rest: &[u8]) -> bool {
    match end {
        b'\\' => matches!(rest.first(), Some(b'd' | b'D' | b's' | b'S' | b'w' | b'W' | b'h' | b'v')),
        b'[' => rest.first() == Some(&b':'),
        _ => false,
    }
}

/// The length of `n}`, `n,}` or `n,m}` behind an opening brace; anything else makes the brace a plain byte.
fn counted(rest: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b'}', rest)?;
    let inside = rest.get(..end)?;
    let (low, high) = match memchr::memchr(b',', inside) {
        Some(comma) => (inside.get(..comma)?, inside.get(comma + 1..)?),
        None => (inside, &b""[..]),
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    (!low.is_empty() && digits(low) && digits(high)).then_some(end + 1)
}

/// Up to `most` digits; none is 0, as in PCRE. More than a byte counts modulo 256.
fn number(rest: &[u8], most: usize, base: u8) -> (u8, &[u8]) {
    let digit = |byte: u8| char::from(byte).to_digit(base.into()).and_then(|digit| u8::try_from(digit).ok());
    let count = rest.iter().take(most).take_while(|&&byte| digit(byte).is_some()).count();
    let (digits, rest) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    let step = |number: u8, &byte: &u8| number.wrapping_mul(base).wrapping_add(digit(byte).unwrap_or_default());
    (digits.iter().fold(0, step), rest)
}
