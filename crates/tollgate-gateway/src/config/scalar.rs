//! What a scalar is: the YAML 1.2 core types, narrowed. Numbers that people read differently are left texts.

use serde_json::{Number, Value};

/// A scalar value, typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    pub(super) value: Typed,
    /// The scalar as it was written: messages show this, never what was filled in.
    pub(super) written: String,
    /// Whether `${…}` was filled in.
    pub(super) filled: bool,
    /// Whether it stood in quotes or in a block scalar.
    pub(super) quoted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Typed {
    Bool(bool),
    /// Finite, or an integer beyond 64 bits.
    Float(f64),
    /// From the least `i64` to the greatest `u64`.
    Integer(i128),
    Null,
    Text(String),
}

impl Scalar {
    pub(super) const fn null() -> Self {
        Self { value: Typed::Null, written: String::new(), filled: false, quoted: false }
    }

    pub(super) fn plain(text: &str) -> Self {
        Self { value: typed(text), written: text.to_owned(), filled: false, quoted: false }
    }

    pub(super) fn quoted(text: &str) -> Self {
        Self { value: Typed::Text(text.to_owned()), written: text.to_owned(), filled: false, quoted: true }
    }

    pub(super) fn to_json(&self) -> Value {
        match &self.value {
            Typed::Bool(value) => Value::Bool(*value),
            Typed::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Typed::Integer(value) => u64::try_from(*value)
                .map(Value::from)
                .or_else(|_| i64::try_from(*value).map(Value::from))
                .unwrap_or(Value::Null),
            Typed::Null => Value::Null,
            Typed::Text(text) => Value::String(text.clone()),
        }
    }
}

fn typed(text: &str) -> Typed {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Typed::Null,
        "true" => Typed::Bool(true),
        "false" => Typed::Bool(false),
        _ => number(text).unwrap_or_else(|| Typed::Text(text.to_owned())),
    }
}

/// The number that a plain scalar is. `0755` is none: YAML 1.1 reads 493, YAML 1.2 reads 755.
fn number(text: &str) -> Option<Typed> {
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let exponent_digits = exponent.map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    let well_formed = digits(whole)
        && fraction.is_none_or(digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && exponent_digits.is_none_or(|e| !e.is_empty() && digits(e));
    if leading_zero || !well_formed {
        return None;
    }
    if fraction.is_none()
        && exponent.is_none()
        && let Some(integer) = text.parse().ok().and_then(in_range)
    {
        return Some(Typed::Integer(integer));
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Typed::Float)
}

fn based(digits: &str, radix: u32) -> Option<Typed> {
    let signed = digits.starts_with(['-', '+']);
    if signed { None } else { i128::from_str_radix(digits, radix).ok().and_then(in_range).map(Typed::Integer) }
}

fn in_range(integer: i128) -> Option<i128> {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&integer).then_some(integer)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_the_core_schema() {
        for (text, expected) in [
            ("", Typed::Null),
            ("~", Typed::Null),
            ("null", Typed::Null),
            ("true", Typed::Bool(true)),
            ("false", Typed::Bool(false)),
            ("0", Typed::Integer(0)),
            ("-12", Typed::Integer(-12)),
            ("+7", Typed::Integer(7)),
            ("0x1F", Typed::Integer(31)),
            ("0o17", Typed::Integer(15)),
            ("18446744073709551615", Typed::Integer(18_446_744_073_709_551_615)),
            ("18446744073709551616", Typed::Float(18_446_744_073_709_551_616.0)),
            ("1.5", Typed::Float(1.5)),
            (".5", Typed::Float(0.5)),
            ("1.", Typed::Float(1.0)),
            ("1e3", Typed::Float(1000.0)),
            ("-2.5E-1", Typed::Float(-0.25)),
        ] {
            assert_eq!(typed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_people_read_differently_stays_a_text() {
        for text in [
            "yes", "no", "on", "off", "True", "FALSE", "0755", "-01", "1_000", "0b11", ".inf", "-.inf", ".nan",
            "1e999", "nan", "inf", "infinity", ".", "-", "+", "e5", "1e", "1e+", "0x", "0x-1", "0o8", "1:30", "1.2.3",
            "--1", "٣",
        ] {
            assert_eq!(typed(text), Typed::Text(text.to_owned()), "{text}");
        }
    }
}
