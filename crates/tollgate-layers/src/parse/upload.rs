//! Bodies that are files: one image or sound, or a form with files and fields of text.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use tollgate_core::call::{Call, Dialect, Part, Prompt, Role};
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::hygiene::Head;
use crate::protocol::{Wrong, media, multipart};

/// A form: its files as media, its fields as texts.
pub(super) fn form(head: &Head, body: &Bytes) -> Ruling<Call> {
    let boundary = multipart::boundary(content_type(head)?)
        .map_err(|wrong| Refusal::new(Code::Unsupported).because(wrong.refusal().evidence()))?;
    let mut call = Call { dialect: Dialect::Upload, body_bytes: body.len() as u64, ..Call::default() };
    for (index, part) in multipart::parts(body, boundary, multipart::Limits::default())?.into_iter().enumerate() {
        let content = body.get(part.at.clone()).unwrap_or_default();
        let under = |wrong: Wrong| wrong.under(index);
        let file = match part.filename {
            Some(filename) => {
                // A server that stores the file under its name would store it anywhere.
                if filename.contains('/') || filename == ".." {
                    return Err(under(Wrong::here("a name of a file without a path", "one with")).into());
                }
                call.media.push(media::of(content, part.content_type, part.at.clone()).map_err(under)?);
                Some(call.media.len() - 1)
            }
            None => {
                let text =
                    std::str::from_utf8(content).map_err(|_| under(Wrong::here("a text in UTF-8", "other bytes")))?;
                if text.contains('\0') {
                    return Err(under(Wrong::here("a text without NUL", "one")).into());
                }
                if part.name == "stream" {
                    call.knobs.stream = text.eq_ignore_ascii_case("true") || text == "1";
                }
                call.prompts.push(Prompt { role: Role::User, text: text.into(), at: part.at.clone() });
                None
            }
        };
        call.parts.push(Part { name: part.name.into(), file, at: part.at });
    }
    Ok(call)
}

/// A body that is one image or sound.
pub(super) fn medium(head: &Head, body: &Bytes) -> Ruling<Call> {
    let declared = content_type(head)?;
    let medium = media::of(body, Some(declared), 0..body.len())?;
    if medium.kind == media::UNKNOWN {
        return Err(Refusal::new(Code::Unsupported).because("no image and no sound of a known kind").into());
    }
    let body_bytes = body.len() as u64;
    Ok(Call { dialect: Dialect::Upload, media: vec![medium], body_bytes, ..Call::default() })
}

/// The text of a field of a form that was read.
pub(super) fn field<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let part = call.parts.iter().find(|part| &*part.name == name && part.file.is_none())?;
    call.prompts.iter().find(|prompt| prompt.at == part.at).map(|prompt| &*prompt.text)
}

/// The one content type of a body.
fn content_type(head: &Head) -> Ruling<&str> {
    let mut values = head.headers.get_all(CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            value.to_str().map_err(|_| Refusal::new(Code::Unsupported).because("a content type that is no text").into())
        }
        (None, _) => Err(Refusal::new(Code::Unsupported).because("no content type").into()),
        (Some(_), Some(_)) => Err(Refusal::new(Code::BadRequest).because("two content types").into()),
    }
}

#[cfg(test)]
mod tests;
