//! How the body of a request is read: its class, its caps, its coding. It plans and decodes; the gateway reads.

mod config;
mod decode;
mod rpc;
#[cfg(test)]
mod tests;
mod wait;

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::hygiene::Head;
use crate::protocol::frames::grpc::PREFIX;
use crate::protocol::oip::grpc::Rpc;
use crate::routes::{IntakeClass, Protocol, Route};
pub use config::IntakeConfig;
pub use decode::{BLOCK, DecodeError, Decoded, Limits, RATIO_FLOOR, decode};
pub use rpc::{ACCEPTED as ACCEPTED_OF_MESSAGES, is_called_grpc};

/// The codings that a body may have, for the `Accept-Encoding` of a 415 (RFC 9110, 15.5.16).
pub const ACCEPTED_CODINGS: &str = "gzip, deflate, br";

/// The compiled layer.
#[derive(Clone, Debug)]
pub struct Intake {
    max_ratio: u32,
}

/// How to read one body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Whether the body is read whole before any verdict on it, or streamed.
    pub class: IntakeClass,
    /// The most bytes as sent: reading stops at the first byte above.
    pub max_bytes: u64,
    /// The length that the head declared; `None` for a chunked body and for one that HTTP/2 ends.
    pub declared: Option<u64>,
    /// Whether the body is what it says, or a message of gRPC is in it.
    pub framing: Framing,
    /// What must be decoded: the body, or the message in it if that says so. A streamed body is never decoded: its plan says `Identity`, whatever its head says.
    pub coding: Coding,
    /// The most bytes after decoding.
    pub max_decoded: u64,
    /// The most bytes of output for one byte of input, counted while decoding.
    pub max_ratio: u32,
    /// How long the caller means to wait for the answer.
    pub timeout: Option<Duration>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Framing {
    /// What it says.
    #[default]
    Bare,
    /// Exactly one message of gRPC.
    Message,
}

/// How a body is coded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// The zlib format of RFC 1950, as RFC 9110 says: never the bare RFC 1951 that some clients send.
    Deflate,
    /// RFC 1952, one member.
    Gzip,
    /// None.
    #[default]
    Identity,
}

impl Intake {
    /// Plans the reading of a body before its first byte is asked for.
    ///
    /// # Errors
    /// `too_large` if the declared length is above the cap, `unsupported` for an unknown coding or more than one,
    /// `bad_request` for a length that is not one number.
    pub fn plan(&self, head: &Head, route: &Route) -> Ruling<Plan> {
        if route.protocol == Protocol::OipGrpc {
            return self.plan_messages(head, route);
        }
        let declared = declared_length(&head.headers, route.max_body_bytes)?;
        let coding = match route.intake {
            IntakeClass::Inspect => Coding::of(&head.headers)?,
            IntakeClass::Meter | IntakeClass::Opaque => Coding::Identity,
        };
        Ok(Plan {
            class: route.intake,
            max_bytes: route.max_body_bytes,
            declared,
            framing: Framing::Bare,
            coding,
            max_decoded: route.max_body_bytes,
            max_ratio: self.max_ratio,
            timeout: wait::timeout(&head.headers)?,
        })
    }

    /// The cap is that of a message: what stands before it does not count.
    fn plan_messages(&self, head: &Head, route: &Route) -> Ruling<Plan> {
        let coding = rpc::coding(head)?;
        let max_bytes = route.max_body_bytes.saturating_add(PREFIX as u64);
        // A stream is read message by message, by who judges each.
        let streams = Rpc::of(head.path()) == Some(Rpc::ModelStreamInfer);
        Ok(Plan {
            class: if streams { IntakeClass::Meter } else { route.intake },
            max_bytes,
            declared: declared_length(&head.headers, max_bytes)?,
            framing: Framing::Message,
            coding,
            max_decoded: route.max_body_bytes,
            max_ratio: self.max_ratio,
            timeout: rpc::timeout(&head.headers)?,
        })
    }
}

impl Plan {
    /// The limits for [`decode`].
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { max_decoded: self.max_decoded, max_ratio: self.max_ratio }
    }
}

impl Coding {
    /// The coding of a body with these header fields. A list of codings is refused, even one of a single coding with
    /// empty elements: servers behind us differ in what they make of it (some ignore it and parse the coded bytes).
    ///
    /// # Errors
    /// `unsupported`.
    pub fn of(headers: &HeaderMap) -> Ruling<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        if values.next().is_some() {
            return Err(Refusal::new(Code::Unsupported).because("`content-encoding` is given twice").into());
        }
        let word = value.as_bytes();
        Self::from_word(word).ok_or_else(|| {
            let why = format_args!("the content coding is not one of {ACCEPTED_CODINGS}");
            Refusal::new(Code::Unsupported).because(why).into()
        })
    }

    /// Words are compared without case; `x-gzip` is `gzip` (RFC 9110, 8.4.1.3).
    fn from_word(word: &[u8]) -> Option<Self> {
        const WORDS: [(&str, Coding); 5] = [
            ("br", Coding::Brotli),
            ("deflate", Coding::Deflate),
            ("gzip", Coding::Gzip),
            ("identity", Coding::Identity),
            ("x-gzip", Coding::Gzip),
        ];
        let found = WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, coding)| *coding)
    }

    /// The word of `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Deflate => "deflate",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }
}

/// The declared length, if there is one. Hygiene has refused ambiguous framing already; this is the second lock.
fn declared_length(headers: &HeaderMap, cap: u64) -> Ruling<Option<u64>> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.as_bytes();
    if values.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::new(Code::BadRequest).because("`content-length` is not one number").into());
    }
    // Digits that overflow 64 bits are a number all the same: one above every cap.
    let length = digits
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))));
    if length > cap {
        let why = format_args!("declared length {length} exceeds the cap of {cap} bytes");
        return Err(Refusal::new(Code::TooLarge).because(why).into());
    }
    Ok(Some(length))
}
