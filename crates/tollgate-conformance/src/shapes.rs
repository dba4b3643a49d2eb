//! Requests that grow: one shape, any size. For tests that no input makes time grow faster than its length.

use std::fmt::Write as _;

use crate::front::Request;

/// A request of about `size` bytes.
pub type Shape = fn(usize) -> Request;

/// Every shape, each with its name.
pub const SHAPES: [(&str, Shape); 50] = [
    ("value of one letter", |size| form(&"a".repeat(size))),
    ("value of brackets", |size| form(&"(".repeat(size))),
    ("value of closed brackets", |size| form(&"()".repeat(size / 2))),
    ("value of comment openings", |size| form(&"/*".repeat(size / 2))),
    ("value of comments in comments", |size| form(&"/*/".repeat(size / 3))),
    ("value of quotes", |size| form(&"'".repeat(size))),
    ("value of both quotes", |size| form(&"'\"".repeat(size / 2))),
    ("value of escapes of escapes", |size| form(&"%2525".repeat(size / 5))),
    ("value of openings of tags", |size| form(&"<".repeat(size))),
    ("value of tags", |size| form(&"<a b=c>".repeat(size / 7))),
    ("value of openings of entities", |size| form(&"%26%23".repeat(size / 6))),
    ("value of backslashes", |size| form(&"\\".repeat(size))),
    ("value of escapes of scripts", |size| form(&"\\u0041".repeat(size / 6))),
    ("value of parent folders", |size| form(&"../".repeat(size / 3))),
    ("value of dollars", |size| form(&"${".repeat(size / 2))),
    ("value of blanks", |size| form(&"%20".repeat(size / 3))),
    ("value of lines", |size| form(&"x%0A".repeat(size / 4))),
    ("value of signs", |size| form(&"=-=".repeat(size / 3))),
    ("value of words of SQL", |size| form(&"select union or 1=1 ".repeat(size / 20))),
    ("value of words of a shell", |size| form(&"c''at /e?c/ ;|$( ".repeat(size / 17))),
    ("value of words of a script", |size| form(&"onload=alert`1` javascript: ".repeat(size / 28))),
    ("value of base64", |size| form(&"QUJDREVGR0g".repeat(size / 11))),
    ("value of bare percent signs", |size| form(&"%".repeat(size))),
    ("value of half escapes", |size| form(&"%u00%4".repeat(size / 6))),
    ("value of handlers that get no value", |size| form(&" onabcdefghijklmnopqrstuvwxyz ;".repeat(size / 31))),
    ("value of handlers without an end", |size| form(&format!(" on{}", "a".repeat(45)).repeat(size / 48))),
    ("value of equations", |size| form(&"1=1 on=on a==b ".repeat(size / 15))),
    ("value of numbers of SQL", |size| form(&"0x41 1e1 1.e 'a'||'b' -- ".repeat(size / 25))),
    ("value of calls of functions", |size| form(&"concat(char(0x41),sleep(5)) ".repeat(size / 28))),
    ("value of names of Java", |size| form(&"java.lang.Runtime ${jndi:ldap://a} ".repeat(size / 35))),
    ("value of variables of PHP", |size| form(&"<?php $a['b']->c(); ?>".repeat(size / 22))),
    ("value of templates", |size| form(&"{{a.b}} <%=c%> #{d} ".repeat(size / 20))),
    ("value of filters of LDAP", |size| form(&")(|(a=*)(b>=c)".repeat(size / 14))),
    ("value of header lines", |size| form(&"\r\nSet-Cookie: a=b\r\n".repeat(size / 21))),
    ("value of addresses", |size| form(&"http://a.b/c?d=e&f ".replace('&', "%26").repeat(size / 21))),
    ("value of Unicode", |size| form(&"\u{ff1c}\u{ff53}\u{e9}\u{1f600}".repeat(size / 12))),
    ("value of all signs", |size| form(&signs(size))),
    ("value of words and signs", |size| form(&words(size))),
    ("many arguments", |size| {
        post(FORM, (0..size / 6).fold(String::new(), |text, i| with(text, format_args!("a{i}=x&"))))
    }),
    ("many arguments of one name", |size| post(FORM, "a=x&".repeat(size / 4))),
    ("many separators", |size| post(FORM, "&=".repeat(size / 2))),
    ("deep JSON", |size| post(JSON, format!("{}{}", "[".repeat(size / 2), "]".repeat(size / 2)))),
    ("deep JSON objects", |size| post(JSON, format!("{}1", "{\"a\":".repeat(size / 5)))),
    ("JSON of many texts", |size| post(JSON, format!("[{}\"\"]", "\"text\",".repeat(size / 7)))),
    ("JSON of many numbers", |size| post(JSON, format!("{{\"x\":[{}0]}}", "0.25,".repeat(size / 5)))),
    ("JSON of escapes", |size| post(JSON, format!("\"{}\"", "\\u003c".repeat(size / 6)))),
    ("many cookies", |size| {
        get(&[("Cookie", (0..size / 8).fold(String::new(), |text, i| with(text, format_args!("c{i}=x; "))))])
    }),
    ("many headers", |size| get(&vec![("X-One", "some text".to_owned()); size / 16])),
    ("many parts", |size| {
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        post("multipart/form-data; boundary=b", format!("{}--b--\r\n", part.repeat(size / part.len())))
    }),
    ("XML of many elements", |size| post("text/xml", format!("<r>{}</r>", "<a b=\"c\">d</a>".repeat(size / 14)))),
];

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Pieces that many rules begin with, in an order that does not repeat.
const PIECES: [&str; 24] = [
    "select", "union", "or", "'", "\"", "`", "--", "/*", "*/", "<", ">", " on", "=", "(", ")", ";", "|", "$", "{", "}",
    "\\", "../", "%25", "script",
];

