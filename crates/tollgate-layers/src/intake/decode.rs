//! Decodes one body that was read whole, with every cap counted while decoding. No I/O, no clock; it allocates only
//! what its caller agrees to.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use tollgate_core::ruling::{Code, Refusal, Stop};

use super::Coding;

/// Input is taken, output produced, and the ratio checked, in blocks of at most this many bytes.
pub const BLOCK: usize = 16 * 1024;
/// Output up to here is not held to the ratio: the first bytes of a body say little about it.
pub const RATIO_FLOOR: u64 = 64 * 1024;

/// What a decoded body may become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most bytes of output.
    pub max_decoded: u64,
    /// The most bytes of output for each byte of input consumed so far, once [`RATIO_FLOOR`] is passed.
    pub max_ratio: u32,
}

/// A decoded body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// The body.
    pub body: Bytes,
    /// How many of the charged bytes the body still occupies; the rest (a brotli window) is free again.
    pub held: usize,
}

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// The stream is not valid, not complete, or something follows it.
    Corrupt(&'static str),
    /// The caller has no room for more output.
    NoRoom,
    /// The output is above its cap.
    TooLarge,
    /// One byte of input became too many: a decompression bomb.
    TooSteep,
}

/// Decodes `input`. `grow` is asked before each further piece of memory is taken, with its size in bytes; `false` ends
/// the decoding with [`DecodeError::NoRoom`]. An identity body is passed on without a copy and charged nothing.
///
/// Time is linear in input and output, but a hostile stream of tiny blocks costs a hundred times a usual one: about a
/// third of a microsecond for each byte. Large coded bodies belong on the compute pool, not on a worker.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(
    coding: Coding,
    input: &Bytes,
    limits: Limits,
    grow: &mut dyn FnMut(usize) -> bool,
) -> Result<Decoded, DecodeError> {
    let mut sink = Sink { out: Vec::new(), filled: 0, limits, grow };
    match coding {
        Coding::Brotli => brotli(input, &mut sink)?,
        Coding::Deflate => zlib(input, &mut sink)?,
        Coding::Gzip => gzip(input, &mut sink)?,
        Coding::Identity => {
            let fits = length(input.len()) <= limits.max_decoded;
            return if fits { Ok(Decoded { body: input.clone(), held: 0 }) } else { Err(DecodeError::TooLarge) };
        }
    }
    Ok(sink.finish())
}

impl DecodeError {
    /// What is answered, and what is kept for operators.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        let code = match self {
            Self::Corrupt(_) => Code::BadRequest,
            Self::NoRoom => Code::Overloaded,
            Self::TooLarge | Self::TooSteep => Code::TooLarge,
        };
        Refusal::new(code).because(self)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(why) => f.write_str(why),
            Self::NoRoom => f.write_str("no room for more decoded bytes"),
            Self::TooLarge => f.write_str("the decoded body exceeds its cap"),
            Self::TooSteep => f.write_str("the decoded body exceeds the ratio to its coded form"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        error.refusal().into()
    }
}

/// The output so far.
struct Sink<'a> {
    /// Zeroes beyond `filled`.
    out: Vec<u8>,
    filled: usize,
    limits: Limits,
    grow: &'a mut dyn FnMut(usize) -> bool,
}

impl Sink<'_> {
    /// At most one block of room for output; never none.
    fn room(&mut self) -> Result<&mut [u8], DecodeError> {
        if self.filled == self.out.len() {
            // Doubling keeps copies few. One byte above the cap is enough to learn that it is passed.
            let cap = usize::try_from(self.limits.max_decoded).unwrap_or(usize::MAX).saturating_add(1);
            let more = self.out.len().max(BLOCK).min(cap.saturating_sub(self.out.len()));
            if more == 0 {
                return Err(DecodeError::TooLarge);
            }
            self.charge(more)?;
            self.out.reserve_exact(more);
            self.out.resize(self.out.len().saturating_add(more), 0);
        }
        let end = self.out.len().min(self.filled.saturating_add(BLOCK));
        self.out.get_mut(self.filled..end).ok_or(DecodeError::TooLarge)
    }

    /// Takes `fresh` bytes of the last room as output and checks what the whole has become of `consumed` input bytes.
    fn took(&mut self, fresh: usize, consumed: usize) -> Result<&[u8], DecodeError> {
        let start = self.filled;
        self.filled = self.filled.saturating_add(fresh).min(self.out.len());
        let total = length(self.filled);
        if total > self.limits.max_decoded {
            return Err(DecodeError::TooLarge);
        }
        // Blocks that define codes and hold no data cost a hundred times the work of others and pass every cap on output.
        let idle = length(consumed).saturating_sub(total.saturating_mul(2));
        if idle > RATIO_FLOOR {
            return Err(DecodeError::Corrupt("the coded stream is mostly empty"));
        }
        let steepest = length(consumed).saturating_mul(u64::from(self.limits.max_ratio));
        if total > steepest.max(RATIO_FLOOR) {
            return Err(DecodeError::TooSteep);
        }
        Ok(self.out.get(start..self.filled).unwrap_or_default())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        if (self.grow)(bytes) { Ok(()) } else { Err(DecodeError::NoRoom) }
    }

    fn finish(mut self) -> Decoded {
        self.out.truncate(self.filled);
        Decoded { held: self.out.capacity(), body: Bytes::from(self.out) }
    }
}

