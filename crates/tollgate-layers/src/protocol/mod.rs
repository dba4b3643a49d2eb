//! Codecs: pure functions between bytes and `tollgate_core::call`, one folder or file per dialect, request and reply
//! side together. Not a layer: `parse` and the reply path call them.
#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing, clippy::string_slice)
)]

mod anthropic;
pub mod frames;
pub mod json;
pub mod kserve_v1;
pub mod media;
pub mod metadata;
pub mod multipart;
pub mod name;
pub mod oip;
mod ollama;
pub mod openai;
pub mod plain;
pub mod protobuf;
pub mod tensor;
pub mod tokens;
mod write;
mod wrong;

pub use wrong::{Wrong, escaped, refuse};

use crate::routes::Protocol;

/// What is told of one model, where the words of `protocol` have such.
#[must_use]
pub fn model_card(protocol: Protocol, name: &str) -> Option<String> {
    (protocol == Protocol::OpenAi).then(|| {
        let mut out = String::new();
        openai_card(&mut out, name);
        out
    })
}

fn openai_card(out: &mut String, name: &str) {
    out.push_str(r#"{"id":"#);
    write::string(out, name);
    out.push_str(r#","object":"model","created":0,"owned_by":"tollgate"}"#);
}

/// A list of models in the words of `protocol`.
pub fn model_list<'a>(protocol: Protocol, names: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    match protocol {
        Protocol::Ollama => {
            out.push_str(r#"{"models":"#);
            write::list(&mut out, names, |out, name| {
                out.push_str(r#"{"name":"#);
                write::string(out, name);
                out.push_str(r#","model":"#);
                write::string(out, name);
                out.push('}');
            });
        }
        Protocol::OpenAi => {
            out.push_str(r#"{"object":"list","data":"#);
            write::list(&mut out, names, openai_card);
        }
        _ => {
            out.push_str(r#"{"models":"#);
            write::list(&mut out, names, write::string);
        }
    }
    out.push('}');
    out
}
