//! The valid corpus, grown: every request is damaged in many ways, and independent readers judge the verdicts. What
//! `serde_json` cannot read must be refused; what is taken must be read by it with the same values, must hold no key
//! twice, and, under a schema, must be what another run of the schema says.
//!
//! Mutants come from a seeded generator: the same in every run, more of them with `TOLLGATE_MUTANTS`.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tollgate_core::call::{Call, Dialect, Dtype, Tensor, Values};

use crate::judge::{self, Judge};
use crate::reading::{self, Case, File, Request};

/// Mutants of each valid request.
const EACH: u64 = 60;

/// A seeded generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a size")
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// What stands where a value stood.
const STRANGERS: [&str; 30] = [
    "NaN",
    "-Infinity",
    "null",
    "true",
    "\"\"",
    "\"9\"",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "-1",
    "-0",
    "0",
    "1",
    "2.5",
    "1e0",
    "1e39",
    "1e309",
    "1e-400",
    "9223372036854775808",
    "18446744073709551616",
    "01",
    ".5",
    "+1",
    "0x1",
    "tru",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"a\":1,\"\\u0061\":2}",
    "123456789012345678901234567890123",
];
/// What is put in between tokens.
const NOISE: [&str; 16] =
    [",", ":", "[", "]", "{", "}", "\"", "\\", "/**/", "//\n", "\u{feff}", "\0", "\u{a0}", "NaN", " ", "\n"];

/// Damages a body in one way.
fn damage(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = body.to_vec();
    if bytes.is_empty() {
        return b"{".to_vec();
    }
    let at = dice.below(bytes.len());
    match dice.below(14) {
        0 => bytes.truncate(at),
        1 => drop(bytes.remove(at)),
        2 => bytes[at] = dice.next().to_le_bytes()[0],
        3 => bytes[at] ^= 1 << dice.below(8),
        4 => splice(&mut bytes, at, at, dice.of(&NOISE).as_bytes()),
        5 => bytes.extend_from_slice(dice.of(&NOISE).as_bytes()),
        6 => splice(&mut bytes, 0, 0, b"\xEF\xBB\xBF"),
        7 => bytes = String::from_utf8_lossy(&bytes).encode_utf16().flat_map(u16::to_le_bytes).collect(),
        8 => {
            let end = (at + 1 + dice.below(12)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            splice(&mut bytes, at, at, &piece);
        }
        9 => {
            let (open, close) = *dice.of(&[("[", "]"), ("{\"a\":", "}")]);
            let depth = 1 + dice.below(40);
            if let Some((from, to)) = value(&bytes, dice) {
                let inner = String::from_utf8_lossy(&bytes[from..to]).into_owned();
                splice(
                    &mut bytes,
                    from,
                    to,
                    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)).as_bytes(),
                );
            }
        }
        10 => {
            // A member again, under the same name or an escaped one.
            if let Some((from, to)) = member(&bytes, dice) {
                let text = String::from_utf8_lossy(&bytes[from..to]).into_owned();
                let again = if dice.below(2) == 0 { text.clone() } else { escape_first(&text) };
                splice(&mut bytes, to, to, format!(",{again}").as_bytes());
            }
        }
        11 => {
            if let Some((from, to)) = member(&bytes, dice) {
                // The comma behind it stays or goes.
                let to = if bytes.get(to) == Some(&b',') && dice.below(4) > 0 { to + 1 } else { to };
                splice(&mut bytes, from, to, b"");
            }
        }
        _ => {
            if let Some((from, to)) = value(&bytes, dice) {
                splice(&mut bytes, from, to, dice.of(&STRANGERS).as_bytes());
            }
        }
    }
    bytes
}

fn splice(bytes: &mut Vec<u8>, from: usize, to: usize, with: &[u8]) {
    drop(bytes.splice(from..to, with.iter().copied()));
}

/// Writes the first letter of the first string as an escape.
fn escape_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some('"'), Some(letter)) if letter.is_ascii_alphanumeric() => {
            format!("\"\\u{:04x}{}", u32::from(letter), letters.as_str())
        }
        _ => text.to_owned(),
    }
}

