//! What the head of a gRPC request says of its messages: that it is one, how they are compressed, how long it may take.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Version};
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

use super::Coding;
use crate::hygiene::Head;

/// What messages may be compressed with, for `grpc-accept-encoding`.
pub const ACCEPTED: &str = "identity, deflate, gzip";

/// Whether fields call what follows them gRPC, in whatever serialisation.
#[must_use]
pub fn is_called_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let (name, rest) = kind.split_at_checked(GRPC.len()).unwrap_or_default();
    name.eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
}

const GRPC: &str = "application/grpc";

/// How compressed messages are compressed.
pub(super) fn coding(head: &Head) -> Ruling<Coding> {
    let unsupported = |why: &str| Err(Refusal::new(Code::Unsupported).because(why).into());
    if head.version != Version::HTTP_2 {
        return unsupported("gRPC over another version than HTTP/2");
    }
    let fits = |kind: &str| [GRPC, "application/grpc+proto"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    if !head.single(CONTENT_TYPE.as_str()).is_some_and(fits) {
        return unsupported("a content type that is not `application/grpc`");
    }
    if head.headers.contains_key(CONTENT_ENCODING) {
        return unsupported("a coding around messages of gRPC");
    }
    let mut values = head.headers.get_all("grpc-encoding").iter();
    match (values.next().map(http::HeaderValue::as_bytes), values.next()) {
        (None | Some(b"identity"), None) => Ok(Coding::Identity),
        (Some(b"deflate"), None) => Ok(Coding::Deflate),
        (Some(b"gzip"), None) => Ok(Coding::Gzip),
        _ => unsupported("another `grpc-encoding`"),
    }
}

/// How long the caller waits for the whole of it: `grpc-timeout`, at most eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Ruling<Option<Duration>> {
    let mut values = headers.get_all("grpc-timeout").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || Stop::from(Refusal::new(Code::BadRequest).because("`grpc-timeout` is no time"));
    let text = value.to_str().ok().filter(|_| values.next().is_none()).ok_or_else(malformed)?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(malformed)?;
    let sound = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| sound).ok_or_else(malformed)?;
    let time = match unit {
        "H" => Duration::from_hours(count),
        "M" => Duration::from_mins(count),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return Err(malformed()),
    };
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};

    use super::*;

    fn head(version: Version, fields: &[(&'static str, &'static str)]) -> Head {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Head { method: Method::POST, uri: "/s/M".parse().expect("a path"), version, headers, host: "gate.test".into() }
    }

    #[test]
    fn only_grpc_over_http_2_is_taken() {
        const TYPE: &str = "content-type";
        let coding_of = |version, fields: &[_]| coding(&head(version, fields)).ok();
        let second = Version::HTTP_2;
        for (kind, coding) in [("application/grpc", Coding::Identity), ("Application/gRPC+proto", Coding::Identity)] {
            assert_eq!(coding_of(second, &[(TYPE, kind)]), Some(coding), "{kind}");
        }
        assert_eq!(coding_of(Version::HTTP_11, &[(TYPE, "application/grpc")]), None);
        for kind in ["application/json", "application/grpc+json", "application/grpc-web", "application/grpc;x=1", ""] {
            assert_eq!(coding_of(second, &[(TYPE, kind)]), None, "{kind}");
        }
        assert_eq!(coding_of(second, &[]), None);
        assert_eq!(coding_of(second, &[(TYPE, "application/grpc"), (TYPE, "application/grpc")]), None);
        let with = |name, value| coding_of(second, &[(TYPE, "application/grpc"), (name, value)]);
        assert_eq!(with("grpc-encoding", "gzip"), Some(Coding::Gzip));
        assert_eq!(with("grpc-encoding", "deflate"), Some(Coding::Deflate));
        assert_eq!(with("grpc-encoding", "snappy"), None);
        assert_eq!(with("grpc-encoding", "gzip, gzip"), None);
        assert_eq!(with("content-encoding", "gzip"), None);
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let read = |value| timeout(&head(Version::HTTP_2, &[("grpc-timeout", value)]).headers);
        for (text, expected) in [
            ("1H", Duration::from_hours(1)),
            ("2M", Duration::from_mins(2)),
            ("3S", Duration::from_secs(3)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("0u", Duration::ZERO),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(read(text).expect("a time"), Some(expected), "{text}");
        }
        for text in ["", "S", "1", "1s", "+1S", "-1S", "1.5S", "123456789S", "1 S", "S1"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()).expect("none"), None);
    }
}
