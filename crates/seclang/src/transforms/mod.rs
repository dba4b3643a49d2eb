//! Transformations: bytes to bytes, one file for each family. They decode and normalise; they never judge.
//!
//! Every one runs in linear time and its result is at most three times its input plus forty bytes.

mod base64;
mod case;
mod cmd_line;
mod comments;
mod css;
mod digest;
mod escape_seq;
mod hex;
mod html_entity;
mod js;
mod length;
mod nulls;
mod parity;
mod path;
mod proof;
#[cfg(test)]
mod tests;
mod url;
mod utf8;
mod whitespace;

use std::borrow::Cow;

use crate::charset::ByteSet;

macro_rules! transforms {
    ($($variant:ident = $name:literal,)+) => {
        /// One transformation of the ModSecurity reference.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "the name of the ModSecurity reference says it")]
        pub enum Transform { $($variant,)+ }

        impl Transform {
            /// Every transformation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name as the reference spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

transforms! {
    Base64Decode = "base64Decode",
    Base64DecodeExt = "base64DecodeExt",
    Base64Encode = "base64Encode",
    CmdLine = "cmdLine",
    CompressWhitespace = "compressWhitespace",
    CssDecode = "cssDecode",
    EscapeSeqDecode = "escapeSeqDecode",
    HexDecode = "hexDecode",
    HexEncode = "hexEncode",
    HtmlEntityDecode = "htmlEntityDecode",
    JsDecode = "jsDecode",
    Length = "length",
    Lowercase = "lowercase",
    Md5 = "md5",
    NormalizePath = "normalizePath",
    NormalizePathWin = "normalizePathWin",
    ParityEven7bit = "parityEven7bit",
    ParityOdd7bit = "parityOdd7bit",
    ParityZero7bit = "parityZero7bit",
    RemoveComments = "removeComments",
    RemoveCommentsChar = "removeCommentsChar",
    RemoveNulls = "removeNulls",
    RemoveWhitespace = "removeWhitespace",
    ReplaceComments = "replaceComments",
    ReplaceNulls = "replaceNulls",
    Sha1 = "sha1",
    SqlHexDecode = "sqlHexDecode",
    Trim = "trim",
    TrimLeft = "trimLeft",
    TrimRight = "trimRight",
    Uppercase = "uppercase",
    UrlDecode = "urlDecode",
    UrlDecodeUni = "urlDecodeUni",
    UrlEncode = "urlEncode",
    Utf8ToUnicode = "utf8toUnicode",
}

/// Settings that a transformation depends on.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The code-page map of `SecUnicodeMapFile` (code point → byte) for `urlDecodeUni`, `None` without one. Sorted by
    /// code point: [`Tables::with_unicode`] does that.
    pub unicode: Option<Box<[(u32, u8)]>>,
}

impl Tables {
    /// With a code-page map, in any order.
    #[must_use]
    pub fn with_unicode(mut map: Vec<(u32, u8)>) -> Self {
        map.sort_unstable();
        Self { unicode: Some(map.into_boxed_slice()) }
    }

    /// The byte that a code point stands for in the code page.
    fn byte_of(&self, point: u32) -> Option<u8> {
        let map = self.unicode.as_deref()?;
        let at = map.binary_search_by_key(&point, |&(from, _)| from).ok()?;
        map.get(at).map(|&(_, byte)| byte)
    }
}

impl Transform {
    /// The transformation of that name, compared without regard to case. `none` is no transformation: the parser
    /// handles it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let known = |transform: &&Self| transform.name().eq_ignore_ascii_case(name);
        Self::ALL.iter().find(known).copied().or_else(|| match name.to_ascii_lowercase().as_str() {
            "normalisepath" => Some(Self::NormalizePath),
            "normalisepathwin" => Some(Self::NormalizePathWin),
            _ => None,
        })
    }

    /// Transforms a value; `Borrowed` exactly when nothing changed (it may also be a sub-slice for trims).
    #[must_use]
    pub fn apply<'a>(self, value: &'a [u8], tables: &Tables) -> Cow<'a, [u8]> {
        match self {
            Self::Base64Decode => settle(value, base64::decode(value)),
            Self::Base64DecodeExt => settle(value, base64::decode_ext(value)),
            Self::Base64Encode => settle(value, base64::encode(value)),
            Self::CmdLine => cmd_line::apply(value),
            Self::CompressWhitespace => whitespace::compress(value),
            Self::CssDecode => css::apply(value),
            Self::EscapeSeqDecode => escape_seq::apply(value),
            Self::HexDecode => settle(value, hex::decode(value)),
            Self::HexEncode => settle(value, hex::encode(value)),
            Self::HtmlEntityDecode => html_entity::apply(value),
            Self::JsDecode => js::apply(value),
            Self::Length => settle(value, length::apply(value)),
            Self::Lowercase => case::lower(value),
            Self::Md5 => Cow::Owned(digest::md5(value)),
            Self::NormalizePath => path::apply(value),
            Self::NormalizePathWin => path::apply_win(value),
            Self::ParityEven7bit => map_bytes(value, parity::even),
            Self::ParityOdd7bit => map_bytes(value, parity::odd),
            Self::ParityZero7bit => map_bytes(value, parity::zero),
            Self::RemoveComments => comments::remove(value),
            Self::RemoveCommentsChar => comments::remove_char(value),
            Self::RemoveNulls => nulls::remove(value),
            Self::RemoveWhitespace => whitespace::remove(value),
            Self::ReplaceComments => comments::replace(value),
            Self::ReplaceNulls => map_bytes(value, nulls::replaced),
            Self::Sha1 => Cow::Owned(digest::sha1(value)),
            Self::SqlHexDecode => hex::decode_sql(value),
            Self::Trim => Cow::Borrowed(whitespace::trim_left(whitespace::trim_right(value))),
            Self::TrimLeft => Cow::Borrowed(whitespace::trim_left(value)),
            Self::TrimRight => Cow::Borrowed(whitespace::trim_right(value)),
            Self::Uppercase => case::upper(value),
            Self::UrlDecode => url::decode(value),
            Self::UrlDecodeUni => url::decode_uni(value, tables),
            Self::UrlEncode => url::encode(value),
            Self::Utf8ToUnicode => utf8::apply(value),
        }
    }

    /// Bytes without any of which the transformation is the identity; `None` when no such set exists (for example
    /// `sha1` and `length`).
    #[must_use]
    pub fn triggers(self) -> Option<ByteSet> {
        proof::triggers(self)
    }

    /// Every byte that can occur in the result when only bytes of `set` occur in the input: an over-approximation.
    #[must_use]
    pub fn transfer(self, set: ByteSet) -> ByteSet {
        proof::transfer(self, set)
    }
}

