//! What an HTTP server makes of a request's bytes before rules see it: the head in parts, the body without its framing,
//! and whether RFC 9112 wants it refused. As on a lenient listener of the gateway, a refused head is still shown to the
//! rules; a body behind it is not.

use bytes::Bytes;

/// A request as a server read it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its first line.
    pub line: Vec<u8>,
    /// What stands before the target.
    pub method: Vec<u8>,
    /// As received.
    pub target: Vec<u8>,
    /// `HTTP/1.1`
    pub protocol: Vec<u8>,
    /// Names and values, in order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Without its framing.
    pub body: Bytes,
    /// The status with which a server refuses it.
    pub refused: Option<u16>,
}

impl Request {
    /// Reads the bytes of a request; `None` where there is no first line.
    #[must_use]
    pub fn read(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, rest) = end.map_or((raw, &[][..]), |end| raw.split_at(end));
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut request = Self::first_line(lines.next()?)?;
        for line in lines {
            request.header_line(line);
        }
        if request.is_malformed() {
            request.refused = Some(400);
        } else if request.method == b"CONNECT" {
            request.refused = Some(405);
        } else if request.has("transfer-encoding") {
            request.body = unchunked(rest.get(4..).unwrap_or_default()).into();
        } else {
            let length = request.length().unwrap_or(0);
            let body = rest.get(4..).unwrap_or_default();
            request.body = Bytes::copy_from_slice(body.get(..length).unwrap_or(body));
        }
        Some(request)
    }

    /// Values of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |(other, _): &&(Vec<u8>, Vec<u8>)| other.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(same).map(|(_, value)| value.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn length(&self) -> Option<usize> {
        std::str::from_utf8(self.values("content-length").next()?).ok()?.parse().ok()
    }

    fn first_line(line: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (method, target, protocol) = match words.as_slice() {
            // The form of HTTP/0.9, which names no version.
            [method, target] | [method, target, b""] => (method.to_vec(), target.to_vec(), b"HTTP/0.9".to_vec()),
            [method, target @ .., protocol] => (method.to_vec(), target.join(b" ".as_slice()), protocol.to_vec()),
            [] | [_] => return None,
        };
        Some(Self { line: line.to_owned(), method, target, protocol, ..Self::default() })
    }

    /// A line that begins with a blank continues the one before it.
    fn header_line(&mut self, line: &[u8]) {
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            if let Some((_, value)) = self.headers.last_mut() {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            return;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.headers.push((name.to_owned(), value.trim_ascii().to_owned()));
    }

    /// RFC 9112 §3 and §6, RFC 9110 §7.2.
    fn is_malformed(&self) -> bool {
        let words = self.line.split(|byte| *byte == b' ').count();
        let version = [&b"HTTP/1.1"[..], b"HTTP/1.0"].contains(&self.protocol.as_slice());
        let method = !self.method.is_empty() && self.method.iter().all(|byte| is_token(*byte));
        let host = |value: &[u8]| !value.is_empty() && !value.contains(&b'%');
        let lengths =
            self.values("content-length").all(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit));
        let one_framing = !self.has("content-length") || !self.has("transfer-encoding");
        let fields = self.headers.iter().all(|(name, _)| !name.is_empty() && name.iter().all(|byte| is_token(*byte)));
        words != 3
            || !version
            || !method
            || !self.is_target()
            || !self.values("host").all(host)
            || !lengths
            || !one_framing
            || !fields
    }

    fn is_target(&self) -> bool {
        let target = self.target.as_slice();
        let clean = !target.iter().any(|byte| matches!(byte, b'#' | 0..=b' ' | 0x7f));
        let form = match (self.method.as_slice(), target.first()) {
            (b"CONNECT", Some(_)) => {
                target.iter().rposition(|byte| *byte == b':').is_some_and(|at| at + 1 < target.len())
            }
            (_, Some(b'/')) => true,
            (_, Some(_)) => target == b"*" || target.windows(3).any(|bytes| bytes == b"://"),
            (_, None) => false,
        };
        clean && form
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// A chunked body; what is no chunk ends it.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = rest.get(..end).unwrap_or_default();
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(chunk) = size.filter(|size| *size > 0).and_then(|size| rest.get(end + 2..)?.get(..size)) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + chunk.len() + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::Request;

    fn read(raw: &str) -> Request {
        Request::read(raw.as_bytes()).expect("an answer")
    }

    #[test]
    fn a_request_comes_apart() {
        let request = read("POST /a?b HTTP/1.1\r\nHost:  h \r\nX: 1\r\n 2\r\nContent-Length: 3\r\n\r\nabcdef");
        assert_eq!((&*request.target, &*request.body, request.refused), (&b"/a?b"[..], &b"abc"[..], None));
        let values: Vec<&[u8]> = request.headers.iter().map(|(_, value)| value.as_slice()).collect();
        assert_eq!(values, [&b"h"[..], b"1 2", b"3"]);
        let chunked = read("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!(&*chunked.body, b"abcde");
        assert!(read("POST / HTTP/1.1\r\nHost: h\r\n\r\nabc").body.is_empty());
    }

    #[test]
    fn what_rfc_9112_forbids_is_refused() {
        for raw in [
            "     GET /get HTTP/1.1\r\n\r\n",
            "GET \\ HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "CONNECT host HTTP/1.1\r\n\r\n",
            "GET / \r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 3;\r\n\r\n",
        ] {
            assert_eq!(read(raw).refused, Some(400), "{raw}");
        }
        assert_eq!(read("CONNECT h:80 HTTP/1.1\r\n\r\n").refused, Some(405));
        assert_eq!(read("OPTIONS * HTTP/1.1\r\n\r\n").refused, None);
        assert!(Request::read(b"GET").is_none());
    }
}
