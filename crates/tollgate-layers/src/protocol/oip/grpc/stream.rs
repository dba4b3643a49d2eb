//! `ModelStreamInferResponse` of a model server: which request it is for, whether it is the last one for that, and whether
//! it says that the request failed.
//!
//! Nothing is refused here: a message that cannot be read is one that failed, and an answer that cannot be read says nothing
//! of itself.

use crate::protocol::Wrong;
use crate::protocol::protobuf::{Field, Fields, Wire, Writer};

/// The parameter by which Triton says whether more answers to a request will come.
const LAST: &str = "triton_final_response";

/// What an answer says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Heard<'a> {
    /// It is no answer but an error, or nobody can read it.
    pub failed: bool,
    /// The `id` of the request that it is for; `None` where it says none.
    pub id: Option<&'a str>,
    /// Whether it is the last answer to that request, where the server says so.
    pub last: Option<bool>,
    /// The `ModelInferResponse` in it.
    pub answer: &'a [u8],
}

/// Reads what an answer says of itself.
#[must_use]
pub fn heard(message: &[u8]) -> Heard<'_> {
    read(message).unwrap_or(Heard { failed: true, ..Heard::default() })
}

impl Heard<'_> {
    /// Whether it brings no output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut fields = Fields::new(self.answer, 0);
        loop {
            match fields.next() {
                Ok(Some(field)) if matches!(field.number, 5 | 6) => return false,
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The answer without the server's own words. Beside an error stands who it is for.
    #[must_use]
    pub fn without_error(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(1, b"the model server refused this request or failed");
        out.bytes(2, self.answer);
        out.done()
    }
}

fn read(message: &[u8]) -> Result<Heard<'_>, Wrong> {
    let mut heard = Heard::default();
    let mut fields = Fields::new(message, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => heard.failed |= !field.bytes()?.is_empty(),
            2 => heard.answer = field.bytes()?,
            _ => {}
        }
    }
    // Whether it is as its contract says is judged elsewhere: here it is an answer to nobody in particular.
    (heard.id, heard.last) = whose(heard.answer).unwrap_or_default();
    Ok(heard)
}

/// `id` and the flag of a `ModelInferResponse`.
fn whose(answer: &[u8]) -> Result<(Option<&str>, Option<bool>), Wrong> {
    let (mut id, mut end) = (None, None);
    let mut fields = Fields::new(answer, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            3 => id = Some(field.text()?).filter(|id| !id.is_empty()),
            4 => end = last(&field)?.or(end),
            _ => {}
        }
    }
    Ok((id, end))
}

/// An entry of `map<string, InferParameter>`: whether it is the last answer, where it is about that.
fn last(entry: &Field<'_>) -> Result<Option<bool>, Wrong> {
    let (mut is_it, mut said) = (false, None);
    let mut fields = entry.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => is_it = field.bytes()? == LAST.as_bytes(),
            2 => {
                let mut fields = field.message()?;
                while let Some(field) = fields.next()? {
                    if let (1, Wire::Varint(value)) = (field.number, field.value) {
                        said = Some(value != 0);
                    }
                }
                // A boolean that is false may be left out altogether.
                said = said.or(Some(false));
            }
            _ => {}
        }
    }
    Ok(said.filter(|_| is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whom_it_is_for_and_whether_it_is_the_last() {
        let last = |value: u8| [&b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08"[..], &[value]].concat();
        let answer = |fields: &[u8]| {
            let length = u8::try_from(fields.len()).expect("short");
            [&[0x12, length], fields].concat()
        };
        assert_eq!(heard(&answer(b"\x0a\x01m")).id, None);
        let message = answer(&[&b"\x0a\x01m\x1a\x027b"[..], &last(1)].concat());
        let said = heard(&message);
        assert_eq!((said.failed, said.id, said.last), (false, Some("7b"), Some(true)));
        assert_eq!(heard(&answer(&[&b"\x1a\x00"[..], &last(0)].concat())).last, Some(false));
        assert_eq!(heard(&answer(b"\x22\x19\x0a\x15triton_final_response\x12\x00")).last, Some(false), "left out");
        assert_eq!(heard(&answer(b"\x22\x0a\x0a\x04last\x12\x02\x08\x01")).last, None, "another parameter");
        assert_eq!(heard(b"\x12\x7f"), Heard { failed: true, ..Heard::default() });
        for broken in [&b"\x12\x02\x1a\x7f"[..], b"\x12\x03\x1a\x01\xff", b"\x12\x02\x22\x7f", b"\x12\x02\x18\x01"] {
            let said = heard(broken);
            assert_eq!((said.failed, said.id, said.last, said.answer), (false, None, None, &broken[2..]), "{broken:?}");
        }
    }

    #[test]
    fn the_servers_own_words_are_replaced_and_who_they_are_for_stays() {
        assert!(!heard(b"\x12\x03\x0a\x01m").failed, "an answer");
        assert!(!heard(b"\x0a\x00\x12\x03\x0a\x01m").failed, "an empty error is none");
        for message in [&b"\x0a\x06SECRET\x12\x03\x0a\x01m"[..], b"\x12\x03\x0a\x01m\x0a\x06SECRET"] {
            let said = heard(message);
            let clean = said.without_error();
            assert!(said.failed && clean.starts_with(b"\x0a") && clean.ends_with(b"\x12\x03\x0a\x01m"), "{clean:?}");
            assert!(!clean.windows(6).any(|window| window == b"SECRET"));
        }
        let clean = heard(b"\x0a\x06SECRET\x12\x7f").without_error();
        assert!(!clean.windows(6).any(|window| window == b"SECRET"), "no message at all");
    }
}
