//! `@eq`, `@ge`, `@gt`, `@le` and `@lt`: comparisons of whole numbers.

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the name of the operator says it")]
pub enum Comparison {
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
}

impl Comparison {
    /// The comparison of that name, in lower case.
    pub(super) fn from_name(lower: &str) -> Option<Self> {
        match lower {
            "eq" => Some(Self::Eq),
            "ge" => Some(Self::Ge),
            "gt" => Some(Self::Gt),
            "le" => Some(Self::Le),
            "lt" => Some(Self::Lt),
            _ => None,
        }
    }

    /// Whether the value stands to the parameter as the name says.
    pub(super) const fn holds(self, value: i64, parameter: i64) -> bool {
        match self {
            Self::Eq => value == parameter,
            Self::Ge => value >= parameter,
            Self::Gt => value > parameter,
            Self::Le => value <= parameter,
            Self::Lt => value < parameter,
        }
    }
}

/// The number at the beginning of a text: an optional sign and digits behind optional whitespace, else 0. What exceeds
/// 64 bits becomes the nearest that fits.
pub(crate) fn parse(text: &[u8]) -> i64 {
    let (negative, digits) = match text.trim_ascii_start() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| i64::from(byte - b'0'));
    digits.fold(0i64, |number, digit| {
        let shifted = number.saturating_mul(10);
        if negative { shifted.saturating_sub(digit) } else { shifted.saturating_add(digit) }
    })
}