/// Printable signs in an order that does not repeat.
fn signs(size: usize) -> String {
    let draw = |at: usize| char::from(b'!' + u8::try_from(mixed(at) % 94).unwrap_or(0));
    (0..size).map(draw).map(|sign| if matches!(sign, '%' | '&') { '~' } else { sign }).collect()
}

fn words(size: usize) -> String {
    let mut text = String::with_capacity(size + 8);
    for at in 0.. {
        text.push_str(PIECES.get(mixed(at) % PIECES.len()).unwrap_or(&" "));
        if mixed(at) & 1024 == 0 {
            text.push(' ');
        }
        if text.len() >= size {
            break;
        }
    }
    text
}

/// A number that looks like chance and is the same every time.
fn mixed(at: usize) -> usize {
    let spread = (at as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((spread ^ (spread >> 29)) >> 33).unwrap_or(0)
}

fn form(value: &str) -> Request {
    post(FORM, format!("a={value}"))
}

fn with(mut text: String, more: std::fmt::Arguments<'_>) -> String {
    text.write_fmt(more).expect("text grows");
    text
}

fn post(kind: &str, body: String) -> Request {
    let mut request = get(&[("Content-Type", kind.to_owned()), ("Content-Length", body.len().to_string())]);
    request.line = b"POST / HTTP/1.1".to_vec();
    request.method = b"POST".to_vec();
    request.body = body.into();
    request
}

fn get(headers: &[(&str, String)]) -> Request {
    let fixed = [("Host", "localhost"), ("User-Agent", "shapes"), ("Accept", "*/*")];
    let fixed = fixed.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let more = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone().into_bytes()));
    Request {
        line: b"GET / HTTP/1.1".to_vec(),
        method: b"GET".to_vec(),
        target: b"/".to_vec(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: fixed.chain(more).collect(),
        ..Request::default()
    }
}

/// CPU time of this thread so far, in nanoseconds; `None` where the kernel does not tell.
#[must_use]
pub fn thread_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::SHAPES;

    #[test]
    fn every_shape_has_about_the_size_that_was_asked_for() {
        for (name, shape) in SHAPES {
            let request = shape(10_000);
            let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
            let size = request.body.len() + headers;
            assert!((8_000..14_000).contains(&size), "{name}: {size}");
        }
    }
}
