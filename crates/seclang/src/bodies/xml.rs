//! XML: the text under the root as one value, each attribute value as one.
//!
//! No document type, no entities but the five of the language, no external anything: a document that wants them is an
//! error, which is how entity expansion (CVE-2003-1564) and external entities are met. Names are not reported.

use std::borrow::Cow;

use memchr::{memchr3, memmem};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Bounds, Report, Sink, Stop, done};

/// Reads a document. Attribute values come in document order, the text at the end; after an error, the text so far.
pub fn xml(body: &[u8], bounds: &Bounds, sink: &mut dyn Sink) -> Report {
    let (text, broken) = text_of(body);
    let mut document = Document { depth: 0, bounds, attributes: 0, root: false, text: String::new(), sink };
    let mut end = document.read(&text);
    // The reader saw only what precedes the bad byte: why it ended there is the better message.
    if let (Err(Stop::Error(_)) | Ok(()), Some(message)) = (end, broken) {
        end = Err(Stop::Error(message));
    }
    if document.root && end != Err(Stop::Sink) {
        // The last call: that the sink wants no more changes nothing.
        let _ = document.sink.xml_text(document.text.as_bytes());
    }
    Report { error: end.err().and_then(Stop::error), ..Report::default() }
}

struct Document<'s> {
    depth: usize,
    bounds: &'s Bounds,
    attributes: usize,
    /// The root was seen.
    root: bool,
    text: String,
    sink: &'s mut dyn Sink,
}

impl Document<'_> {
    fn read(&mut self, text: &str) -> Result<(), Stop> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        let mut first = true;
        loop {
            match reader.read_event().map_err(|_| MALFORMED)? {
                Event::Start(start) => self.start(&start)?,
                Event::Empty(start) => {
                    self.start(&start)?;
                    self.depth -= 1;
                }
                Event::End(_) => self.depth = self.depth.saturating_sub(1),
                Event::Text(text) => {
                    if memmem::find(text.as_bytes(), b"]]>").is_some() {
                        return Err(MALFORMED);
                    }
                    self.push(&text.xml10_content())?;
                }
                Event::CData(text) => {
                    if self.depth == 0 {
                        return Err(OUTSIDE);
                    }
                    self.push(&text.xml10_content())?;
                }
                Event::GeneralRef(name) => {
                    let decoded = reference(&name).ok_or(ENTITY)?;
                    if self.depth == 0 {
                        return Err(OUTSIDE);
                    }
                    self.text.push(decoded);
                }
                Event::Decl(declaration) => {
                    if !first || declaration.version().is_err() {
                        return Err(MALFORMED);
                    }
                    if let Some(name) = declaration.encoding()
                        && !name.is_ok_and(|name| is_ascii_superset(&name))
                    {
                        return Err(Stop::Error("xml: an encoding that is not read here"));
                    }
                }
                Event::DocType(_) => return Err(Stop::Error("xml: a document type is not accepted")),
                Event::PI(instruction) if !is_name(instruction.target()) => return Err(NAME),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if self.root && self.depth == 0 => return Ok(()),
                Event::Eof => return Err(Stop::Error("xml: the document ends too early")),
            }
            first = false;
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Stop> {
        if self.depth == 0 && self.root {
            return Err(Stop::Error("xml: more than one root"));
        }
        if self.depth >= self.bounds.depth {
            return Err(Stop::Error("xml: nested too deep"));
        }
        if !is_name(start.name().0) {
            return Err(NAME);
        }
        self.root = true;
        self.depth += 1;
        // That names are unique is left to whoever uses them: here both values are judged.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| Stop::Error("xml: an attribute is malformed"))?;
            if !is_name(attribute.key.0) {
                return Err(NAME);
            }
            let value = attribute_value(&attribute.value)?;
            // A namespace declaration is no attribute to XPath.
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            self.attributes += 1;
            if self.attributes > self.bounds.arguments {
                return Err(Stop::Error("xml: too many attributes"));
            }
            done(self.sink.xml_attribute(value.as_bytes()))?;
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<(), Stop> {
        if self.depth > 0 {
            self.text.push_str(text);
        } else if !text.trim_matches(is_space).is_empty() {
            return Err(OUTSIDE);
        }
        Ok(())
    }
}

const ENTITY: Stop = Stop::Error("xml: an entity that is not one of the language");
const MALFORMED: Stop = Stop::Error("xml: not well formed");
const NAME: Stop = Stop::Error("xml: a name is malformed");
const OUTSIDE: Stop = Stop::Error("xml: text outside the root");

/// The part of a body that is text, and what is wrong with the rest.
fn text_of(body: &[u8]) -> (Cow<'_, str>, Option<&'static str>) {
    let is_control = |byte: &u8| *byte < 0x20 && !is_space(char::from(*byte));
    let (body, control) = match body.iter().position(is_control) {
        Some(at) => (body.get(..at).unwrap_or_default(), Some("xml: a control character")),
        None => (body, None),
    };
    match std::str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), control),
        Err(_) if is_latin(body) => (Cow::Owned(body.iter().copied().map(char::from).collect()), control),
        Err(error) => {
            let valid = body.get(..error.valid_up_to()).unwrap_or_default();
            (Cow::Borrowed(std::str::from_utf8(valid).unwrap_or_default()), Some("xml: not UTF-8"))
        }
    }
}

