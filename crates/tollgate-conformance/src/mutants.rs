//! Requests made of the corpus's payloads: other encodings, other cases, other places. The same in every run.

use std::fmt::Write as _;

use crate::cases::Case;
use crate::front::Request;
use crate::wire;

/// A request that no corpus holds.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The test that its payload is of, what was done to it, and where it stands.
    pub name: String,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// `count` of them, from the payloads of `cases`.
#[must_use]
pub fn of(cases: &[Case], count: usize) -> Vec<Mutant> {
    let payloads = payloads(cases);
    let mut state = 0x51ed_270b_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or(0) % below.max(1)
    };
    let mutant = |number: usize| {
        // Coprime to most lengths: the payloads of all rules come up, not only those of the first.
        let (source, payload) = payloads.get(number * 7919 % payloads.len().max(1))?;
        let mut payload = payload.clone();
        let mut name = source.clone();
        for _ in 0..draw(3) {
            let (word, twist) = TWISTS.get(draw(TWISTS.len()))?;
            payload = twist(&payload);
            name.push('-');
            name.push_str(word);
        }
        let (word, place) = PLACES.get(draw(PLACES.len()))?;
        Some(Mutant { name: format!("{name}-in-{word}"), raw: place(&payload) })
    };
    (0..count).filter_map(mutant).collect()
}

type Twist = fn(&[u8]) -> Vec<u8>;

const TWISTS: [(&str, Twist); 18] = [
    ("upper", |text| text.to_ascii_uppercase()),
    ("mixed-case", |text| {
        let flip = |(place, byte): (usize, &u8)| if place % 2 == 0 { byte.to_ascii_uppercase() } else { *byte };
        text.iter().enumerate().map(flip).collect()
    }),
    ("percent", |text| percent(text, |_| true)),
    ("percent-u", |text| each(text, |byte| format!("%u00{byte:02x}"))),
    ("comments", |text| replaced(text, b" ", b"/**/")),
    ("tabs", |text| replaced(text, b" ", b"\t")),
    ("lines", |text| replaced(text, b" ", b"\n")),
    ("full-width", |text| replaced(text, b"<", "\u{ff1c}".as_bytes())),
    ("entities", |text| each_special(text, |byte| format!("&#{byte};"))),
    ("hex-entities", |text| each_special(text, |byte| format!("&#x{byte:x};"))),
    ("script-escapes", |text| each_special(text, |byte| format!("\\x{byte:02x}"))),
    ("unicode-escapes", |text| each_special(text, |byte| format!("\\u00{byte:02x}"))),
    ("nul", |text| with_inside(text, b"\0")),
    ("split", |text| with_inside(text, b"''")),
    ("caret", |text| with_inside(text, b"^")),
    ("prose", |text| [b"please tell me about ", text, b" and why it is so"].concat()),
    ("half", |text| text.get(..text.len() / 2 + 1).unwrap_or(text).to_vec()),
    ("twice", |text| [text, b" ", text].concat()),
];

