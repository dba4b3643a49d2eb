//! What a codec says of a body that it does not take.

use std::fmt::Display;

use tollgate_core::ruling::{Code, Refusal, Spot, Stop};

use super::json::{self, Limits, Malformed, What};

/// Why a body was not taken. Pointers grow from the inside out, so a body that is taken never builds one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// No message of Protocol Buffers as we accept it: 400.
    Broken {
        /// What is asked for instead.
        expected: &'static str,
        /// At which byte.
        at: usize,
    },
    /// Well-formed, and not what the dialect asks for: 422.
    Invalid(Box<Spot>),
    /// Not JSON as we accept it: 400.
    Malformed(Malformed),
}

impl Wrong {
    /// The value itself is wrong.
    #[must_use]
    pub fn here(expected: impl Into<String>, found: impl Into<String>) -> Self {
        let spot = Spot { pointer: String::new(), expected: expected.into(), found: found.into(), index: None };
        Self::Invalid(Box::new(spot))
    }

    /// A NUL stands in the name or id that begins at `at`.
    #[must_use]
    pub const fn nul(at: usize) -> Self {
        Self::Malformed(Malformed::new(What::Nul, at))
    }

    /// Says which element of the tensor it is.
    #[must_use]
    pub fn element(mut self, index: u64) -> Self {
        if let Self::Invalid(spot) = &mut self {
            spot.index = Some(index);
        }
        self
    }

    /// Says under which member or item it stands. `step` must not need escaping (RFC 6901).
    #[must_use]
    pub fn under(mut self, step: impl Display) -> Self {
        if let Self::Invalid(spot) = &mut self {
            spot.pointer = format!("/{step}{}", spot.pointer);
        }
        self
    }

    /// The same, where `name` comes from a contract and may hold `~` and `/`.
    #[must_use]
    pub fn under_name(self, name: &str) -> Self {
        self.under(escaped(name))
    }

    /// What is malformed is that first, even where something else is wrong before it: the rest of `body` is read as well.
    #[must_use]
    pub fn unless_malformed(self, body: &[u8], limits: Limits) -> Self {
        match self {
            Self::Invalid(_) => json::validate(body, limits).map_or_else(Self::from, |()| self),
            Self::Broken { .. } | Self::Malformed(_) => self,
        }
    }

    /// As a refusal.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Broken { expected, at } => {
                let evidence = format_args!("protobuf: expected {expected} at byte {at}");
                Refusal::new(Code::BadRequest).because(evidence).at(elsewhere(expected, "another encoding", at))
            }
            Self::Invalid(spot) => refuse(*spot),
            Self::Malformed(malformed) => {
                let spot = elsewhere(malformed.what.expected(), malformed.found(), malformed.at);
                Refusal::new(Code::BadRequest).because(malformed).at(spot)
            }
        }
    }
}

/// The spot of a body that cannot be read beyond a byte.
fn elsewhere(expected: &str, found: &str, at: usize) -> Spot {
    let found = format!("{found} at byte {at}");
    Spot { pointer: String::new(), expected: expected.to_owned(), found, index: None }
}

/// An `invalid_call` at `spot`, whose evidence says the same.
#[must_use]
pub fn refuse(spot: Spot) -> Refusal {
    let refusal = Refusal::new(Code::InvalidCall);
    let refusal = match spot.index {
        Some(index) => refusal.because(format_args!(
            "`{}` element {index}: expected {}, found {}",
            spot.pointer, spot.expected, spot.found
        )),
        None => refusal.because(format_args!("`{}`: expected {}, found {}", spot.pointer, spot.expected, spot.found)),
    };
    refusal.at(spot)
}

/// A step of a JSON Pointer (RFC 6901).
#[must_use]
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        wrong.refusal().into()
    }
}