/// The result of a transformation: borrowed when it is what came in.
fn settle(value: &[u8], out: Vec<u8>) -> Cow<'_, [u8]> {
    if out == value { Cow::Borrowed(value) } else { Cow::Owned(out) }
}

/// A transformation that changes single bytes.
fn map_bytes(value: &[u8], map: impl Fn(u8) -> u8) -> Cow<'_, [u8]> {
    if value.iter().all(|&byte| map(byte) == byte) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().map(|&byte| map(byte)).collect())
}

/// A transformation that deletes single bytes.
fn delete_bytes(value: &[u8], goes: impl Fn(u8) -> bool) -> Cow<'_, [u8]> {
    if !value.iter().any(|&byte| goes(byte)) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|&byte| !goes(byte)).collect())
}

/// A transformation that leaves everything alone before the first byte that `begins` something, and that calls `step`
/// with the rest from there. `step` writes what the beginning of its input stands for and returns what is left.
fn rewrite<'a>(
    value: &'a [u8],
    begins: impl Fn(u8) -> bool,
    mut step: impl FnMut(&'a [u8], &mut Vec<u8>) -> &'a [u8],
) -> Cow<'a, [u8]> {
    let plain = |rest: &[u8]| rest.iter().position(|&byte| begins(byte)).unwrap_or(rest.len());
    let first = plain(value);
    if first == value.len() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let (mut head, mut rest) = value.split_at_checked(first).unwrap_or((value, &[]));
    loop {
        out.extend_from_slice(head);
        if rest.is_empty() {
            return settle(value, out);
        }
        rest = step(rest, &mut out);
        (head, rest) = rest.split_at_checked(plain(rest)).unwrap_or((rest, &[]));
    }
}

/// The value of a hexadecimal digit.
const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte that two hexadecimal digits spell.
fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

/// The byte for a four-digit code: its low byte, and the ASCII twin of a full-width form (FF01 to FF5E), which a browser
/// reads as one.
const fn narrow(high: u8, low: u8) -> u8 {
    if high == 0xff && low > 0 && low < 0x5f { low + 0x20 } else { low }
}

/// Whitespace of the C locale: blank, tab, line feed, vertical tab, form feed, carriage return.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
