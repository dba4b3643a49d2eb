//! What is read off a generating answer while it passes: usage, the text that was written, and the frame that only we
//! asked for. A frame goes on as soon as it is complete; an answer in one piece is not touched.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tollgate_core::call::{Call, Dialect};
use tollgate_layers::protocol::frames::meter::Meter;
use tollgate_layers::protocol::frames::{Frames, Ndjson, Sse, TooLong};

use crate::tab::Told;

/// An answer of one piece is kept up to here for its usage, which stands at its end.
const MAX_BODY: usize = 1 << 20;

/// What is read off one answer.
pub struct Flow {
    meter: Meter,
    form: Form,
    /// Not all of it was read: what was written is not known.
    blind: bool,
    /// More tokens than this were not written, whatever the server says.
    most: u64,
}

/// More tokens than this are read or written by no call.
const MOST_TOKENS: u64 = 1 << 21;

/// Whether answers to a call say how much they wrote.
#[must_use]
pub const fn generates(call: &Call) -> bool {
    matches!(call.dialect, Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAi)
}

enum Form {
    /// Frames of events or lines.
    Frames(Box<dyn Frames>),
    /// One JSON document.
    Whole(BytesMut),
}

impl Flow {
    /// For an answer to `call` with these header fields, where its dialect says what it cost.
    #[must_use]
    pub fn of(call: &Call, headers: &HeaderMap) -> Option<Self> {
        if !generates(call) || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let form = match kind.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Form::Frames(Box::new(Sse::default())),
            "application/x-ndjson" | "application/jsonl" => Form::Frames(Box::new(Ndjson::default())),
            _ => Form::Whole(BytesMut::new()),
        };
        let most = call.knobs.output_tokens.map_or(MOST_TOKENS, |most| most.saturating_mul(call.knobs.choices.max(1)));
        Some(Self { meter: Meter::new(call.dialect, !call.knobs.usage), form, blind: false, most })
    }

    /// Whether the answer comes in frames, of which some may be taken out.
    #[must_use]
    pub const fn is_framed(&self) -> bool {
        matches!(self.form, Form::Frames(_))
    }

    /// Whether the server has said that the answer is complete, though its body has not ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_framed() && self.meter.is_done()
    }

    /// Takes a piece of the answer and gives what may go on: nothing while a frame is not complete.
    ///
    /// # Errors
    /// A frame without end.
    pub fn pass(&mut self, data: Bytes) -> Result<Bytes, TooLong> {
        let Self { meter, form, blind, .. } = self;
        match form {
            Form::Frames(frames) => {
                let mut out = BytesMut::with_capacity(data.len());
                frames.push(&data, &mut out, &mut |payload| meter.frame(payload))?;
                Ok(out.freeze())
            }
            Form::Whole(body) => {
                if *blind || body.len() + data.len() > MAX_BODY {
                    *blind = true;
                    *body = BytesMut::new();
                } else {
                    body.extend_from_slice(&data);
                }
                Ok(data)
            }
        }
    }

    /// The answer is cut: whole frames of it that have not left.
    pub fn let_go(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        if let Form::Frames(frames) = &mut self.form {
            frames.let_go(&mut out);
        }
        out.freeze()
    }

    /// The answer has ended: what is left of it.
    pub fn end(&mut self) -> Bytes {
        let Self { meter, form, blind, .. } = self;
        match form {
            Form::Frames(frames) => {
                let mut out = BytesMut::new();
                frames.end(&mut out, &mut |payload| meter.frame(payload));
                out.freeze()
            }
            Form::Whole(body) => {
                if !*blind {
                    meter.body(&std::mem::take(body));
                }
                Bytes::new()
            }
        }
    }

    /// What the answer says of its cost.
    #[must_use]
    pub fn told(&self) -> Told {
        let Self { meter, .. } = self;
        let (read, written) = self.tokens();
        Told { read, cached: meter.cached_tokens(), written, compute_us: meter.compute_us() }
    }

    /// Whether it was too large to be read: what was reserved for it stays, and nothing is learned.
    #[must_use]
    pub const fn is_blind(&self) -> bool {
        self.blind
    }

    /// Tokens read, where the server said so, and written. A server that says more than can be is not believed: one number
    /// must not use up a month.
    #[must_use]
    pub fn tokens(&self) -> (Option<u64>, u64) {
        let read = self.meter.input_tokens().map(|read| read.min(MOST_TOKENS));
        (read, self.meter.output_tokens().min(self.most))
    }
}
