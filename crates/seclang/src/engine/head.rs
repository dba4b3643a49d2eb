//! Puts the heads of a request and of its reply on the shelves.

use std::ops::ControlFlow;

use crate::bodies::{self, Bounds, Kind, Part, Piece, Sink};
use crate::engine::inputs::{Inputs, Span};
use crate::engine::{Facts, HeadView, ReplyView, clock};
use crate::ir::RuleSet;
use crate::ir::shelf::Shelf;
use crate::parse::ast::Variable;

/// Everything that phase 1 looks at.
pub(crate) fn request(inputs: &mut Inputs, rules: &RuleSet, facts: &Facts, head: &HeadView<'_>) {
    connection(inputs, rules, facts);
    inputs.set(Variable::RequestLine, head.line);
    inputs.set(Variable::RequestMethod, head.method);
    inputs.set(Variable::RequestProtocol, head.protocol);
    target(inputs, head.target);
    for (name, value) in head.headers {
        header(inputs, (Variable::RequestHeaders, Variable::RequestHeadersNames), name, value);
        if name.eq_ignore_ascii_case(b"cookie") {
            cookies(inputs, value);
        } else if name.eq_ignore_ascii_case(b"host") && inputs.first(Variable::ServerName, None).is_none() {
            let host = value.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
            let end =
                if host.starts_with(b"[") { host.iter().position(|byte| *byte == b']').map(|at| at + 1) } else { None };
            let end = end.or_else(|| host.iter().position(|byte| *byte == b':')).unwrap_or(host.len());
            inputs.set(Variable::ServerName, host.get(..end).unwrap_or(host));
        } else if name.eq_ignore_ascii_case(b"authorization") {
            let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            inputs.set(Variable::AuthType, scheme);
        }
    }
    query(inputs, rules, head.target);
    inputs.set_number(Variable::ArgsCombinedSize, length(inputs.argument_bytes));
}

/// Everything that phase 3 looks at, the body apart.
pub(crate) fn reply(inputs: &mut Inputs, reply: &ReplyView<'_>) {
    inputs.set_number(Variable::ResponseStatus, u64::from(reply.status));
    inputs.set(Variable::ResponseProtocol, reply.protocol);
    let line = inputs.write_with(|out| {
        out.extend_from_slice(reply.protocol);
        out.push(b' ');
        super::inputs::write_number(u64::from(reply.status), out);
    });
    inputs.set_span(Variable::StatusLine, line);
    for (name, value) in reply.headers {
        header(inputs, (Variable::ResponseHeaders, Variable::ResponseHeadersNames), name, value);
        if name.eq_ignore_ascii_case(b"content-type") {
            inputs.set(Variable::ResponseContentType, value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            inputs.set(Variable::ResponseContentLength, value);
        }
    }
}

/// A length as a number.
pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn connection(inputs: &mut Inputs, rules: &RuleSet, facts: &Facts) {
    let remote = inputs.write(facts.remote.0.to_canonical().to_string().as_bytes());
    inputs.set_span(Variable::RemoteAddr, remote);
    inputs.set_number(Variable::RemotePort, u64::from(facts.remote.1));
    inputs.set(Variable::UniqueId, facts.unique_id.as_bytes());
    if rules.uses(Variable::RemoteHost) {
        inputs.set_span(Variable::RemoteHost, remote);
    }
    if rules.uses(Variable::ServerAddr) {
        inputs.set(Variable::ServerAddr, facts.server.0.to_canonical().to_string().as_bytes());
    }
    inputs.set_number(Variable::ServerPort, u64::from(facts.server.1));
    inputs.set(Variable::Webappid, rules.settings.web_app_id.as_bytes());
    for (variable, number) in clock::fields(facts.unix_ms) {
        if rules.uses(variable) {
            inputs.set_number(variable, number);
        }
    }
    if rules.uses(Variable::Time) {
        inputs.set(Variable::Time, clock::time(facts.unix_ms).as_bytes());
    }
}

fn header(inputs: &mut Inputs, (values, names): (Variable, Variable), name: &[u8], value: &[u8]) {
    let name = inputs.write(name);
    let value = inputs.write(value);
    inputs.put(Shelf::of(values), name, value);
    inputs.put(Shelf::of(names), name, name);
}

fn cookies(inputs: &mut Inputs, line: &[u8]) {
    bodies::cookies(line, &mut |name, value| {
        let name = inputs.write(line.get(name).unwrap_or_default());
        let value = inputs.write(line.get(value).unwrap_or_default());
        inputs.put(Shelf::of(Variable::RequestCookies), name, value);
        inputs.put(Shelf::of(Variable::RequestCookiesNames), name, name);
    });
}

/// REQUEST_URI and its parts. Only the raw one keeps a fragment, a scheme and an authority.
fn target(inputs: &mut Inputs, raw: &[u8]) {
    inputs.set(Variable::RequestUriRaw, raw);
    let uri = path_and_query(raw);
    inputs.set(Variable::RequestUri, uri);
    let path = uri.split(|byte| *byte == b'?').next().unwrap_or_default();
    let name = inputs.write_with(|out| percent_decode(path, out));
    inputs.set_span(Variable::RequestFilename, name);
    let decoded = inputs.bytes(name);
    let start = decoded.iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at + 1);
    let base = decoded.get(start..).unwrap_or_default().to_vec();
    inputs.set(Variable::RequestBasename, &base);
    if let Some(query) = query_of(uri) {
        inputs.set(Variable::QueryString, query);
    }
}

