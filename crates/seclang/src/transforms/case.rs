//! `lowercase` and `uppercase`, of ASCII letters only.

use std::borrow::Cow;

pub(super) fn lower(value: &[u8]) -> Cow<'_, [u8]> {
    if value.iter().any(u8::is_ascii_uppercase) { Cow::Owned(value.to_ascii_lowercase()) } else { Cow::Borrowed(value) }
}

pub(super) fn upper(value: &[u8]) -> Cow<'_, [u8]> {
    if value.iter().any(u8::is_ascii_lowercase) { Cow::Owned(value.to_ascii_uppercase()) } else { Cow::Borrowed(value) }
}