/// Where values and members stand, found by a scanner that knows strings and brackets and nothing else.
fn places(bytes: &[u8]) -> (Vec<(usize, usize)>, Vec<(usize, usize)>) {
    let (mut values, mut members) = (Vec::new(), Vec::new());
    for start in 0..bytes.len() {
        let begins = start == 0 || matches!(bytes[start - 1], b':' | b',' | b'[' | b'{' | b' ' | b'\n');
        if !begins {
            continue;
        }
        let Some(end) = end_of(bytes, start) else { continue };
        if bytes.get(end) == Some(&b':') {
            if let Some(to) = end_of(bytes, end + 1) {
                members.push((start, to));
            }
        } else {
            values.push((start, end));
        }
    }
    (values, members)
}

fn end_of(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while *bytes.get(at)? != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 1 => depth -= 1,
            b']' | b'}' if depth == 1 => return Some(at + 1),
            b',' | b':' | b']' | b'}' | b' ' | b'\n' if depth == 0 => return (at > start).then_some(at),
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && at > start).then_some(at)
}

fn value(bytes: &[u8], dice: &mut Dice) -> Option<(usize, usize)> {
    let (values, members) = places(bytes);
    let mut all = values;
    // The value of a member is one, too.
    all.extend(members.iter().filter_map(|(from, to)| Some((end_of(bytes, *from)? + 1, *to))));
    (!all.is_empty()).then(|| *dice.of(&all))
}

fn member(bytes: &[u8], dice: &mut Dice) -> Option<(usize, usize)> {
    let (_, members) = places(bytes);
    (!members.is_empty()).then(|| *dice.of(&members))
}

/// A document as `serde_json` reads it, refused where a key stands twice: its own tree would keep the last.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut object, mut seen) = (serde_json::Map::new(), BTreeSet::new());
        while let Some(key) = members.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom("a key twice"));
            }
            let Once(value) = members.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

/// What an independent reader has against a verdict.
fn objection(file: &File, json: &[u8], request: &Request, verdict: &Result<Call, String>) -> Option<String> {
    let document = serde_json::from_slice::<Once>(json);
    let call = match (verdict, &document) {
        (Ok(call), Ok(_)) => call,
        (Ok(_), Err(error)) => return Some(format!("taken, and serde_json says: {error}")),
        (Err(_), _) => return None,
    };
    let Ok(Once(document)) = document else { return None };
    let mut sent = judge::edited(&request.body, &call.edits);
    if sent != request.body {
        let Ok(Once(edited)) = serde_json::from_slice::<Once>(&sent) else {
            return Some(format!("what would be sent is no JSON: {}", String::from_utf8_lossy(&sent)));
        };
        sent.clear();
        let kept = edited.as_object().is_some_and(|edited| edited.get("model") == document.get("model"));
        if !kept {
            return Some("the edits changed the model".to_owned());
        }
    }
    match call.dialect {
        Dialect::Oip => tensors(call, &document),
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Ollama => texts(call, &document, json),
        Dialect::Json => {
            let schema = file.contract.get("schema").expect("a schema");
            let valid = jsonschema::options().should_validate_formats(true).build(schema).expect("a schema");
            (!valid.is_valid(&document)).then(|| "taken, and the schema says no".to_owned())
        }
        _ => None,
    }
}

/// Tensors in the JSON are what the other reader finds there.
fn tensors(call: &Call, document: &Value) -> Option<String> {
    let inputs = document.get("inputs")?.as_array()?;
    for (tensor, input) in call.inputs.iter().zip(inputs) {
        let Some(data) = input.get("data") else { continue };
        let mut flat = Vec::new();
        flatten(data, &mut flat);
        let product: u64 = tensor.shape.iter().product();
        if flat.len() as u64 != product || tensor.values.len() as u64 != product {
            return Some(format!("{} values for {product}", flat.len()));
        }
        if let Some(at) = (0..flat.len()).find(|at| !same(tensor, *at, flat[*at])) {
            return Some(format!("element {at} of `{}` is {}", tensor.name, flat[at]));
        }
    }
    (call.inputs.len() != inputs.len()).then(|| "inputs that nobody saw".to_owned())
}

