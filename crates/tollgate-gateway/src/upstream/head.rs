//! Heads between us and a model server: ours are written field by field, theirs are parsed strictly.
//!
//! Pure: bytes in, values out. What is sent when, and what a body holds, is the business of `link` and `answer`.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use memchr::memmem;
use tollgate_layers::hygiene::{self, Cookies};

use super::Upward;
use super::connect::Address;
use super::link::LinkError;

/// Fields of an answer.
const MAX_FIELDS: usize = 100;
/// Bytes of the head of an answer.
const MAX_HEAD: usize = 65_536;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sending {
    /// In chunks.
    Chunked,
    /// By a length.
    Length(u64),
    /// There is none.
    None,
}

/// How the body of an answer is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coming {
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    Close,
    /// By a length, perhaps zero.
    Length(u64),
}

/// The head of an answer, without its fields.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    /// The fields that stood where those of the answer stand now, if the server failed: another one may be asked.
    pub(super) asked: Option<Box<HeaderMap>>,
    pub(super) coming: Coming,
    /// Whether the server means to keep the connection.
    pub(super) keep: bool,
}

/// Writes the head of a request `to` an endpoint. What frames the body is written here and is not among its fields.
pub(super) fn write(out: &mut Vec<u8>, head: &Upward, to: &Address, sending: Sending) {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for piece in
        [head.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: ", to.host_field.as_bytes()]
    {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
    match sending {
        Sending::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Sending::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Sending::None => {}
    }
    if let Some((name, key)) = to.credential() {
        for piece in [name.as_str().as_bytes(), b": ", key.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    for (name, value) in head.credentials(to) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    hygiene::write(out, &head.headers, Cookies::Drop, &head.ours);
    out.extend_from_slice(b"\r\n");
}

/// Appends the digits of a number.
fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[digits.len() - used..]);
}

/// Takes the head of an answer to a request of `method` off `received`, its fields into `fields`, which is emptied
/// first. `None` while more must come. Interim answers (1xx) are taken and say nothing.
///
/// # Errors
/// Where it is malformed, too large, or ambiguous about where its body ends.
pub(super) fn take(
    received: &mut BytesMut,
    method: &Method,
    fields: &mut HeaderMap,
) -> Result<Option<AnswerHead>, LinkError> {
    loop {
        let known = received.len().min(BEGINNING.len());
        if received.get(..known) != BEGINNING.get(..known) {
            return Err(LinkError::Malformed("it does not speak HTTP/1"));
        }
        let Some(end) = memmem::find(received, b"\r\n\r\n") else {
            return if received.len() < MAX_HEAD {
                Ok(None)
            } else {
                Err(LinkError::Malformed("its head is too large"))
            };
        };
        let head = parse(&received.split_to(end + 4).freeze(), method, fields)?;
        // A switch of protocols is the last word in this one; nobody asked for it, and `output` makes it a fault.
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
    }
}

const BEGINNING: &[u8] = b"HTTP/1.";

fn parse(head: &Bytes, method: &Method, fields: &mut HeaderMap) -> Result<AnswerHead, LinkError> {
    let mut room = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let end = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut room);
    if !matches!(end, Ok(httparse::Status::Complete(end)) if end == head.len()) {
        return Err(LinkError::Malformed("its head is malformed"));
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(LinkError::Malformed("its status is malformed"))?;
    let asked = status.is_server_error().then(|| Box::new(std::mem::take(fields)));
    let interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
    // What an interim answer says must not take the place of anything.
    let mut aside = HeaderMap::new();
    let fields = if interim { &mut aside } else { fields };
    fields.clear();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value.trim_ascii()));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(LinkError::Malformed("a field is malformed")) };
        fields.append(name, value);
    }
    let old = parsed.version != Some(1);
    let coming = coming(status, method, fields, old)?;
    let keep = keeps(fields, old) && coming != Coming::Close && !status.is_informational();
    Ok(AnswerHead { status, asked, coming, keep })
}

fn coming(status: StatusCode, method: &Method, fields: &HeaderMap, old: bool) -> Result<Coming, LinkError> {
    let (coding, length) = (only(fields, &TRANSFER_ENCODING)?, only(fields, &CONTENT_LENGTH)?);
    let length = match length.map(length_of) {
        Some(None) => return Err(LinkError::Malformed("its length is malformed")),
        Some(length) => length,
        None => None,
    };
    let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304) || *method == Method::HEAD;
    match (coding, length) {
        // Two statements of where the body ends are how answers are smuggled (RFC 9112, 6.3).
        (Some(_), Some(_)) => Err(LinkError::Malformed("both a length and a coding")),
        _ if bodiless => Ok(Coming::Length(0)),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && !old => Ok(Coming::Chunked),
        (Some(_), None) => Err(LinkError::Malformed("its coding is not `chunked`")),
        (None, Some(length)) => Ok(Coming::Length(length)),
        (None, None) => Ok(Coming::Close),
    }
}

