//! How two answers to the same call differ: in the class of their status, their shape, their labels, their numbers.
//!
//! Tensors are compared value by value; of text that was generated only the shape of the JSON around it is, because two
//! runs of the same model rarely write the same words. Pure. An answer that cannot be read is compared byte by byte.

use std::collections::BTreeSet;

use serde_json::Value;
use tollgate_core::call::Dialect;

/// Members at the top of an answer that name the call or the server and are no result.
const ENVELOPE: [&str; 9] =
    ["created", "id", "model", "model_name", "model_version", "object", "request_id", "system_fingerprint", "timings"];
/// The most paths of one shape: more than any dialect has.
const MOST_PATHS: usize = 512;
/// The longest of them: a long name above many values must not be copied for each.
const LONGEST_PATH: usize = 512;

/// When two numbers are the same: either bound is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The largest difference.
    pub max_abs: f64,
    /// The largest difference as a share of the larger of both.
    pub max_relative: f64,
}

/// What an answer is compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// Only the shape of its JSON.
    Shape,
    /// Every value.
    Values,
}

/// One of two answers.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`, in lower case.
    pub content_type: String,
    /// Where binary tensors begin, if there are any.
    pub json_length: Option<usize>,
    /// Its body.
    pub body: Vec<u8>,
    /// Microseconds to its beginning.
    pub latency_us: u32,
}

/// How two answers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// In the class of the status: then nothing else was looked at.
    pub status_differs: bool,
    /// In what is there, or how much of it.
    pub shape_differs: bool,
    /// In a text, a name or a truth value.
    pub labels_differ: bool,
    /// In a number, by more than the tolerance.
    pub numbers_differ: bool,
    /// The largest difference of two numbers.
    pub max_abs: f64,
    /// The largest difference of two numbers, as a share of the larger.
    pub max_relative: f64,
    /// The mirrored call was answered sooner.
    pub faster: bool,
}

impl Comparison {
    /// Whether they are the same answer.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        !(self.status_differs || self.shape_differs || self.labels_differ || self.numbers_differ)
    }
}

impl How {
    /// What answers in a dialect are compared by.
    #[must_use]
    pub const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::KserveV1 | Dialect::Oip | Dialect::OipGrpc | Dialect::Plain | Dialect::TfColumns => Self::Values,
            _ => Self::Shape,
        }
    }
}

/// Compares the answer of the version that serves with that of the one that is mirrored to.
#[must_use]
pub fn compare(how: How, primary: &Side, shadow: &Side, tolerance: Tolerance) -> Comparison {
    let faster = shadow.latency_us < primary.latency_us;
    let mut found = Comparison { faster, ..Comparison::default() };
    if primary.status / 100 != shadow.status / 100 {
        found.status_differs = true;
        return found;
    }
    match how {
        How::Shape => found.shape_differs = shapes(primary) != shapes(shadow),
        How::Values => Both { found: &mut found, tolerance }.values(primary, shadow),
    }
    found
}

/// A comparison of values in the making.
struct Both<'a> {
    found: &'a mut Comparison,
    tolerance: Tolerance,
}

