//! `@detectSQLi` and `@detectXSS`: libinjection's detectors, behind a fence.
//!
//! The detectors are a port, called under `catch_unwind`; a panic counts as a match. The fence also bounds their time:
//! - In a word without separators libinjection looks up what stands before each `.` and backtick; the port does so for
//!   the whole word, in the square of its length. No keyword is longer than 31 bytes, so in longer words the marks that
//!   are too many become letters ([`tamed`]).
//! - Folding (`1,1,1,…`) can go on for as long as a value does, at a microsecond a token. What is read is therefore at
//!   most [`TOKENS`] tokens ([`judged`]); the rest of a longer chain of tokens that all fold is not looked at.

use std::borrow::Cow;
use std::panic::catch_unwind;

use libinjectionrs::sqli::SqliTokenizer;
use libinjectionrs::xss::Html5Flags;
use libinjectionrs::{SqliFlags, SqliState, XssDetector};

use super::Captures;

/// How often a detector reads a value at most: in each context of quotes and dialect.
pub(super) const PASSES: u64 = 5;

/// Most tokens that one reading takes.
const TOKENS: usize = 8192;

/// Values up to this length are given to the detector as they are.
const SHORT: usize = 16 << 10;

/// Most marks in one word that are looked up.
const MARKS: usize = 32;

/// Whether the value reads as an SQL injection; its fingerprint goes to slot 0.
pub(super) fn sqli(value: &[u8], captures: Option<&mut Captures>) -> bool {
    let found = catch_unwind(|| {
        let found = libinjectionrs::detect_sqli(&tamed(judged(value)));
        found.is_injection().then(|| found.fingerprint.map(|print| print.as_str().as_bytes().to_vec()))
    });
    let fingerprint = match found {
        Ok(None) => return false,
        Ok(Some(fingerprint)) => fingerprint,
        Err(_) => None,
    };
    if let Some(captures) = captures {
        *captures = Captures { text: Some(fingerprint.unwrap_or_default()), ..Captures::default() };
    }
    true
}

/// Whether the value reads as cross-site scripting, in any of the five places where it may land. Every finding of the
/// detector is a tag, a comment or a document type, which begin with `<`, or an attribute's value behind its name, which
/// follows `=`. In a place between quotes, nothing is read before the quote that closes it.
pub(super) fn xss(value: &[u8]) -> bool {
    let has = |byte: u8| memchr::memchr(byte, value).is_some();
    let tags = has(b'<');
    if !tags && !has(b'=') {
        return false;
    }
    let places = [
        (Html5Flags::DataState, tags),
        (Html5Flags::ValueNoQuote, true),
        (Html5Flags::ValueSingleQuote, has(b'\'')),
        (Html5Flags::ValueDoubleQuote, has(b'"')),
        (Html5Flags::ValueBackQuote, has(b'`')),
    ];
    let found = |&(place, possible): &(Html5Flags, bool)| possible && XssDetector::is_xss(value, place);
    catch_unwind(|| places.iter().any(found)).unwrap_or(true)
}

/// The part of the value that decides: the detector stops at the sixth token that does not fold, mostly after a few
/// words.
fn judged(value: &[u8]) -> &[u8] {
    let Some((head, _)) = value.split_at_checked(SHORT).filter(|(_, rest)| !rest.is_empty()) else { return value };
    let ansi = |quote: SqliFlags| quote | SqliFlags::FLAG_SQL_ANSI;
    let mysql = |quote: SqliFlags| quote | SqliFlags::FLAG_SQL_MYSQL;
    let contexts = [
        ansi(SqliFlags::FLAG_QUOTE_NONE),
        mysql(SqliFlags::FLAG_QUOTE_NONE),
        ansi(SqliFlags::FLAG_QUOTE_SINGLE),
        mysql(SqliFlags::FLAG_QUOTE_SINGLE),
        mysql(SqliFlags::FLAG_QUOTE_DOUBLE),
    ];
    let head_tamed = tamed(head);
    let open: Vec<SqliFlags> = contexts.into_iter().filter(|&flags| !is_decided(&head_tamed, flags)).collect();
    if open.is_empty() {
        return head;
    }
    let whole = tamed(value);
    let end = open.into_iter().filter_map(|flags| end_of_reading(&whole, flags)).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

/// Whether a reading of the head stops in front of its last token, so that what follows the head changes nothing.
fn is_decided(head: &[u8], flags: SqliFlags) -> bool {
    let mut state = SqliState::new(head, flags);
    state.fold_tokens();
    let mut tokens = SqliTokenizer::new(head, flags);
    (0..=state.stats_tokens).all(|_| tokens.next_token().is_some())
}

/// Where a reading would exceed its tokens, if it would.
fn end_of_reading(value: &[u8], flags: SqliFlags) -> Option<usize> {
    let mut tokens = SqliTokenizer::new(value, flags);
    for _ in 0..TOKENS {
        tokens.next_token()?;
    }
    tokens.next_token().map(|token| token.pos)
}

/// The value with no word in which more than [`MARKS`] dots and backticks are looked up, each in time linear in what
/// stands before it. Lengths stay.
fn tamed(value: &[u8]) -> Cow<'_, [u8]> {
    let is_mark = |byte: u8| matches!(byte, b'.' | b'`');
    if value.len() < 2 * MARKS || memchr::memchr2_iter(b'.', b'`', value).nth(MARKS).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = value.to_vec();
    for word in out.split_mut(|&byte| separates(byte)) {
        // Dots alone are no word: the line of dots of a table of contents stays as it is.
        let letters = word.iter().take_while(|&&byte| is_mark(byte)).count();
        for mark in word.iter_mut().skip(letters).filter(|byte| is_mark(**byte)).skip(MARKS) {
            *mark = b'_';
        }
    }
    Cow::Owned(out)
}

/// The bytes that end a word for libinjection.
const fn separates(byte: u8) -> bool {
    matches!(
        byte,
        0 | b'\t'..=b'\r'
            | b' '..=b'#'
            | b'%'..=b'-'
            | b'/'
            | b':'..=b'@'
            | b'['..=b'^'
            | b'{'..=b'~'
            | 0xa0
    )
}
