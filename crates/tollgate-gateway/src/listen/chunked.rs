//! The chunk checker: follows a chunked body byte by byte and stops it before the first byte that is out of place.
//!
//! It decodes nothing and keeps nothing but counters and the name of the trailer it is reading. What it lets pass is a
//! chunked body (RFC 9112, 7.1) that every parser reads alike, or the beginning of one.

use crate::listen::flaw::HeadFlaw;
use crate::listen::kinds::{CONTROL, NO_TOKEN, kinds};

/// Hex digits of a chunk size.
const MAX_DIGITS: u8 = 16;
/// Blanks behind one size, where they pass.
const MAX_PADDING: usize = 16;
/// Bytes of the extensions of one chunk.
const MAX_EXTENSION: usize = 256;
/// Bytes of the extensions of one body.
const MAX_EXTENSIONS: usize = 8_192;
/// Trailer fields.
const MAX_TRAILERS: u8 = 16;
/// Bytes of all trailer fields.
const MAX_TRAILER_BYTES: usize = 8_192;
/// The longest name in [`FORBIDDEN`] has 19 bytes.
const NAME_KEPT: usize = 24;

/// Trailer fields that frame, route or authenticate (RFC 9110, 6.5.1).
const FORBIDDEN: &[&[u8]] = &[
    b"api-key",
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-api-key",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// Where in a chunked body we are.
#[derive(Clone, Debug, Default)]
pub struct ChunkCheck {
    place: Place,
    size: u64,
    digits: u8,
    extension: usize,
    extensions: usize,
    trailers: u8,
    trailer_bytes: usize,
    name: [u8; NAME_KEPT],
    name_len: usize,
    /// Blanks behind a size pass.
    padded: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Size,
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// How far some bytes may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passed {
    /// So many of them.
    pub good: usize,
    /// What comes then.
    pub then: Then,
}

/// What comes after the bytes that may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// A byte that is out of place.
    Bad(HeadFlaw),
    /// The next head: the body is over.
    Done,
    /// More of the body, which has not arrived.
    More,
}

impl ChunkCheck {
    /// For the answer of a model server: some pad their sizes with blanks, which RFC 9112, 7.1.1 has only before
    /// extensions, and every client takes. Nobody reads an answer behind us, so that no one can be smuggled past.
    #[must_use]
    pub fn of_answer() -> Self {
        Self { padded: true, ..Self::default() }
    }

    /// Looks at the next bytes of the body; `data` is shown what of them are the data of chunks.
    pub fn pass(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Passed {
        let mut good = 0;
        while self.place != Place::Done {
            let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) else {
                return Passed { good, then: Then::More };
            };
            let in_data = self.place == Place::Data;
            match self.step(rest) {
                Ok(taken) => {
                    if in_data {
                        data(rest.get(..taken).unwrap_or_default());
                    }
                    good += taken;
                }
                Err(flaw) => return Passed { good, then: Then::Bad(flaw) },
            }
        }
        Passed { good, then: Then::Done }
    }

    /// Takes at least one byte of `rest`, which is not empty.
    fn step(&mut self, rest: &[u8]) -> Result<usize, HeadFlaw> {
        if self.place == Place::Data {
            let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(self.size);
            self.size -= here;
            if self.size == 0 {
                self.place = Place::DataCr;
            }
            return Ok(usize::try_from(here).unwrap_or(rest.len()));
        }
        let byte = rest.first().copied().unwrap_or_default();
        self.place = match self.place {
            Place::Size => self.size_byte(byte)?,
            Place::Padding => self.padding_byte(byte)?,
            Place::Extension => self.extension_byte(byte)?,
            Place::SizeLf if byte == b'\n' => self.end_size(),
            Place::DataCr if byte == b'\r' => Place::DataLf,
            Place::DataLf if byte == b'\n' => Place::Size,
            Place::TrailerStart | Place::TrailerName | Place::TrailerValue | Place::TrailerLf => {
                self.trailer_byte(byte)?
            }
            Place::LastLf if byte == b'\n' => Place::Done,
            Place::SizeLf => return Err(HeadFlaw::BARE_CR),
            Place::DataCr | Place::DataLf => return Err(HeadFlaw::CHUNK_END),
            Place::LastLf => return Err(HeadFlaw::BARE_CR),
            Place::Data | Place::Done => self.place,
        };
        Ok(1)
    }

