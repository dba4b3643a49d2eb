//! Durations (`"30s"`) and sizes (`64KiB`) as configuration writes them. Whole numbers with one unit; nothing else.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::format::Unfit;
use super::words::quoted;

/// The longest duration: ten years. Added to any time of day it stays a time.
const LONGEST_MS: u64 = 3650 * 86_400_000;

/// A duration: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`, as in `"250ms"` or `"30s"`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DurationText(pub Duration);

impl DurationText {
    pub(super) const FORMAT: &str = "duration-text";

    /// So many milliseconds; for defaults.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many seconds; for defaults.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads a duration.
    ///
    /// # Errors
    /// When the text is not a whole number with a unit, or more than ten years.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let hint = "write a whole number and a unit: `250ms`, `30s`, `5m`, `2h`, `7d`";
        let (number, unit) = split(text);
        let per = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, per)| *per);
        let (Some(number), Some(per)) = (number, per) else {
            return Err(unfit(text, "is not a duration", hint));
        };
        let millis = number.checked_mul(per).filter(|millis| *millis <= LONGEST_MS);
        millis.map(Self::from_millis).ok_or_else(|| unfit(text, "is too long a duration", "`3650d` is the longest"))
    }
}

/// Milliseconds in each unit, largest first.
const DURATIONS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = DURATIONS.iter().find(|(_, per)| millis.is_multiple_of(u128::from(*per)));
        match whole {
            Some((unit, per)) if millis > 0 => write!(f, "{}{unit}", millis / u128::from(*per)),
            _ => write!(f, "{millis}ms"),
        }
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "DurationText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": Self::FORMAT,
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "A duration: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`, as in `30s`.",
        })
    }
}

/// A number of bytes: plain (`1048576`), or with a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`, as in `256MiB`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub(super) const FORMAT: &str = "byte-size";

    /// So many kibibytes; for defaults.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// So many mebibytes; for defaults.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// Reads a size with a unit.
    ///
    /// # Errors
    /// When the text is not a whole number with a binary unit, or more than 64 bits hold.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let hint = "write bytes as a number, or a unit: `64KiB`, `256MiB`, `4GiB`";
        let (number, unit) = split(text);
        let shift = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, per)| *per);
        match (number, shift) {
            (Some(number), Some(per)) => {
                let size = number.checked_mul(per);
                size.map(Self).ok_or_else(|| unfit(text, "is too large a size", "64 bits must hold it"))
            }
            (Some(number), None) => match meant(unit) {
                Some(unit) => {
                    let hint = format!("write `{number}{unit}`: units are powers of 1024");
                    Err(unfit(text, "is not a size", &hint))
                }
                None => Err(unfit(text, "is not a size", hint)),
            },
            _ => Err(unfit(text, "is not a size", hint)),
        }
    }
}

/// Bytes in each unit, largest first.
const SIZES: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn meant(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "ki" | "kib" => Some("KiB"),
        "m" | "mb" | "mi" | "mib" => Some("MiB"),
        "g" | "gb" | "gi" | "gib" => Some("GiB"),
        "t" | "tb" | "ti" | "tib" => Some("TiB"),
        _ => None,
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES.iter().find(|(_, per)| self.0 > 0 && self.0.is_multiple_of(*per)) {
            Some((unit, per)) => write!(f, "{}{unit}", self.0 / per),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes or a size such as `64KiB`")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
        ByteSize::parse(text).map_err(E::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "format": "uint64", "minimum": 0 },
                { "type": "string", "format": Self::FORMAT, "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$" },
            ],
            "description": "A number of bytes: plain, or with a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`, as in `256MiB`.",
        })
    }
}

/// The number at the start of a text, if it is one, and the rest.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit)
}

fn unfit(text: &str, what: &str, hint: &str) -> Unfit {
    Unfit { message: format!("{} {what}", quoted(text)), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_were_written() {
        for (text, millis) in
            [("0ms", 0), ("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("3650d", LONGEST_MS)]
        {
            let duration = DurationText::parse(text).expect("a good duration");
            assert_eq!(duration, DurationText::from_millis(millis));
            assert_eq!(duration.to_string(), text);
        }
        assert_eq!(DurationText::parse("90s").map(|d| d.to_string()), Ok("90s".to_owned()));
        assert_eq!(DurationText::parse("60s").map(|d| d.to_string()), Ok("1m".to_owned()));
    }

    #[test]
    fn other_durations_are_refused() {
        for text in [
            "",
            "30",
            "s",
            "30 s",
            "1.5s",
            "-1s",
            "+1s",
            "1m30s",
            "30sec",
            "30S",
            "3651d",
            "99999999999999999999ms",
            "٣s",
            "18446744073709551615d",
        ] {
            assert!(DurationText::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_back_as_they_were_written() {
        for (text, bytes) in
            [("0B", 0), ("7B", 7), ("64KiB", 65_536), ("256MiB", 268_435_456), ("4GiB", 4 << 30), ("2TiB", 2 << 40)]
        {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(serde_json::from_value::<ByteSize>(1024.into()).ok(), Some(ByteSize(1024)));
    }

    #[test]
    fn decimal_units_are_refused_with_the_binary_one() {
        let unfit = ByteSize::parse("64KB").expect_err("decimal units are ambiguous");
        assert_eq!(unfit.hint.as_deref(), Some("write `64KiB`: units are powers of 1024"));
        for text in ["", "KiB", "1.5MiB", "-1KiB", "64 KiB", "64XB", "99999999999TiB", "99999999999999999999"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }
}
