//! Header fields that a head must not hold, and those that must make sense. Hosts are judged in `host.rs`.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tollgate_core::ruling::Ruling;

use super::bad;

/// Fields that decide who is asking, from where, for what host, or where the body ends. Nobody may name them in
/// `Connection`, or write them with other punctuation.
const GUARDED: [&str; 16] = [
    "api-key",
    "authorization",
    "client-cert",
    "client-cert-chain",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "proxy-authorization",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "x-api-key",
    "x-real-ip",
    "x-request-id",
];

/// Beginnings of further such names.
const GUARDED_PREFIXES: [&str; 3] = ["content-", "tollgate-", "x-forwarded-"];

/// Fields that carry a credential as visible ASCII.
const CREDENTIALS: [&str; 4] = ["api-key", "authorization", "proxy-authorization", "x-api-key"];

/// Fields about the connection, which do not exist in HTTP/2 (RFC 9113 §8.2.2).
const NOT_IN_H2: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Judges every field.
pub(super) fn check(parts: &Parts) -> Ruling<()> {
    let headers = &parts.headers;
    let second = parts.version == Version::HTTP_2;
    let (mut connected, mut rare) = (false, false);
    for (name, value) in headers {
        check_name(name, second)?;
        connected |= *name == CONNECTION;
        rare |= *name == TE || *name == EXPECT;
        // A value cannot hold CR, LF or NUL: the type excludes them. Bytes from 80 hex on it admits (RFC 9110 §5.5).
        if CREDENTIALS.contains(&name.as_str()) && !value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(bad(format_args!("field `{name}` is not visible ASCII")));
        }
    }
    if connected {
        check_connection(headers)?;
    }
    if rare {
        check_te(headers, second)?;
        check_expect(headers)?;
    }
    check_framing(parts)
}

fn check_name(name: &HeaderName, second: bool) -> Ruling<()> {
    let text = name.as_str();
    if second && NOT_IN_H2.contains(&text) {
        return Err(bad(format_args!("field `{text}` does not exist in HTTP/2")));
    }
    // WSGI, CGI and PHP see `X_Api_Key` and `X-Api-Key` as one name: header smuggling past a proxy that sees two.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.bytes().all(plain) {
        let looks_like: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        if is_guarded(&looks_like) {
            return Err(bad(format_args!("field `{text}` passes for `{looks_like}`")));
        }
    }
    Ok(())
}

/// `Connection` may ask for a hop's own fields to go, never for those that we decide by: CVE-2022-1388 is what happens
/// otherwise.
fn check_connection(headers: &HeaderMap) -> Ruling<()> {
    for option in options(headers) {
        let Some(option) = option else { return Err(bad("`connection` is not a list of names")) };
        if is_guarded(option) {
            return Err(bad(format_args!("`connection` names `{option}`")));
        }
    }
    Ok(())
}

/// The options of every `Connection` field; `None` for one that is no token.
pub(super) fn options(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(CONNECTION).into_iter().flat_map(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|option| !option.is_empty())
            .map(token)
    })
}

fn token(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)).then_some(text)
}

fn check_te(headers: &HeaderMap, second: bool) -> Ruling<()> {
    let odd = |value: &HeaderValue| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"trailers");
    if second && headers.get_all(TE).iter().any(odd) {
        return Err(bad("`te` asks for more than trailers"));
    }
    Ok(())
}

fn check_expect(headers: &HeaderMap) -> Ruling<()> {
    let mut values = headers.get_all(EXPECT).iter();
    let good = match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
        (Some(_), Some(_)) => false,
    };
    if good { Ok(()) } else { Err(bad("`expect` asks for something other than `100-continue`")) }
}

/// One statement at most of where the body ends, and none where there is no body.
fn check_framing(parts: &Parts) -> Ruling<()> {
    let headers = &parts.headers;
    let length = content_length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        if length.is_some() {
            return Err(bad("both `content-length` and `transfer-encoding`"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(bad("`transfer-encoding` is not `chunked`"));
        }
        if parts.version == Version::HTTP_10 {
            return Err(bad("`transfer-encoding` in HTTP/1.0"));
        }
    }
    let bodiless = matches!(parts.method, Method::GET | Method::HEAD);
    if bodiless && (coding.is_some() || length.is_some_and(|length| length > 0)) {
        return Err(bad(format_args!("a {} with a body", parts.method)));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Ruling<Option<u64>> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("`content-length` twice"));
    }
    // `parse` takes a sign: digits are checked first.
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(bad("`content-length` is not a number of bytes")),
    }
}

/// Whether `name`, in whatever case, is a field that we decide by.
fn is_guarded(name: &str) -> bool {
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    GUARDED.iter().any(|guarded| name.eq_ignore_ascii_case(guarded)) || GUARDED_PREFIXES.into_iter().any(begins)
}
