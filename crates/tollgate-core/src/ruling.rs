//! What a layer answers: a value, a refusal with evidence, or a fault. And what of it the client may know.

use std::fmt;
use std::time::Duration;

/// What a layer returns.
pub type Ruling<T> = Result<T, Stop>;

/// Why an exchange goes no further.
#[derive(Debug)]
pub enum Stop {
    /// Something broke: ours, a store's, the upstream's or the client's connection.
    Fault(Box<Fault>),
    /// We say no.
    Refuse(Box<Refusal>),
}

/// A deliberate no, with the evidence that stays inside.
#[derive(Debug)]
pub struct Refusal {
    /// The public reason.
    pub code: Code,
    /// When to come back, if that can help.
    pub retry_after: Option<Duration>,
    /// Where in the body the first mistake stands.
    pub spot: Option<Box<Spot>>,
    /// Which budget said no.
    pub short: Option<Box<Short>>,
    evidence: Evidence,
}

/// Something broke.
#[derive(Debug)]
pub struct Fault {
    /// Whose fault it is.
    pub origin: Origin,
    /// Whether the same request may be tried again.
    pub retry: bool,
    evidence: Evidence,
}

/// Where a fault began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The client's connection: it left or sent too slowly.
    Client,
    /// Ourselves.
    Own,
    /// A store that a layer asked.
    Store,
    /// The model server.
    Upstream,
    /// The model server did not answer in time.
    UpstreamLate,
}

/// Where in a body the first mistake stands. Names come from the contract and numbers from counting: never text from
/// the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spot {
    /// JSON Pointer (RFC 6901) of the offending value.
    pub pointer: String,
    /// What the contract asks for.
    pub expected: String,
    /// What stands there: a type or a number.
    pub found: String,
    /// Flat index of the offending element of a tensor.
    pub index: Option<u64>,
}

/// A budget that could not pay, in public figures: for callers who proved who they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Short {
    /// Its name.
    pub budget: Box<str>,
    /// The word for what it counts.
    pub unit: &'static str,
    /// Whether it begins anew by the calendar.
    pub calendar: bool,
    /// What was asked of it.
    pub cost: u64,
    /// The most that can ever be asked of it at once.
    pub limit: u64,
}

/// What the client may know of a [`Stop`]. Problem documents are made from this and nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The public reason.
    pub code: Code,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Where the mistake stands.
    pub spot: Option<Box<Spot>>,
    /// Which budget said no.
    pub short: Option<Box<Short>>,
}

/// Text for operators, cut at [`Evidence::MAX`] bytes.
#[derive(Clone, Debug, Default)]
pub struct Evidence(String);

impl Evidence {
    /// The most bytes that one piece of evidence keeps.
    pub const MAX: usize = 256;

    /// Formats `what`, keeping at most [`Evidence::MAX`] bytes of it.
    pub fn new(what: impl fmt::Display) -> Self {
        let mut text = Self(String::new());
        // A full buffer ends the formatting early; that is what we want.
        let _full = fmt::write(&mut text, format_args!("{what}"));
        text
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Evidence {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = Self::MAX - self.0.len();
        let end = piece.floor_char_boundary(room);
        self.0.push_str(piece.get(..end).unwrap_or_default());
        if end < piece.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Refusal {
    /// A refusal without evidence yet.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, retry_after: None, spot: None, short: None, evidence: Evidence(String::new()) }
    }

    /// Says when to come back.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says where the mistake stands.
    #[must_use]
    pub fn at(mut self, spot: Spot) -> Self {
        self.spot = Some(Box::new(spot));
        self
    }

    /// Says which budget could not pay.
    #[must_use]
    pub fn short_of(mut self, short: Short) -> Self {
        self.short = Some(Box::new(short));
        self
    }

    /// Keeps the reason for operators.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.evidence = Evidence::new(why);
        self
    }

    /// The reason, for operators.
    #[must_use]
    pub fn evidence(&self) -> &str {
        self.evidence.as_str()
    }
}

impl Fault {
    /// A fault that a retry will not mend.
    #[must_use]
    pub fn new(origin: Origin, why: impl fmt::Display) -> Self {
        Self { origin, retry: false, evidence: Evidence::new(why) }
    }

    /// Says that the same request may be tried again.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }

    /// The reason, for operators.
    #[must_use]
    pub fn evidence(&self) -> &str {
        self.evidence.as_str()
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(Box::new(refusal))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl Stop {
    /// What the client may know of it.
    #[must_use]
    pub fn denial(&self) -> Denial {
        match self {
            Self::Refuse(refusal) => Denial {
                code: refusal.code,
                retry_after: refusal.retry_after,
                spot: refusal.spot.clone(),
                short: refusal.short.clone(),
            },
            Self::Fault(fault) => {
                let code = match fault.origin {
                    Origin::Upstream => Code::UpstreamFailed,
                    Origin::UpstreamLate => Code::UpstreamLate,
                    Origin::Client => Code::BadRequest,
                    Origin::Own | Origin::Store => Code::Unavailable,
                };
                Denial { code, retry_after: None, spot: None, short: None }
            }
        }
    }
}

/// Writes the code enum and its tables from one list.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $status:literal $grpc:literal $title:literal,)+) => {
        /// The public reason of a refusal: a closed list.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, alphabetical.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable word that clients match on.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// gRPC status.
            #[must_use]
            pub const fn grpc_status(self) -> u8 {
                match self { $(Self::$variant => $grpc,)+ }
            }

            /// One short sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What it means and what to do, for the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// The caller's behaviour was judged abnormal; the wait is real.
    AbnormalUsage = "abnormal_usage" 429 8 "Abnormal usage was detected",
    /// The request is malformed: framing, header, target or JSON syntax.
    BadRequest = "bad_request" 400 3 "The request is malformed",
    /// A proof of work is due first.
    ChallengeRequired = "challenge_required" 429 8 "A challenge must be solved first",
    /// Sent in TLS early data, which can be replayed; send it again after the handshake.
    EarlyData = "early_data" 425 14 "Early data is not accepted here",
    /// The caller is known and may not do this.
    Forbidden = "forbidden" 403 7 "This is not allowed for this caller",
    /// The head has too many fields or too many bytes.
    HeadersTooLarge = "headers_too_large" 431 8 "The header fields are too large",
    /// The body is well-formed and breaks the model's contract; `spot` says where.
    InvalidCall = "invalid_call" 422 3 "The input does not fit the model's contract",
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed" 405 12 "The method is not allowed here",
    /// The request was sent to a host that is not served here.
    Misdirected = "misdirected" 421 7 "This host is not served here",
    /// No route or no model of that name.
    NotFound = "not_found" 404 12 "Nothing is served here",
    /// Our capacity is taken; `Retry-After` says when to come back.
    Overloaded = "overloaded" 503 14 "Capacity is taken for the moment",
    /// A prompt was refused.
    PromptBlocked = "prompt_blocked" 403 7 "The prompt was refused",
    /// The caller's own quota is spent; `Retry-After` is the true wait.
    RateLimited = "rate_limited" 429 8 "The quota is spent",
    /// The declared cost is above the burst of a budget: it can never fit, so a retry cannot help.
    TooExpensive = "too_expensive" 413 8 "The request can never fit its budget",
    /// The body, or what it decodes to, is over the cap.
    TooLarge = "too_large" 413 8 "The body is too large",
    /// The request came too slowly.
    TooSlow = "too_slow" 408 4 "The request came too slowly",
    /// No or no valid credential.
    Unauthenticated = "unauthenticated" 401 16 "A valid credential is required",
    /// Something of ours broke or is not ready; it is on record.
    Unavailable = "unavailable" 503 14 "The service is unavailable",
    /// The content type or coding is not supported.
    Unsupported = "unsupported" 415 3 "The content type or coding is not supported",
    /// The model server failed.
    UpstreamFailed = "upstream_failed" 502 14 "The model server failed",
    /// The model server did not answer in time.
    UpstreamLate = "upstream_late" 504 4 "The model server did not answer in time",
    /// The web application firewall refused the request.
    WafBlocked = "waf_blocked" 403 7 "The request was refused",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_cut_at_a_character_boundary() {
        let text = "é".repeat(200);
        let kept = Evidence::new(&text);
        assert_eq!(kept.as_str().len(), 256);
        assert!(text.starts_with(kept.as_str()));
    }

    #[test]
    fn codes_are_listed_alphabetically_and_once() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_ruling_is_two_words() {
        assert_eq!(size_of::<Ruling<()>>(), 16);
    }

    #[test]
    fn a_denial_carries_no_evidence() {
        let stop = Stop::from(Refusal::new(Code::Forbidden).because("marker"));
        assert!(!format!("{:?}", stop.denial()).contains("marker"));
    }
}