const PLACES: [(&str, Twist); 17] = [
    ("query", |text| get(&[b"/items?id=7&q=", &*url(text)].concat(), &[])),
    ("query-raw", |text| {
        get(&[b"/items?q=", &*percent(text, |byte| !(b'!'..=b'~').contains(&byte) || byte == b'#')].concat(), &[])
    }),
    ("query-name", |text| get(&[b"/items?", &*url(text), b"=1"].concat(), &[])),
    ("path", |text| get(&[b"/files/", &*url(text), b"/x.html"].concat(), &[])),
    ("cookie", |text| get(b"/", &[(b"Cookie", &[b"a=1; theme=", &*line(text)].concat())])),
    ("forwarded", |text| get(b"/", &[(b"X-Forwarded-For", &line(text))])),
    ("referer", |text| get(b"/", &[(b"Referer", &line(text))])),
    ("header", |text| get(b"/", &[(b"X-Custom", &line(text))])),
    ("form", |text| post(b"application/x-www-form-urlencoded", &[b"a=1&text=", &*url(text)].concat())),
    ("form-two", |text| {
        post(b"application/x-www-form-urlencoded", &[b"a=", &*url(text), b"&b=", &*url(text)].concat())
    }),
    ("json", |text| post(b"application/json", format!(r#"{{"n":1,"text":{}}}"#, json(text)).as_bytes())),
    ("json-array", |text| post(b"application/json", format!(r#"{{"a":[[1,{}],true]}}"#, json(text)).as_bytes())),
    ("json-name", |text| post(b"application/json", format!(r#"{{{}:"v"}}"#, json(text)).as_bytes())),
    ("multipart", |text| multipart(b"form-data; name=\"note\"", text)),
    ("multipart-name", |text| multipart(&[b"form-data; name=\"", &*quotable(text), b"\""].concat(), b"v")),
    ("file-name", |text| {
        multipart(&[b"form-data; name=\"up\"; filename=\"", &*quotable(text), b"\""].concat(), b"hello")
    }),
    ("xml", |text| post(b"application/xml", format!("<r a=\"1\"><t>{}</t></r>", xml(text)).as_bytes())),
];

/// What the corpus sends as values of queries, forms and cookies.
fn payloads(cases: &[Case]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for case in cases {
        for stage in &case.stages {
            let Some(request) = Request::read(&wire::request(&stage.input, "0")) else { continue };
            let query = request.target.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
            let is_form = request.values("content-type").any(|value| value.ends_with(b"urlencoded"));
            let form: &[u8] = if is_form { &request.body } else { b"" };
            let cookies = request.values("cookie").flat_map(|value| value.split(|byte| *byte == b';'));
            let fields = query.split(|byte| *byte == b'&').chain(form.split(|byte| *byte == b'&')).chain(cookies);
            for field in fields {
                let value = field.splitn(2, |byte| *byte == b'=').last().unwrap_or_default();
                let value = decoded(value);
                if (3..600).contains(&value.len()) {
                    found.push((case.name.clone(), value));
                }
            }
        }
    }
    found
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    loop {
        match rest {
            [b'%', high, low, after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                bytes.push(digit(high).unwrap_or(0) << 4 | digit(low).unwrap_or(0));
                rest = after;
            }
            [b'+', after @ ..] => {
                bytes.push(b' ');
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
            [] => return bytes,
        }
    }
}

fn each(text: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    text.iter().flat_map(|byte| write(*byte).into_bytes()).collect()
}

fn each_special(text: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    each_bytes(text, |byte| match byte {
        b'<' | b'>' | b'(' | b')' | b'\'' | b'"' => write(byte).into_bytes(),
        _ => vec![byte],
    })
}

fn each_bytes(text: &[u8], write: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    text.iter().flat_map(|byte| write(*byte)).collect()
}

fn percent(text: &[u8], which: impl Fn(u8) -> bool) -> Vec<u8> {
    each_bytes(text, |byte| if which(byte) { format!("%{byte:02X}").into_bytes() } else { vec![byte] })
}

fn url(text: &[u8]) -> Vec<u8> {
    percent(text, |byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b'.' | b'~'))
}

/// What a header can carry.
fn line(text: &[u8]) -> Vec<u8> {
    each_bytes(text, |byte| vec![if matches!(byte, 0..=0x1f | 0x7f) { b' ' } else { byte }]).trim_ascii().to_vec()
}

/// What a quoted parameter can carry.
fn quotable(text: &[u8]) -> Vec<u8> {
    each_bytes(&line(text), |byte| if matches!(byte, b'"' | b'\\') { vec![b'_'] } else { vec![byte] })
}

fn json(text: &[u8]) -> String {
    let mut written = String::from("\"");
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => {
                written.push('\\');
                written.push(c);
            }
            '\0'..='\x1f' => {
                write!(written, "\\u{:04x}", u32::from(c)).expect("text grows");
            }
            _ => written.push(c),
        }
    }
    written.push('"');
    written
}

fn xml(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    each_bytes(text, |byte| if from == [byte] { to.to_vec() } else { vec![byte] })
}

fn with_inside(text: &[u8], inside: &[u8]) -> Vec<u8> {
    let (before, after) = text.split_at(text.len() / 2);
    [before, inside, after].concat()
}

fn get(target: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    request(b"GET", target, headers, b"")
}

fn post(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    request(b"POST", b"/post", &[(b"Content-Type", kind), (b"Content-Length", length.as_bytes())], body)
}

fn multipart(disposition: &[u8], content: &[u8]) -> Vec<u8> {
    let head = b"--XxYyZz\r\nContent-Disposition: ";
    let body = [head, disposition, b"\r\n\r\n", content, b"\r\n--XxYyZz--\r\n"].concat();
    post(b"multipart/form-data; boundary=XxYyZz", &body)
}

fn request(method: &[u8], target: &[u8], headers: &[(&[u8], &[u8])], body: &[u8]) -> Vec<u8> {
    let mut raw = [method, b" ", target, b" HTTP/1.1\r\n"].concat();
    let fixed: [(&[u8], &[u8]); 3] = [(b"Host", b"localhost"), (b"User-Agent", b"mutants"), (b"Accept", b"*/*")];
    for (name, value) in fixed.iter().chain(headers) {
        raw.extend_from_slice(&[*name, b": ", *value, b"\r\n"].concat());
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(body);
    raw
}

#[cfg(test)]
mod tests {
    use super::{PLACES, TWISTS, decoded, of, url};
    use crate::cases::{Case, Stage, yaml};
    use crate::front::Request;

    #[test]
    fn they_are_the_same_in_every_run_and_well_formed() {
        let stage: Stage = yaml("input: {uri: \"/get?a=%3Cscript%3E+alert(1)\", headers: {Host: h}}").expect("a stage");
        let case = Case { group: String::new(), name: "1-1".into(), rule: 1, test: 1, stages: vec![stage] };
        let (first, again) = (of(std::slice::from_ref(&case), 400), of(&[case], 400));
        assert_eq!(first.len(), 400);
        for (one, other) in first.iter().zip(&again) {
            assert_eq!((&one.name, &one.raw), (&other.name, &other.raw));
            let request = Request::read(&one.raw).expect("a request");
            assert_eq!(request.refused, None, "{}", one.name);
        }
        for (word, _) in PLACES {
            assert!(first.iter().any(|mutant| mutant.name.ends_with(&format!("-in-{word}"))), "{word}");
        }
        for (word, _) in TWISTS {
            assert!(first.iter().any(|mutant| mutant.name.contains(&format!("-{word}-"))), "{word}");
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(decoded(&url(b"<a b=\"\xff\">")), b"<a b=\"\xff\">");
        assert_eq!(decoded(b"a+b%4"), b"a b%4");
    }
}
