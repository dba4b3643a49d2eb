//! The conveniences of go-ftw's `data`: `repeat` templates, and forms that are written plain and sent encoded.

/// With `{{ "text" | repeat N }}` written out.
#[must_use]
pub fn template(text: &str) -> String {
    let (mut written, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("{{") {
        written.push_str(before);
        if let Some((repeated, behind)) = repeat(after) {
            written.push_str(&repeated);
            rest = behind;
        } else {
            written.push_str("{{");
            rest = after;
        }
    }
    written.push_str(rest);
    written
}

/// What a template gives, and what follows it.
fn repeat(text: &str) -> Option<(String, &str)> {
    let (inside, behind) = text.split_once("}}")?;
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let inside = inside.strip_suffix('-').unwrap_or(inside);
    let (quoted, call) = inside.trim().strip_prefix('"')?.rsplit_once('"')?;
    let count = call.trim().strip_prefix('|')?.trim().strip_prefix("repeat")?.trim().parse().ok()?;
    Some((quoted.repeat(count), behind))
}

/// A form as a browser sends it; one that is encoded already, or cannot be, stays.
#[must_use]
pub fn encoded(data: Vec<u8>) -> Vec<u8> {
    if !is_plain(&data) {
        return data;
    }
    let end = data.iter().rposition(|byte| *byte != b'&').map_or(0, |last| last + 1);
    let mut written = Vec::with_capacity(data.len());
    if data.iter().all(|byte| *byte == b'&') {
        return written;
    }
    for (place, field) in data.get(..end).unwrap_or_default().split(|byte| *byte == b'&').enumerate() {
        if place > 0 {
            written.push(b'&');
        }
        for (place, part) in field.splitn(2, |byte| *byte == b'=').enumerate() {
            if place > 0 {
                written.push(b'=');
            }
            part.iter().for_each(|byte| quote(*byte, &mut written));
        }
    }
    written
}

/// Whether decoding succeeds and changes nothing.
fn is_plain(data: &[u8]) -> bool {
    !data.iter().any(|byte| matches!(byte, b'%' | b'+'))
}

fn quote(byte: u8, written: &mut Vec<u8>) {
    match byte {
        b' ' => written.push(b'+'),
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' | b'-' | b'~' => written.push(byte),
        _ => written.extend_from_slice(format!("%{byte:02X}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{encoded, template};

    #[test]
    fn repetitions_are_written_out_and_other_braces_stay() {
        assert_eq!(template(r#"a={{ "xy" | repeat 3 }}&b"#), "a=xyxyxy&b");
        assert_eq!(template(r#"{{- "x" | repeat 2 -}}"#), "xx");
        assert_eq!(template("user={{constructor('alert(1)')()}}"), "user={{constructor('alert(1)')()}}");
    }

    #[test]
    fn a_plain_form_is_encoded_and_an_encoded_one_is_not_again() {
        assert_eq!(encoded(b"a=b c&d=<e>=f&&".to_vec()), b"a=b+c&d=%3Ce%3E%3Df");
        assert_eq!(encoded(b"a=b+c&d=<".to_vec()), b"a=b+c&d=<");
        assert_eq!(encoded(b"a=%3C<".to_vec()), b"a=%3C<");
        assert_eq!(encoded(b"a=100%".to_vec()), b"a=100%");
        assert_eq!(encoded(b"&&".to_vec()), b"");
    }
}
