//! The bytes of a test's request, as go-ftw and `ftw.py` send them.

use crate::base64;
use crate::cases::Input;
use crate::form;

/// The header that carries a test's id to the log.
pub const ID: &str = "X-CRS-Test-ID";

/// The request of an input, with its id.
#[must_use]
pub fn request(input: &Input, id: &str) -> Vec<u8> {
    if let Some(encoded) = input.encoded_request.as_deref().filter(|text| !text.is_empty()) {
        return with_id(&base64::decode(&encoded.replace("\\n", "")), id);
    }
    let mut headers: Vec<(&str, String)> = match &input.ordered_headers {
        Some(ordered) if !ordered.is_empty() => {
            ordered.iter().map(|field| (&*field.name, field.value.clone())).collect()
        }
        _ => input
            .headers
            .iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.clone().unwrap_or_default()))
            .collect(),
    };
    let method = input.method.as_deref().unwrap_or("GET");
    let data = body(input, &mut headers);
    if completes(input) {
        if values(&headers, "connection").next().is_none() {
            headers.push(("Connection", "close".to_owned()));
        }
        // The pattern of go-ftw is anchored at one end of each of its ends only.
        let has_body = method.starts_with("POST") || ["PUT", "PATCH"].iter().any(|word| method.contains(word));
        if values(&headers, "content-length").next().is_none()
            && (!data.is_empty() || has_body || method.ends_with("DELETE"))
        {
            headers.push(("Content-Length", data.len().to_string()));
        }
    }
    headers.push((ID, id.to_owned()));
    let uri = input.uri.as_deref().unwrap_or("/");
    let mut raw = format!("{method} {uri} {}\r\n", input.version.as_deref().unwrap_or("HTTP/1.1")).into_bytes();
    for (name, value) in headers {
        raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(&data);
    raw
}

fn body(input: &Input, headers: &mut Vec<(&str, String)>) -> Vec<u8> {
    let mut data = match (input.data.as_deref(), input.encoded_data.as_deref()) {
        (Some(data), _) if !data.is_empty() => form::template(data).into_bytes(),
        (_, Some(encoded)) => base64::decode(encoded),
        _ => Vec::new(),
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    if !data.is_empty() && completes(input) {
        if values(headers, "content-type").next().is_none() {
            headers.push(("Content-Type", FORM.to_owned()));
        }
        if values(headers, "content-type").any(|value| value.eq_ignore_ascii_case(FORM)) {
            data = form::encoded(data);
        }
    }
    if values(headers, "content-type").any(|value| value.to_lowercase().contains("multipart/form-data;")) {
        data = with_line_ends(&data);
    }
    data
}

fn values<'a>(headers: &'a [(&str, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn completes(input: &Input) -> bool {
    match input.autocomplete_headers.as_deref() {
        Some(word) => word != "false",
        None => input.stop_magic.as_deref() != Some("true"),
    }
}

fn with_line_ends(data: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    parts.join(b"\r\n".as_slice())
}

/// With the id behind the first line.
fn with_id(raw: &[u8], id: &str) -> Vec<u8> {
    let Some(end) = raw.windows(2).position(|pair| pair == b"\r\n") else { return raw.to_owned() };
    let (line, rest) = raw.split_at(end + 2);
    [line, format!("{ID}: {id}\r\n").as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::request;
    use crate::cases::{Input, yaml};

    fn sent(text: &str) -> String {
        let input: Input = yaml(text).expect("an input");
        String::from_utf8(request(&input, "7")).expect("text")
    }

    #[test]
    fn headers_come_in_the_order_of_their_names_and_are_completed() {
        let raw = sent("{method: POST, uri: /p, headers: {User-Agent: x, Host: h}, data: a=<b>}");
        let expected = "POST /p HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                        Connection: close\r\nContent-Length: 9\r\nX-CRS-Test-ID: 7\r\n\r\na=%3Cb%3E";
        assert_eq!(raw, expected);
    }

    #[test]
    fn what_is_not_to_be_completed_is_not() {
        let raw = sent("{autocomplete_headers: false, method: POST, headers: {Host: h}, data: a=<b>}");
        assert_eq!(raw, "POST / HTTP/1.1\r\nHost: h\r\nX-CRS-Test-ID: 7\r\n\r\na=<b>");
    }

    #[test]
    fn a_whole_request_gets_its_id_behind_the_first_line() {
        assert_eq!(sent("{encoded_request: R0VUIC8gSFRUUC8xLjENCg0K}"), "GET / HTTP/1.1\r\nX-CRS-Test-ID: 7\r\n\r\n");
    }
}