fn flatten<'a>(value: &'a Value, flat: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, flat)),
        other => flat.push(other),
    }
}

fn same(tensor: &Tensor, at: usize, found: &Value) -> bool {
    match &tensor.values {
        Values::Bool(values) => found.as_bool() == Some(values[at]),
        Values::Bytes(values) => found.as_str().map(str::as_bytes) == Some(&*values[at]),
        #[expect(clippy::cast_possible_truncation, reason = "as a model reads it")]
        Values::F32(values) => found.as_f64().is_some_and(|found| found as f32 == values[at]),
        Values::F64(values) => found.as_f64() == Some(values[at]),
        // Minus zero is a float to the other reader.
        Values::Int(values) => found.as_i64() == Some(values[at]) || (values[at] == 0 && found.as_f64() == Some(0.0)),
        Values::Raw(..) => tensor.dtype != Dtype::Fp32 || found.is_number(),
        Values::Uint(values) => found.as_u64() == Some(values[at]),
    }
}

/// Every text that the call carries stands in the body as it says, and the model is the one that is asked for.
fn texts(call: &Call, document: &Value, json: &[u8]) -> Option<String> {
    if document.get("model").and_then(Value::as_str) != Some("m") {
        return Some("another model".to_owned());
    }
    for prompt in &call.prompts {
        let written = json.get(prompt.at.clone()).unwrap_or_default();
        if serde_json::from_slice::<String>(written).ok().as_deref() != Some(&*prompt.text) {
            return Some(format!("the text `{}` does not stand where it says", prompt.text));
        }
    }
    let asked = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let largest = asked.iter().filter_map(|name| document.get(*name)?.as_u64()).max();
    let nested = document.pointer("/options/num_predict").and_then(Value::as_u64);
    let told = call.knobs.output_tokens;
    (told.is_some() && told != largest.max(nested)).then(|| format!("a bound of {told:?}, not {largest:?}"))
}

#[test]
fn no_damaged_request_is_taken_that_another_reader_would_read_differently() {
    let each = std::option_env!("TOLLGATE_MUTANTS").and_then(|each| each.parse().ok()).unwrap_or(EACH);
    let (mut taken, mut refused) = (0_u32, 0_u32);
    let mut wrong = Vec::new();
    for (name, file) in reading::corpus().into_iter().filter(|(_, file)| file.protocol != "grpc") {
        let judge = Judge::new(&name, &file);
        for case in &file.taken {
            let mut dice = Dice(case.it.bytes().fold(1, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into())));
            for _ in 0..each {
                let (request, json) = mutant(&file, case, &mut dice);
                let verdict = judge.judge(&request).map_err(|refusal| refusal.code.name().to_owned());
                if verdict.is_ok() {
                    taken += 1
                } else {
                    refused += 1
                }
                let why = objection(&file, &json, &request, &verdict);
                wrong.extend(why.map(|why| format!("{name}: {why}: {}", String::from_utf8_lossy(&request.body))));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(taken > 300 && refused > 5_000, "damage that says something: {taken} taken, {refused} refused");
}

/// A damaged request, and its JSON part.
fn mutant(file: &File, case: &Case, dice: &mut Dice) -> (Request, Vec<u8>) {
    let mut request = file.request(case);
    let prefix = "Inference-Header-Content-Length: ";
    let header = request.headers.iter().position(|line| line.starts_with(prefix));
    let length = header.and_then(|at| request.headers[at][prefix.len()..].parse().ok()).unwrap_or(request.body.len());
    let tail = request.body.split_off(length.min(request.body.len()));
    let mut json = damage(&request.body, dice);
    for _ in 0..dice.below(2) {
        json = damage(&json, dice);
    }
    if let Some(at) = header {
        request.headers[at] = format!("{prefix}{}", json.len());
    }
    request.body = [json.as_slice(), &tail].concat();
    (request, json)
}
