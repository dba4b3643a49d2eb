//! The state machine of one connection's input: head, body, head, body, until something is wrong.
//!
//! Pure: [`Wire`] is shown bytes and says how many of them may pass and why. `StrictIo` drives it with a socket,
//! [`walk`] with a slice: tests and fuzz targets compare that with other parsers.

use tollgate_core::ruling::Code;

use crate::listen::chunked::{ChunkCheck, Then};
use crate::listen::flaw::HeadFlaw;
use crate::listen::head::{Framing, HeadCheck, HeadLimits, Progress, RawHead};

/// Where in its input a connection is.
#[derive(Debug)]
pub struct Wire {
    limits: HeadLimits,
    lenient: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Chunked(ChunkCheck),
    Head(HeadCheck),
    Length(u64),
    Through,
}

/// What the next bytes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// So many bytes of a body; more of it follows, or the next head.
    Body(usize),
    /// So many bytes of a body, and then one that is out of place.
    BodyFlaw(usize, HeadFlaw),
    /// A head of so many bytes that may be served.
    Head(usize, RawHead),
    /// The beginning of a head.
    Partial,
    /// A head that must not be served: nothing behind it has a meaning.
    Refused(RawHead),
}

impl Wire {
    /// The input of a fresh connection. If `lenient`, flawed heads are let through with a note, as far as their end
    /// can be told.
    #[must_use]
    pub const fn new(limits: HeadLimits, lenient: bool) -> Self {
        Self { limits, lenient, place: Place::Head(Self::check(limits, lenient)) }
    }

    const fn check(limits: HeadLimits, lenient: bool) -> HeadCheck {
        if lenient { HeadCheck::lenient(limits) } else { HeadCheck::new(limits) }
    }

    /// Whether a head is due, or being received.
    #[must_use]
    pub const fn at_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Whether a head has begun, given how many of its bytes have been received.
    #[must_use]
    pub const fn begun(&self, received: usize) -> bool {
        matches!(&self.place, Place::Head(check) if check.begun(received))
    }

    /// Whether the connection speaks another protocol by now.
    #[must_use]
    pub const fn is_through(&self) -> bool {
        matches!(self.place, Place::Through)
    }

    /// From here on everything passes: the protocol was switched.
    pub fn go_through(&mut self) {
        self.place = Place::Through;
    }

    /// Looks at what follows what has passed. A head that was not over yet is shown again from its first byte;
    /// `data` sees the bytes of bodies without their chunk framing.
    pub fn step(&mut self, rest: &[u8], mut data: impl FnMut(&[u8])) -> Step {
        let (step, next) = match &mut self.place {
            Place::Head(check) => match check.scan(rest) {
                Progress::Incomplete => return Step::Partial,
                Progress::Complete { end, head } => {
                    let next = self.body(&head);
                    // Only a head whose end is known can be let through.
                    let lenient = self.lenient && head.refused != Some(HeadFlaw::HEAD_TOO_LARGE);
                    let refused = head.refused.is_some() && !lenient;
                    (if refused { Step::Refused(head) } else { Step::Head(end, head) }, Some(next))
                }
            },
            Place::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                data(rest.get(..here).unwrap_or_default());
                *left -= u64::try_from(here).unwrap_or(*left);
                (Step::Body(here), (*left == 0).then(|| self.head()))
            }
            Place::Chunked(check) => {
                let passed = check.pass(rest, data);
                match passed.then {
                    Then::Bad(flaw) => (Step::BodyFlaw(passed.good, flaw), None),
                    Then::Done => (Step::Body(passed.good), Some(self.head())),
                    Then::More => (Step::Body(passed.good), None),
                }
            }
            Place::Through => (Step::Body(rest.len()), None),
        };
        if let Some(next) = next {
            self.place = next;
        }
        step
    }

    fn body(&self, head: &RawHead) -> Place {
        match head.framing {
            Framing::Chunked => Place::Chunked(ChunkCheck::default()),
            Framing::Length(length) => Place::Length(length),
            Framing::None => self.head(),
        }
    }

    const fn head(&self) -> Place {
        Place::Head(Self::check(self.limits, self.lenient))
    }
}

/// One request of a [`walk`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Walked {
    /// The head.
    pub head: RawHead,
    /// As much of the body as came before its end, the end of the input or its flaw; without chunk framing.
    pub body: Vec<u8>,
    /// Whether all of the body came.
    pub whole: bool,
    /// What was wrong with the body.
    pub body_flaw: Option<HeadFlaw>,
}

impl Walked {
    /// The public code that a strict listener answers with if nothing else is wrong.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.head.refused.or(self.body_flaw).map(|flaw| flaw.code)
    }
}

/// Everything that `input`, which then ends, holds for a strict listener: the last one may be refused or cut.
#[must_use]
pub fn walk(input: &[u8], limits: HeadLimits) -> Vec<Walked> {
    let mut wire = Wire::new(limits, false);
    let mut seen: Vec<Walked> = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let mut data = Vec::new();
        let step = wire.step(rest, |bytes| data.extend_from_slice(bytes));
        let taken = match step {
            Step::Partial => break,
            Step::Refused(head) => {
                seen.push(Walked { head, body: data, whole: false, body_flaw: None });
                break;
            }
            Step::Head(end, head) => {
                seen.push(Walked { head, body: data, whole: wire.at_head(), body_flaw: None });
                end
            }
            Step::Body(taken) => {
                if let Some(last) = seen.last_mut() {
                    last.body.extend_from_slice(&data);
                    last.whole = wire.at_head();
                }
                taken
            }
            Step::BodyFlaw(_, flaw) => {
                if let Some(last) = seen.last_mut() {
                    last.body.extend_from_slice(&data);
                    last.body_flaw = Some(flaw);
                }
                break;
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    seen
}

#[cfg(test)]
mod tests;