/// Whether the declaration at the front says ISO 8859-1 (or its superset).
fn is_latin(body: &[u8]) -> bool {
    let Some((declaration, _)) = body.split_at_checked(body.len().min(128)) else { return false };
    let declaration = String::from_utf8_lossy(declaration);
    let Ok(Event::Decl(declaration)) = Reader::from_str(&declaration).read_event() else { return false };
    matches!(declaration.encoding(), Some(Ok(name)) if LATIN.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

const LATIN: [&str; 3] = ["iso-8859-1", "latin1", "windows-1252"];

fn is_ascii_superset(name: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().chain(&LATIN).any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether text can be a name; letters outside of ASCII are not told apart.
fn is_name(text: &str) -> bool {
    let is_start = |letter: char| letter.is_ascii_alphabetic() || matches!(letter, '_' | ':') || !letter.is_ascii();
    text.starts_with(is_start)
        && text.chars().all(|letter| is_start(letter) || letter.is_ascii_digit() || matches!(letter, '-' | '.'))
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

/// Decodes references; a line end or a tab that stands there as it is becomes a space (XML 1.0, 3.3.3).
fn attribute_value(raw: &str) -> Result<Cow<'_, str>, Stop> {
    const OPEN: Stop = Stop::Error("xml: `<` in an attribute value");
    if memchr3(b'&', b'<', b'\n', raw.as_bytes()).is_none() && !raw.contains(['\t', '\r']) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '<', '\n', '\t', '\r']) {
        let (plain, tail) = rest.split_at_checked(at).ok_or(ENTITY)?;
        value.push_str(plain);
        if let Some(tail) = tail.strip_prefix('&') {
            let (name, tail) = tail.split_once(';').ok_or(ENTITY)?;
            value.push(reference(name).ok_or(ENTITY)?);
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\t', '\r'])) {
            value.push(' ');
            rest = tail;
        } else {
            return Err(OPEN);
        }
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

/// What stands between `&` and `;`.
fn reference(name: &str) -> Option<char> {
    let code = match name {
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "gt" => return Some('>'),
        "lt" => return Some('<'),
        "quot" => return Some('"'),
        _ => name.strip_prefix('#')?,
    };
    let (digits, radix) = code.strip_prefix('x').map_or((code, 10), |digits| (digits, 16));
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|digit: char| digit.is_ascii_hexdigit()) {
        return None;
    }
    let decoded = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    let allowed = decoded >= ' ' && !matches!(decoded, '\u{fffe}' | '\u{ffff}') || is_space(decoded);
    allowed.then_some(decoded)
}