fn path_and_query(raw: &[u8]) -> &[u8] {
    let uri = raw.split(|byte| *byte == b'#').next().unwrap_or_default();
    if uri.starts_with(b"/") {
        return uri;
    }
    let Some(scheme) = uri.windows(3).position(|window| window == b"://") else { return uri };
    let is_scheme = uri.get(..scheme).is_some_and(|name| name.iter().all(u8::is_ascii_alphanumeric));
    let rest = uri.get(scheme + 3..).unwrap_or_default();
    match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(at) if is_scheme => rest.get(at..).unwrap_or_default(),
        None if is_scheme => b"/",
        _ => uri,
    }
}

fn query_of(uri: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'?', uri)?;
    uri.get(at + 1..)
}

/// `%XX` to bytes; what is no escape stays.
fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(nibble(*high) << 4 | nibble(*low));
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn query(inputs: &mut Inputs, rules: &RuleSet, raw: &[u8]) {
    let Some(query) = query_of(path_and_query(raw)) else { return };
    let bounds = Bounds { arguments: rules.most_arguments(), ..Bounds::default() };
    let mut sink = Query { inputs, query };
    let report = bodies::urlencoded(query, rules.settings.separator, &bounds, &mut sink);
    if report.bad_escape {
        inputs.set(Variable::UrlencodedError, b"1");
    }
    if let Some(error) = report.error {
        inputs.set(Variable::ReqbodyError, b"1");
        inputs.set(Variable::ReqbodyErrorMsg, error.as_bytes());
    }
}

struct Query<'a> {
    inputs: &'a mut Inputs,
    query: &'a [u8],
}

impl Sink for Query<'_> {
    fn argument(&mut self, name: &[u8], value: Piece<'_>, _: Kind) -> ControlFlow<()> {
        let value = match value {
            Piece::Decoded(text) => text,
            Piece::Span(at) => self.query.get(at).unwrap_or_default(),
        };
        self.inputs.argument_bytes += name.len() + value.len();
        let name: Span = self.inputs.write(name);
        let value = self.inputs.write(value);
        self.inputs.put(Shelf::of(Variable::ArgsGet), name, value);
        self.inputs.put(Shelf::of(Variable::ArgsGetNames), name, name);
        ControlFlow::Continue(())
    }

    fn numbers(&mut self, _: &[u8], _: std::ops::Range<usize>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn part(&mut self, _: Part<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn xml_text(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn xml_attribute(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
