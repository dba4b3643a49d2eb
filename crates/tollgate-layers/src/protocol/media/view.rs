//! The bytes of a medium, read where they stand: raw, or as base64 of which only the looked-at bytes are decoded.

/// Why a header is not believed: what was found instead.
pub(super) type Flaw = &'static str;

/// It ends before its header does.
pub(super) const CUT: Flaw = "a file that is cut off";

/// A medium in the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// The digits of checked base64, without padding.
    Base64(&'a [u8]),
    /// The bytes themselves.
    Raw(&'a [u8]),
}

impl<'a> View<'a> {
    /// Base64 as RFC 4648 §4 has it: its alphabet alone, padded, no bits left over. `None` for any other text.
    pub(super) fn base64(text: &'a [u8]) -> Option<Self> {
        let digits = match text {
            [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
            digits => digits,
        };
        // One pass without a branch: a byte outside the alphabet sets bits that no digit has.
        let seen = digits.iter().fold(0_u8, |seen, byte| seen | value(*byte));
        let spare = match (digits.len() % 4, digits.last()) {
            (1, _) => return None,
            (2, Some(last)) => value(*last) & 0b1111,
            (3, Some(last)) => value(*last) & 0b11,
            _ => 0,
        };
        (text.len().is_multiple_of(4) && seen < 64 && spare == 0).then_some(Self::Base64(digits))
    }

    /// How many bytes.
    pub(super) const fn len(&self) -> u64 {
        match self {
            Self::Base64(digits) => digits.len() as u64 / 4 * 3 + digits.len() as u64 % 4 * 3 / 4,
            Self::Raw(bytes) => bytes.len() as u64,
        }
    }

    pub(super) fn byte(&self, at: u64) -> Result<u8, Flaw> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    /// `N` bytes from `at` on.
    pub(super) fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let digits = match self {
            Self::Base64(digits) => digits,
            Self::Raw(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                return from.and_then(|from| from.first_chunk()).copied().ok_or(CUT);
            }
        };
        // Before any arithmetic with it: a file says where to look.
        if at.checked_add(N as u64).is_none_or(|end| end > self.len()) {
            return Err(CUT);
        }
        let mut out = [0; N];
        for (at, slot) in (at..).zip(&mut out) {
            *slot = decoded(digits, at).ok_or(CUT)?;
        }
        Ok(out)
    }

    /// Whether `magic` stands at `at`.
    pub(super) fn has<const N: usize>(&self, at: u64, magic: &[u8; N]) -> bool {
        self.array::<N>(at).is_ok_and(|found| found == *magic)
    }

    pub(super) fn be16(&self, at: u64) -> Result<u16, Flaw> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(&self, at: u64) -> Result<u32, Flaw> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn be64(&self, at: u64) -> Result<u64, Flaw> {
        self.array(at).map(u64::from_be_bytes)
    }

    pub(super) fn le16(&self, at: u64) -> Result<u16, Flaw> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn le24(&self, at: u64) -> Result<u32, Flaw> {
        self.array(at).map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(super) fn le32(&self, at: u64) -> Result<u32, Flaw> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn le64(&self, at: u64) -> Result<u64, Flaw> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// Byte `at` of what the digits stand for.
fn decoded(digits: &[u8], at: u64) -> Option<u8> {
    let first = usize::try_from(at / 3 * 4 + at % 3).ok()?;
    let [high, low] = digits.get(first..)?.first_chunk::<2>()?.map(value);
    Some(match at % 3 {
        0 => high << 2 | low >> 4,
        1 => high << 4 | low >> 2,
        _ => high << 6 | low,
    })
}

/// The six bits of a digit; 255 for what is none.
const fn value(digit: u8) -> u8 {
    match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 255,
    }
}