/// The value of a field that must not come twice.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, LinkError> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(LinkError::Malformed("its framing is said twice")),
    }
}

/// Digits alone: `parse` takes a sign.
fn length_of(value: &HeaderValue) -> Option<u64> {
    let text = str::from_utf8(value.as_bytes()).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// HTTP/1.1 keeps connections unless it says otherwise, HTTP/1.0 closes them unless it says otherwise.
fn keeps(fields: &HeaderMap, old: bool) -> bool {
    let said = |option: &str| {
        let values = fields.get_all(CONNECTION).iter();
        let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        options.any(|said| said.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    !said("close") && (!old || said("keep-alive"))
}

#[cfg(test)]
mod tests {
    use tollgate_core::identity::ExchangeId;
    use tollgate_layers::hygiene::{Ours, Trace};

    use super::*;

    fn answer(text: &str) -> Result<Option<(AnswerHead, HeaderMap, Vec<u8>)>, LinkError> {
        answer_to(&Method::POST, text)
    }

    fn answer_to(method: &Method, text: &str) -> Result<Option<(AnswerHead, HeaderMap, Vec<u8>)>, LinkError> {
        let (mut received, mut fields) = (BytesMut::from(text), HeaderMap::new());
        let head = take(&mut received, method, &mut fields)?;
        Ok(head.map(|head| (head, fields, received.to_vec())))
    }

    fn head(text: &str) -> AnswerHead {
        answer(text).expect("sound").expect("whole").0
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole_and_leaves_the_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\nX-A: c\r\n\r\n";
        for cut in 0..text.len() {
            assert!(answer(&text[..cut]).expect("sound so far").is_none(), "{cut}");
        }
        let (head, fields, rest) = answer(&format!("{text}{{}}")).expect("sound").expect("whole");
        assert_eq!((head.status, head.coming, head.keep), (StatusCode::OK, Coming::Length(2), true));
        assert_eq!(fields.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(rest, b"{}");
    }

    #[test]
    fn what_ends_a_body_is_what_the_standard_says() {
        for (text, coming, keep) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Coming::Chunked, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Coming::Close, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Coming::Length(0), true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Coming::Length(0), true),
            ("HTTP/1.1 200\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\n", Coming::Length(1), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Coming::Length(1), false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", Coming::Length(1), true),
        ] {
            assert_eq!((head(text).coming, head(text).keep), (coming, keep), "{text}");
        }
        let to_head = answer_to(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(to_head.expect("sound").expect("whole").0.coming, Coming::Length(0));
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_malformed() {
        for text in [
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-OpenSSH",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 999999 OK\r\n\r\n",
        ] {
            assert!(matches!(answer(text), Err(LinkError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
        assert!(matches!(answer(&endless), Err(LinkError::Malformed(_))));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        assert!(matches!(answer(&many), Err(LinkError::Malformed(_))));
    }

    #[test]
    fn interim_answers_are_stepped_over_and_a_switch_is_not() {
        let text = "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";
        assert!(answer(text).expect("sound").is_none());
        let (head, fields, _) = answer(&format!("{text}HTTP/1.1 200 OK\r\n\r\n")).expect("sound").expect("whole");
        assert_eq!((head.status, fields.len()), (StatusCode::OK, 0));
        let switch = answer("HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n");
        assert!(!switch.expect("sound").expect("whole").0.keep);
    }

    #[test]
    fn a_request_is_written_with_our_framing_and_the_hosts_own_name() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("host", "theirs"), ("content-length", "99"), ("x-a", "2")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let trace = Trace { trace_id: 1, span_id: 2, parent: None, sampled: false };
        let ours = Ours { id: ExchangeId(3), trace, client: None, content_type: None };
        let uri = http::Uri::from_static("/v2/p?q=1");
        let head = Upward { method: Method::POST, uri, headers, ours, credentials: false };
        let to = Address::new("m".to_owned(), 1, None).expect("a host");
        let written = |sending| {
            let mut out = Vec::new();
            write(&mut out, &head, &to, sending);
            String::from_utf8(out).expect("text")
        };
        let begin = "POST /v2/p?q=1 HTTP/1.1\r\nhost: m:1\r\n";
        let ids = format!("x-request-id: {:032x}\r\ntraceparent: 00-{:032x}-{:016x}-00\r\n", 3, 1, 2);
        let end = format!("x-a: 1\r\nx-a: 2\r\n{ids}\r\n");
        assert_eq!(written(Sending::None), format!("{begin}{end}"));
        assert_eq!(written(Sending::Chunked), format!("{begin}transfer-encoding: chunked\r\n{end}"));
        for length in [0, 7, 10, 1_048_576, u64::MAX] {
            assert_eq!(written(Sending::Length(length)), format!("{begin}content-length: {length}\r\n{end}"));
        }
    }
}
