//! The closed list of what can be wrong with the framing of a request: a public code and a reason for operators.
//!
//! The reasons are constants: nothing that a client sent can reach a log through them.

use tollgate_core::ruling::Code;

/// What is wrong with a head or with the framing of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadFlaw {
    /// What the client is told.
    pub code: Code,
    /// What operators are told.
    pub why: &'static str,
}

const fn bad(why: &'static str) -> HeadFlaw {
    HeadFlaw { code: Code::BadRequest, why }
}

const fn large(why: &'static str) -> HeadFlaw {
    HeadFlaw { code: Code::HeadersTooLarge, why }
}

/// Writes the constants and the list of them.
macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $name:ident = $flaw:expr;)+) => {
        impl HeadFlaw {
            $($(#[doc = $doc])+ pub const $name: Self = $flaw;)+

            /// Every flaw, by name.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

flaws! {
    /// Another version than 1.0 and 1.1.
    BAD_VERSION = bad("unknown protocol version");
    /// A CR that no LF follows.
    BARE_CR = bad("bare carriage return");
    /// A LF that no CR precedes: some parsers see a line end there, others do not.
    BARE_LF = bad("bare line feed");
    /// The data of a chunk go on after its declared end.
    CHUNK_END = bad("no crlf after the data of a chunk");
    /// A chunk extension above its cap, or all of one body above theirs.
    CHUNK_EXTENSION = bad("chunk extensions too long");
    /// A chunk size that is not 1 to 16 hex digits up to CRLF or `;`.
    CHUNK_SIZE = bad("malformed chunk size");
    /// `Transfer-Encoding` must be exactly `chunked`.
    CODING = bad("transfer-encoding is not `chunked`");
    /// HTTP/1.0 has no transfer codings (RFC 9112, 6.1).
    CODING_ON_1_0 = bad("transfer-encoding on http/1.0");
    /// `Transfer-Encoding` twice, on two lines or on one.
    CODING_TWICE = bad("two transfer codings");
    /// A control byte where text is due.
    CONTROL = bad("control byte in the head");
    /// Blank lines in front of the request line; one is forgiven (RFC 9112, 2.2).
    EMPTY_LINES = bad("more than one empty line before the request line");
    /// A line that begins with a colon.
    EMPTY_NAME = bad("empty field name");
    /// `#` never leaves a user agent (RFC 9110, 7.1).
    FRAGMENT = bad("fragment in the target");
    /// More bytes than `max_head_bytes`.
    HEAD_TOO_LARGE = large("head above `max_head_bytes`");
    /// The head did not arrive in time.
    LATE = HeadFlaw { code: Code::TooSlow, why: "head above its deadline" };
    /// `Content-Length` that is not a number, or above any body.
    LENGTH = bad("malformed content-length");
    /// CL.TE and TE.CL request smuggling (RFC 9112, 6.3).
    LENGTH_AND_CODING = bad("content-length beside transfer-encoding");
    /// `Content-Length` twice, equal or not.
    LENGTH_TWICE = bad("two content-lengths");
    /// A method with bytes that no token has, or none.
    METHOD = bad("malformed method");
    /// A separator, a control byte or a byte above 7F in a field name.
    NAME = bad("malformed field name");
    /// A header line without a colon.
    NO_COLON = bad("header line without a colon");
    /// A request line without a version: HTTP/0.9.
    NO_VERSION = bad("request line without a version");
    /// A NUL byte in a field.
    NUL = bad("nul byte in a field");
    /// A line that begins with white space: a folded field (RFC 9112, 5.2).
    OBS_FOLD = bad("folded field line");
    /// A byte above 7F in Host or in a credential.
    OBS_TEXT = bad("byte above 7f in host or a credential");
    /// A byte above 7F in the target.
    RAW_TARGET = bad("byte above 7f in the target");
    /// More or other white space in the request line than its two single spaces.
    SPACES = bad("extra white space in the request line");
    /// White space before the colon: some parsers ignore the field, others do not.
    SPACE_BEFORE_COLON = bad("space before the colon");
    /// Neither origin form, nor absolute form with http or https, nor what CONNECT and OPTIONS may have.
    TARGET = bad("malformed target");
    /// More bytes than `max_target_bytes`.
    TARGET_TOO_LONG = large("target above `max_target_bytes`");
    /// More lines than `max_headers`.
    TOO_MANY = large("more fields than `max_headers`");
    /// A trailer field that frames, routes or authenticates, or is malformed.
    TRAILER = bad("malformed or forbidden trailer");
    /// Trailers above their caps.
    TRAILERS = bad("too many trailers");
}
