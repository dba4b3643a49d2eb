//! What a transformation can do, told from the set of bytes of its input alone (the first half of the charset proof).

use super::{Transform, is_space, nulls, parity, url};
use crate::charset::ByteSet;

/// Bytes without any of which the transformation is the identity; `None` where even the empty value changes or where
/// every byte does.
pub(super) fn triggers(transform: Transform) -> Option<ByteSet> {
    Some(match transform {
        Transform::Base64Decode
        | Transform::Base64DecodeExt
        | Transform::Base64Encode
        | Transform::HexDecode
        | Transform::HexEncode
        | Transform::Length
        | Transform::Md5
        | Transform::Sha1 => return None,
        Transform::CmdLine => separators().union(ByteSet::of(b"\"'\\^")).with_range(b'A', b'Z'),
        Transform::CssDecode | Transform::EscapeSeqDecode | Transform::JsDecode => ByteSet::of(b"\\"),
        Transform::HtmlEntityDecode => ByteSet::of(b"&"),
        Transform::Lowercase => ByteSet::NONE.with_range(b'A', b'Z'),
        Transform::NormalizePath => ByteSet::of(b"/."),
        Transform::NormalizePathWin => ByteSet::of(b"/.\\"),
        Transform::ParityEven7bit => those(|byte| parity::even(byte) != byte),
        Transform::ParityOdd7bit => those(|byte| parity::odd(byte) != byte),
        Transform::ParityZero7bit => those(|byte| parity::zero(byte) != byte),
        Transform::RemoveComments | Transform::RemoveCommentsChar => ByteSet::of(b"*-#"),
        Transform::RemoveNulls | Transform::ReplaceNulls => ByteSet::of(b"\0"),
        Transform::RemoveWhitespace => those(|byte| is_space(byte) || matches!(byte, 0xa0 | 0xc2)),
        Transform::ReplaceComments => ByteSet::of(b"*"),
        Transform::SqlHexDecode => ByteSet::of(b"xX"),
        Transform::CompressWhitespace | Transform::Trim | Transform::TrimLeft | Transform::TrimRight => those(is_space),
        Transform::Uppercase => ByteSet::NONE.with_range(b'a', b'z'),
        Transform::UrlDecode | Transform::UrlDecodeUni => ByteSet::of(b"%+"),
        Transform::UrlEncode => those(|byte| !url::keeps(byte)),
        Transform::Utf8ToUnicode => those(|byte| !byte.is_ascii()),
    })
}

/// Every byte that can occur in the result.
pub(super) fn transfer(transform: Transform, set: ByteSet) -> ByteSet {
    if triggers(transform).is_some_and(|triggers| triggers.is_disjoint(&set)) {
        return set;
    }
    match transform {
        Transform::Base64Decode | Transform::Base64DecodeExt => {
            decoded(&set, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        }
        Transform::HexDecode => decoded(&set, |byte| byte.is_ascii_hexdigit()),
        Transform::Md5 | Transform::Sha1 => ByteSet::ALL,
        Transform::CssDecode
        | Transform::EscapeSeqDecode
        | Transform::HtmlEntityDecode
        | Transform::JsDecode
        | Transform::SqlHexDecode => ByteSet::ALL,
        Transform::UrlDecode | Transform::UrlDecodeUni if set.contains(b'%') => ByteSet::ALL,
        Transform::Base64Encode => those(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)),
        Transform::HexEncode => hex_digits(),
        Transform::Length => ByteSet::NONE.with_range(b'0', b'9'),
        Transform::CmdLine => {
            let kept = image(&set, |byte| byte.to_ascii_lowercase());
            let spaced = if set.is_disjoint(&separators()) { ByteSet::NONE } else { ByteSet::of(b" ") };
            minus(kept, &separators().union(ByteSet::of(b"\"'\\^"))).union(spaced)
        }
        Transform::CompressWhitespace => minus(set, &those(is_space)).union(ByteSet::of(b" ")),
        Transform::Lowercase => image(&set, |byte| byte.to_ascii_lowercase()),
        Transform::Uppercase => image(&set, |byte| byte.to_ascii_uppercase()),
        Transform::NormalizePathWin => image(&set, |byte| if byte == b'\\' { b'/' } else { byte }),
        Transform::ParityEven7bit => image(&set, parity::even),
        Transform::ParityOdd7bit => image(&set, parity::odd),
        Transform::ParityZero7bit => image(&set, parity::zero),
        Transform::ReplaceNulls => image(&set, nulls::replaced),
        Transform::RemoveComments | Transform::ReplaceComments => set.union(ByteSet::of(b" ")),
        Transform::RemoveNulls => minus(set, &ByteSet::of(b"\0")),
        Transform::RemoveWhitespace => minus(set, &those(|byte| is_space(byte) || matches!(byte, 0xa0 | 0xc2))),
        Transform::NormalizePath
        | Transform::RemoveCommentsChar
        | Transform::Trim
        | Transform::TrimLeft
        | Transform::TrimRight => set,
        Transform::UrlDecode | Transform::UrlDecodeUni => image(&set, |byte| if byte == b'+' { b' ' } else { byte }),
        Transform::UrlEncode => {
            minus(set, &those(|byte| !url::keeps(byte))).union(hex_digits()).union(ByteSet::of(b"+%"))
        }
        Transform::Utf8ToUnicode => set.union(hex_digits()).union(ByteSet::of(b"%u")),
    }
}

/// What `cmdLine` turns into a space.
fn separators() -> ByteSet {
    those(|byte| is_space(byte) || matches!(byte, b',' | b';'))
}

fn hex_digits() -> ByteSet {
    ByteSet::NONE.with_range(b'0', b'9').with_range(b'a', b'f')
}

/// A decoder's result: anything, when there is a byte of its alphabet at all.
fn decoded(set: &ByteSet, alphabet: impl Fn(u8) -> bool) -> ByteSet {
    if set.is_disjoint(&those(alphabet)) { ByteSet::NONE } else { ByteSet::ALL }
}

fn those(chosen: impl Fn(u8) -> bool) -> ByteSet {
    let mut set = ByteSet::NONE;
    (0..=u8::MAX).filter(|&byte| chosen(byte)).for_each(|byte| set.insert(byte));
    set
}

fn image(set: &ByteSet, map: impl Fn(u8) -> u8) -> ByteSet {
    let mut out = ByteSet::NONE;
    set.iter().for_each(|byte| out.insert(map(byte)));
    out
}

fn minus(set: ByteSet, gone: &ByteSet) -> ByteSet {
    those(|byte| set.contains(byte) && !gone.contains(byte))
}
