//! `@detectSQLi` and `@detectXSS`: libinjection's detectors, behind a fence.

use std::panic::catch_unwind;

use super::Captures;

/// How often a detector reads a value at most: in each context of quotes and dialect.
pub(super) const PASSES: u64 = 6;

/// Whether the value reads as an SQL injection; its fingerprint goes to slot 0. A panic of the detector is a match: a
/// value that breaks it must not pass for that.
pub(super) fn sqli(value: &[u8], captures: Option<&mut Captures>) -> bool {
    let found = catch_unwind(|| {
        let found = libinjectionrs::detect_sqli(value);
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

/// Whether the value reads as cross-site scripting.
pub(super) fn xss(value: &[u8]) -> bool {
    catch_unwind(|| libinjectionrs::detect_xss(value).is_injection()).unwrap_or(true)
}
