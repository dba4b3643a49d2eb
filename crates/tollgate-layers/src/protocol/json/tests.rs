//! The reader against `serde_json` as an oracle, and against itself.

use proptest::prelude::*;
use serde_json::Value;

use super::{Kind, Limits, Malformed, Reader, What, validate};

/// Builds a tree, as only a test may.
fn tree(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    Ok(match reader.peek()? {
        Kind::Array => {
            reader.enter_array()?;
            let mut items = Vec::new();
            while reader.next_item()? {
                items.push(tree(reader)?);
            }
            Value::Array(items)
        }
        Kind::Bool => Value::Bool(reader.boolean()?),
        Kind::Null => reader.null().map(|()| Value::Null)?,
        Kind::Number => {
            let number = reader.number()?;
            let signed = number.integer.and_then(super::Integer::signed).map(Value::from);
            let unsigned = number.integer.and_then(super::Integer::unsigned).map(Value::from);
            // As `serde_json` keeps them: an integer where it fits, and minus zero is a float.
            match signed.or(unsigned) {
                Some(integer) if number.text != "-0" => integer,
                _ => Value::from(number.value),
            }
        }
        Kind::Object => {
            reader.enter_object()?;
            let mut members = serde_json::Map::new();
            while let Some(key) = reader.next_key()? {
                members.insert(key.into_owned(), tree(reader)?);
            }
            Value::Object(members)
        }
        Kind::String => Value::String(reader.string()?.into_owned()),
    })
}

fn read(text: &[u8]) -> Result<Value, Malformed> {
    let mut reader = Reader::new(text, Limits::default())?;
    let value = tree(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

fn what(text: &str) -> What {
    let skipped = validate(text.as_bytes(), Limits::default()).expect_err("it is malformed");
    assert_eq!(
        read(text.as_bytes()).expect_err("it is malformed").what,
        skipped.what,
        "read and skipped alike: {text}"
    );
    skipped.what
}

#[test]
fn each_mistake_has_its_own_name() {
    assert_eq!(what(""), What::End);
    assert_eq!(what("[1"), What::End);
    assert_eq!(what("\u{feff}{}"), What::ByteOrderMark);
    assert_eq!(what("{\"a\":1,\"\\u0061\":2}"), What::DuplicateKey);
    assert_eq!(what("{\"a\":1,}"), What::Key);
    assert_eq!(what("[1,]"), What::Value);
    assert_eq!(what("[NaN]"), What::Value);
    assert_eq!(what("[1 2]"), What::Separator);
    assert_eq!(what("{\"a\" 1}"), What::Colon);
    assert_eq!(what("{} {}"), What::Trailing);
    assert_eq!(what("\"\\ud800\""), What::Escape);
    assert_eq!(what("\"\t\""), What::Control);
    assert_eq!(what("{\"\\u0000\":1}"), What::Nul);
    assert_eq!(what("1e309"), What::NumberRange);
    assert_eq!(what("123456789012345678901234567890123"), What::NumberLength);
    assert_eq!(what("01"), What::Number);
    assert_eq!(what(&"[".repeat(33)), What::Depth);
    assert!(validate(format!("{}{}", "[".repeat(32), "]".repeat(32)).as_bytes(), Limits::default()).is_ok());
}

#[test]
fn a_malformed_document_says_where() {
    let malformed = validate(b"{\"a\": [1, 2, x]}", Limits::default()).expect_err("it is malformed");
    assert_eq!(malformed.at, 13);
    assert_eq!(malformed.to_string(), "json: expected a value, found a bare word at byte 13");
}

#[test]
fn duplicates_are_found_among_few_and_among_many() {
    for keys in [1_usize, 2, 15, 16, 17, 18, 40, 300] {
        for first in [0, keys / 2, keys - 1] {
            let mut members: Vec<_> = (0..keys).map(|key| format!("\"key{key}\":{{\"key0\":0}}")).collect();
            let fine = format!("{{{}}}", members.join(","));
            assert!(validate(fine.as_bytes(), Limits::default()).is_ok(), "{fine}");
            members.push(format!("\"\\u006bey{first}\":1"));
            assert_eq!(what(&format!("{{{}}}", members.join(","))), What::DuplicateKey, "{keys} keys, {first} twice");
        }
    }
}

/// A number of JSON, as text.
fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec(("[^\0]{0,6}", inner), 0..24)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_number_is_worth_what_the_standard_library_says(text in number_text()) {
        let mut reader = Reader::new(text.as_bytes(), Limits::default()).expect("UTF-8");
        let exact: f64 = text.parse().expect("a number");
        match reader.number() {
            Ok(number) => {
                prop_assert_eq!(number.value.to_bits(), exact.to_bits());
                prop_assert_eq!(number.text, text.as_str());
                prop_assert!(reader.finish().is_ok());
            }
            Err(malformed) => {
                let long = malformed.what == What::NumberLength && text.len() > 32;
                let large = malformed.what == What::NumberRange && exact.is_infinite();
                prop_assert!(long || large, "{} is refused: {}", text, malformed);
            }
        }
    }

    #[test]
    fn a_row_takes_numbers_as_one_by_one_and_leaves_what_it_does_not_know(
        texts in proptest::collection::vec((number_text(), "(,|, |,  | ,|,\n)"), 1..40),
        most in 0..40_u64,
        last in "(1|-0|0\\.|\"1\"|null|\\[1\\]|01|1e|)",
    ) {
        let items: String = texts.iter().map(|(number, comma)| [number.as_str(), comma].concat()).collect();
        let list = format!("[{items}{last}] and some text behind it, as long as a window");
        let one_by_one = |most: u64| -> Result<(Vec<u64>, usize), Malformed> {
            let mut reader = Reader::new(list.as_bytes(), Limits::default())?;
            reader.enter_array()?;
            let mut values = Vec::new();
            while reader.next_item()? {
                if reader.row(most, |value| { values.push(value.to_bits()); true }) == 0 {
                    values.push(reader.number()?.value.to_bits());
                }
            }
            Ok((values, reader.at()))
        };
        prop_assert_eq!(one_by_one(most.max(1)), one_by_one(0));
    }

    #[test]
    fn what_serde_json_writes_is_read_back(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("it is written");
        prop_assert_eq!(read(text.as_bytes()), Ok(value));
        prop_assert!(validate(text.as_bytes(), Limits::default()).is_ok());
    }

    #[test]
    fn what_is_taken_serde_json_takes_with_the_same_values(text in "[\\[\\]{}\",:0-9eE+.\\- a-f\\\\untrls]{0,40}") {
        if let Ok(value) = read(text.as_bytes()) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
        }
    }

    #[test]
    fn reading_and_skipping_agree_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(read(&bytes).is_ok(), validate(&bytes, Limits::default()).is_ok());
    }
}