/// RFC 1952: one member, its checksum and length verified, nothing behind it. A second member is legal there and is
/// refused here: servers differ in whether they read it.
fn gzip(input: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let body = gzip_body(input).ok_or(DecodeError::Corrupt("the gzip header is broken"))?;
    let mut crc = Crc::new();
    let rest = inflate(body, Decompress::new(false), sink, &mut |fresh| crc.update(fresh))?;
    let Some((trailer, behind)) = rest.split_first_chunk::<8>() else {
        return Err(DecodeError::Corrupt("the gzip stream is cut"));
    };
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    if u32::from_le_bytes([c0, c1, c2, c3]) != crc.sum() || u32::from_le_bytes([l0, l1, l2, l3]) != crc.amount() {
        return Err(DecodeError::Corrupt("the gzip checksum or length is wrong"));
    }
    at_end(behind)
}

/// What follows the header of a gzip member; `None` if the header is broken.
fn gzip_body(input: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const RESERVED: u8 = 0b1110_0000;

    let ([0x1f, 0x8b, 8, flags, ..], mut rest) = input.split_first_chunk::<10>()? else { return None };
    if flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (size, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*size))..)?;
    }
    for field in [NAME, COMMENT] {
        if flags & field != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        let head = input.get(..input.len().checked_sub(rest.len())?)?;
        let (stated, behind) = rest.split_first_chunk::<2>()?;
        let mut crc = Crc::new();
        crc.update(head);
        // The stated checksum is the lower half.
        let [low, high, _, _] = crc.sum().to_le_bytes();
        if *stated != [low, high] {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

/// RFC 1950; the Adler-32 checksum is verified by the inflater.
fn zlib(input: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let behind = inflate(input, Decompress::new(true), sink, &mut |_| {})?;
    at_end(behind)
}

/// Inflates up to the end of the stream and returns what stands behind it.
fn inflate<'a>(
    input: &'a [u8],
    mut inflater: Decompress,
    sink: &mut Sink<'_>,
    see: &mut dyn FnMut(&[u8]),
) -> Result<&'a [u8], DecodeError> {
    const CUT: DecodeError = DecodeError::Corrupt("the deflate stream is cut");
    let mut consumed = 0_usize;
    loop {
        let rest = input.get(consumed..).unwrap_or_default();
        let rest = rest.get(..BLOCK).unwrap_or(rest);
        let (read_before, wrote_before) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(rest, sink.room()?, FlushDecompress::None)
            .map_err(|_| DecodeError::Corrupt("the deflate stream is broken"))?;
        let read = difference(inflater.total_in(), read_before);
        let wrote = difference(inflater.total_out(), wrote_before);
        consumed = consumed.saturating_add(read);
        see(sink.took(wrote, consumed)?);
        match status {
            Status::StreamEnd => return Ok(input.get(consumed..).unwrap_or_default()),
            // No step forward although there is room: the input is at its end, the stream is not.
            Status::BufError | Status::Ok if read == 0 && wrote == 0 => return Err(CUT),
            Status::BufError | Status::Ok => {}
        }
    }
}

/// RFC 7932, without the large-window extension, whose windows are up to 1 GiB.
fn brotli(input: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    sink.charge(brotli_window(input))?;
    let alloc = StandardAlloc::default();
    let mut state = BrotliState::new_strict(alloc, alloc, alloc);
    let mut consumed = 0_usize;
    let mut total = 0_usize;
    loop {
        let mut left = input.len().saturating_sub(consumed).min(BLOCK);
        let room = sink.room()?;
        let (mut wrote, mut free) = (0_usize, room.len());
        let result = BrotliDecompressStream(
            &mut left,
            &mut consumed,
            input,
            &mut free,
            &mut wrote,
            room,
            &mut total,
            &mut state,
        );
        sink.took(wrote, consumed)?;
        match result {
            BrotliResult::NeedsMoreInput if consumed >= input.len() => {
                return Err(DecodeError::Corrupt("the brotli stream is cut"));
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(DecodeError::Corrupt("the brotli stream is broken")),
            BrotliResult::ResultSuccess => return at_end(input.get(consumed..).unwrap_or_default()),
        }
    }
}

/// Bytes of the window that a brotli stream asks for in its first bits (RFC 7932, 9.1).
fn brotli_window(input: &[u8]) -> usize {
    let first = input.first().copied().unwrap_or_default();
    let bits = match (first & 1, (first >> 1) & 7, (first >> 4) & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, small) => 8_u32.saturating_add(u32::from(small)),
        (_, large, _) => 17_u32.saturating_add(u32::from(large)),
    };
    1_usize << bits.min(24)
}

fn at_end(behind: &[u8]) -> Result<(), DecodeError> {
    if behind.is_empty() { Ok(()) } else { Err(DecodeError::Corrupt("something follows the coded stream")) }
}

fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