impl Both<'_> {
    fn values(&mut self, primary: &Side, shadow: &Side) {
        let (one, one_rest) = split(primary);
        let (other, other_rest) = split(shadow);
        match (serde_json::from_slice::<Value>(one), serde_json::from_slice::<Value>(other)) {
            (Ok(mut one), Ok(mut other)) => {
                strip(&mut one);
                strip(&mut other);
                self.walk(&one, &other);
                self.binary(&one, one_rest, other_rest);
            }
            (Err(_), Err(_)) => self.found.labels_differ |= primary.body != shadow.body,
            _ => self.found.shape_differs = true,
        }
    }

    /// serde_json has seen to it that nothing nests deeper than 128.
    fn walk(&mut self, one: &Value, other: &Value) {
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => {
                self.numbers(one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            }
            (Value::String(one), Value::String(other)) => self.found.labels_differ |= one != other,
            (Value::Bool(one), Value::Bool(other)) => self.found.labels_differ |= one != other,
            (Value::Null, Value::Null) => {}
            (Value::Array(one), Value::Array(other)) => {
                self.found.shape_differs |= one.len() != other.len();
                for (one, other) in one.iter().zip(other) {
                    self.walk(one, other);
                }
            }
            (Value::Object(one), Value::Object(other)) => {
                let more = other.iter().any(|(name, value)| !value.is_null() && !one.contains_key(name));
                self.found.shape_differs |= more;
                for (name, value) in one.iter().filter(|(_, value)| !value.is_null()) {
                    match other.get(name) {
                        Some(other) => self.walk(value, other),
                        None => self.found.shape_differs = true,
                    }
                }
            }
            _ => self.found.shape_differs = true,
        }
    }

    fn numbers(&mut self, one: f64, other: f64) {
        if one == other || (one.is_nan() && other.is_nan()) {
            return;
        }
        let distance = (one - other).abs();
        let distance = if distance.is_nan() { f64::INFINITY } else { distance };
        let largest = one.abs().max(other.abs());
        let share = if largest > 0.0 && distance.is_finite() { distance / largest } else { distance };
        self.found.max_abs = self.found.max_abs.max(distance);
        self.found.max_relative = self.found.max_relative.max(share);
        self.found.numbers_differ |= distance > self.tolerance.max_abs && share > self.tolerance.max_relative;
    }

    /// Tensors behind the JSON, in the order of its outputs.
    fn binary(&mut self, head: &Value, mut one: &[u8], mut other: &[u8]) {
        if one.len() != other.len() {
            self.found.shape_differs = true;
            return;
        }
        for output in head.get("outputs").and_then(Value::as_array).into_iter().flatten() {
            let size = output.pointer("/parameters/binary_data_size").and_then(Value::as_u64).unwrap_or(0);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let kind = output.get("datatype").and_then(Value::as_str).unwrap_or_default();
            let (Some((ours, one_rest)), Some((theirs, other_rest))) =
                (one.split_at_checked(size), other.split_at_checked(size))
            else {
                self.found.shape_differs = true;
                return;
            };
            self.tensor(kind, ours, theirs);
            (one, other) = (one_rest, other_rest);
        }
        self.found.labels_differ |= one != other;
    }

    fn tensor(&mut self, kind: &str, one: &[u8], other: &[u8]) {
        match kind {
            "FP32" => self.elements(one, other, |bytes| f64::from(f32::from_le_bytes(bytes))),
            "FP64" => self.elements(one, other, f64::from_le_bytes),
            "INT8" => self.elements(one, other, |bytes| f64::from(i8::from_le_bytes(bytes))),
            "UINT8" => self.elements(one, other, |bytes| f64::from(u8::from_le_bytes(bytes))),
            "INT16" => self.elements(one, other, |bytes| f64::from(i16::from_le_bytes(bytes))),
            "UINT16" => self.elements(one, other, |bytes| f64::from(u16::from_le_bytes(bytes))),
            "INT32" => self.elements(one, other, |bytes| f64::from(i32::from_le_bytes(bytes))),
            "UINT32" => self.elements(one, other, |bytes| f64::from(u32::from_le_bytes(bytes))),
            // Whole numbers of 64 bits, texts, truth values and half floats: the same or not.
            _ => self.found.labels_differ |= one != other,
        }
    }

    fn elements<const N: usize>(&mut self, one: &[u8], other: &[u8], value: impl Fn([u8; N]) -> f64) {
        let (one, one_rest) = one.as_chunks::<N>();
        let (other, other_rest) = other.as_chunks::<N>();
        self.found.shape_differs |= one_rest != other_rest;
        for (one, other) in one.iter().zip(other) {
            self.numbers(value(*one), value(*other));
        }
    }
}

/// The JSON of an answer, and the tensors behind it.
fn split(side: &Side) -> (&[u8], &[u8]) {
    let whole = side.body.as_slice();
    side.json_length.and_then(|length| whole.split_at_checked(length)).unwrap_or((whole, &[]))
}

/// Takes out what names the call and the server.
fn strip(answer: &mut Value) {
    if let Some(members) = answer.as_object_mut() {
        members.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
    }
}

/// The paths and types of everything in an answer, or in all the events of a stream; `None` where it is no JSON.
fn shapes(side: &Side) -> Option<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    let mut path = String::new();
    if side.content_type.starts_with("text/event-stream") {
        let text = String::from_utf8_lossy(&side.body);
        for data in text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim) {
            if data != "[DONE]" {
                shape(&serde_json::from_str(data).ok()?, &mut path, &mut paths);
            }
        }
    } else if side.content_type.contains("ndjson") {
        for line in side.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            shape(&serde_json::from_slice(line).ok()?, &mut path, &mut paths);
        }
    } else {
        shape(&serde_json::from_slice(&side.body).ok()?, &mut path, &mut paths);
    }
    Some(paths)
}

fn shape(value: &Value, path: &mut String, paths: &mut BTreeSet<String>) {
    let (kind, length) = match value {
        // A member that is not there and one that is empty mean the same in every dialect.
        Value::Null => return,
        Value::Bool(_) => ("truth", path.len()),
        Value::Number(_) => ("number", path.len()),
        Value::String(_) => ("text", path.len()),
        Value::Array(_) => ("list", path.len()),
        Value::Object(_) => ("object", path.len()),
    };
    if paths.len() < MOST_PATHS && path.len() <= LONGEST_PATH {
        paths.insert(format!("{path}:{kind}"));
    }
    match value {
        Value::Array(items) => {
            path.push_str("[]");
            for item in items {
                shape(item, path, paths);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                path.push('/');
                path.push_str(name);
                shape(member, path, paths);
                path.truncate(length);
            }
        }
        _ => {}
    }
    path.truncate(length);
}

#[cfg(test)]
mod tests;