    fn size_byte(&mut self, byte: u8) -> Result<Place, HeadFlaw> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.digits > 0 => return Ok(Place::Extension),
            b'\r' if self.digits > 0 => return Ok(Place::SizeLf),
            b'\n' if self.digits > 0 => return Err(HeadFlaw::BARE_LF),
            b' ' | b'\t' if self.digits > 0 && self.padded => return self.padding_byte(byte),
            _ => return Err(HeadFlaw::CHUNK_SIZE),
        };
        if self.digits == MAX_DIGITS {
            return Err(HeadFlaw::CHUNK_SIZE);
        }
        self.digits += 1;
        // Sixteen digits fill the number exactly.
        self.size = (self.size << 4) | u64::from(digit);
        Ok(Place::Size)
    }

    fn padding_byte(&mut self, byte: u8) -> Result<Place, HeadFlaw> {
        match byte {
            b'\r' => return Ok(Place::SizeLf),
            b';' => return Ok(Place::Extension),
            b' ' | b'\t' => self.extension += 1,
            _ => return Err(HeadFlaw::CHUNK_SIZE),
        }
        if self.extension > MAX_PADDING { Err(HeadFlaw::CHUNK_SIZE) } else { Ok(Place::Padding) }
    }

    /// Extensions end with the line, in quotes or not: chunk-extension smuggling lives of parsers that differ there.
    fn extension_byte(&mut self, byte: u8) -> Result<Place, HeadFlaw> {
        match byte {
            b'\r' => return Ok(Place::SizeLf),
            b'\n' => return Err(HeadFlaw::BARE_LF),
            _ if kinds(&[byte]) & CONTROL != 0 => return Err(HeadFlaw::CONTROL),
            _ => {}
        }
        self.extension += 1;
        self.extensions += 1;
        if self.extension > MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
            return Err(HeadFlaw::CHUNK_EXTENSION);
        }
        Ok(Place::Extension)
    }

    const fn end_size(&mut self) -> Place {
        self.digits = 0;
        self.extension = 0;
        if self.size == 0 { Place::TrailerStart } else { Place::Data }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<Place, HeadFlaw> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(HeadFlaw::TRAILERS);
        }
        match (self.place, byte) {
            (Place::TrailerStart, b'\r') => Ok(Place::LastLf),
            (Place::TrailerStart, _) => {
                self.trailers += 1;
                self.name_len = 0;
                if self.trailers > MAX_TRAILERS { Err(HeadFlaw::TRAILERS) } else { self.name_byte(byte) }
            }
            (Place::TrailerName, b':') => self.end_name(),
            (Place::TrailerName, _) => self.name_byte(byte),
            (Place::TrailerLf, b'\n') => Ok(Place::TrailerStart),
            (Place::TrailerLf, _) => Err(HeadFlaw::BARE_CR),
            (_, b'\r') => Ok(Place::TrailerLf),
            (_, b'\n') => Err(HeadFlaw::BARE_LF),
            _ if kinds(&[byte]) & CONTROL != 0 => Err(HeadFlaw::CONTROL),
            _ => Ok(Place::TrailerValue),
        }
    }

    fn name_byte(&mut self, byte: u8) -> Result<Place, HeadFlaw> {
        if kinds(&[byte]) & NO_TOKEN != 0 {
            return Err(HeadFlaw::TRAILER);
        }
        if let Some(place) = self.name.get_mut(self.name_len) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len += 1;
        Ok(Place::TrailerName)
    }

    fn end_name(&self) -> Result<Place, HeadFlaw> {
        let name = self.name.get(..self.name_len).unwrap_or_default();
        if FORBIDDEN.contains(&name) { Err(HeadFlaw::TRAILER) } else { Ok(Place::TrailerValue) }
    }
}

#[cfg(test)]
mod tests;
