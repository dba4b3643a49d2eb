//! What holds for every input.

use std::ops::{ControlFlow, Range};

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use super::super::numbers::Runs;
use super::super::{Bounds, Kind, Part, Piece, Sink, cookies, elements, json, multipart, summary, urlencoded, xml};
use super::{Recorder, shown};
use crate::charset::ByteSet;
use crate::{Knowledge, Known};

/// Wide enough for tests that count.
const WIDE: Bounds = Bounds { arguments: 1 << 20, depth: 64, parts: 1 << 20, part_headers: 64 };

/// Every reader over the same bytes. The recorder panics on a span outside of the body.
fn read_all(body: &[u8], known: &[Known], bounds: &Bounds) {
    let sink = || Recorder::new(body);
    urlencoded(body, b'&', bounds, &mut sink());
    json(body, known, bounds, &mut sink());
    xml(body, bounds, &mut sink());
    multipart(b"multipart/form-data; boundary=B", body, bounds, &mut sink());
    multipart(body, body, bounds, &mut sink());
    cookies(body, &mut |name, value| assert!(body.get(name).is_some() && body.get(value).is_some()));
    elements(body).for_each(drop);
    let _ = summary(body);
}

/// Pieces of all formats, so that random bodies get past the first byte.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const TOKENS: [&[u8]; 46] = [
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\u",
        b"d83d",
        b"\\ude00",
        b"1",
        b"-0.5e3",
        b"null",
        b" ",
        b"\n",
        b"\r\n",
        b"a",
        b"\"a\":",
        b"=",
        b"&",
        b"%",
        b"%41",
        b"+",
        b";",
        b"--B",
        b"--",
        b"--B--\r\n",
        b"--B\r\n",
        b"Content-Disposition: form-data; name=a",
        b"filename=",
        b"filename*=u''%41",
        b"<",
        b">",
        b"<a>",
        b"</a>",
        b"<a b='",
        b"'",
        b"/>",
        b"&amp;",
        b"&#65;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"\xc3",
        b"\0",
    ];
    prop::collection::vec(
        prop_oneof![8 => prop::sample::select(TOKENS.to_vec()).prop_map(<[u8]>::to_vec), 1 => any::<u8>().prop_map(|byte| vec![byte])],
        0..60,
    )
    .prop_map(|pieces| pieces.concat())
}

fn knowledge() -> impl Strategy<Value = Vec<Known>> {
    let one = (0_usize..80, 0_usize..80, any::<bool>()).prop_map(|(start, length, numbers)| Known {
        at: start..start + length,
        what: if numbers { Knowledge::Numbers } else { Knowledge::Prompt },
    });
    prop::collection::vec(one, 0..4)
}

/// Arrays of numbers and of other things, at any nesting.
fn arrays() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        6 => prop::sample::select(vec!["0", "1", "-2.5", "3e8", "0.1E-2", " 4 "]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["\"x\"", "null", "{\"k\":[1]}"]).prop_map(str::to_owned),
        1 => Just("[]".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(" ,")))
    })
}

/// Names and values with all runs unrolled.
#[derive(Default)]
struct Unrolled {
    body: Vec<u8>,
    found: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Sink for Unrolled {
    fn argument(&mut self, name: &[u8], value: Piece<'_>, _: Kind) -> ControlFlow<()> {
        let value = match value {
            Piece::Decoded(text) => text.to_vec(),
            Piece::Span(at) => self.body.get(at).expect("a span lies within the body").to_vec(),
        };
        self.found.push((name.to_vec(), value));
        ControlFlow::Continue(())
    }

    fn numbers(&mut self, prefix: &[u8], array: Range<usize>) -> ControlFlow<()> {
        let array = self.body.get(array).expect("a range lies within the body");
        let mut walk = elements(array);
        let sum = summary(array);
        let (mut mask, mut count, mut longest, mut bytes) = (ByteSet::NONE, 0, 0, 0);
        while let Some(element) = walk.next() {
            let mut name = Vec::new();
            walk.write_name(prefix, &mut name);
            self.found.push((name, element.to_vec()));
            mask = mask.union(ByteSet::of(element));
            (count, longest, bytes) = (count + 1, element.len().max(longest), bytes + element.len());
            assert!(walk.path().len() <= sum.depth && walk.path().iter().all(|index| *index <= sum.widest));
        }
        assert_eq!((sum.mask, sum.count, sum.longest, sum.bytes), (mask, count, longest, bytes));
        ControlFlow::Continue(())
    }

    fn part(&mut self, _: Part<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn xml_text(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn xml_attribute(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A plain recursive reading of an array, for comparison.
fn unroll(text: &mut &str, name: &str, found: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    *text = text.trim_start();
    if let Some(rest) = text.strip_prefix("{\"k\":") {
        *text = rest;
        unroll(text, &format!("{name}.k"), found);
        *text = text.strip_prefix('}').expect("the object ends");
    } else if let Some(rest) = text.strip_prefix('[') {
        *text = rest.trim_start();
        let mut index = 0;
        while !text.starts_with(']') {
            *text = text.strip_prefix(',').unwrap_or(text);
            unroll(text, &format!("{name}.array_{index}"), found);
            *text = text.trim_start();
            index += 1;
        }
        *text = text.strip_prefix(']').expect("the array ends");
    } else {
        let end = text.find([' ', ',', ']', '}']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let value = if value == "null" { "" } else { value.trim_matches('"') };
        found.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        *text = rest;
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_or_point_outside_of_the_body(
        body in prop_oneof![pieces(), prop::collection::vec(any::<u8>(), 0..200)],
        known in knowledge(),
        depth in 0_usize..6,
        arguments in 0_usize..9,
    ) {
        read_all(&body, &known, &Bounds { arguments, depth, parts: depth, part_headers: depth });
        read_all(&body, &known, &Bounds::default());
    }

    #[test]
    fn runs_and_unrolled_arrays_have_the_same_names_and_values(array in arrays()) {
        let body = array.as_bytes().to_vec();
        let mut sink = Unrolled { body: body.clone(), found: Vec::new() };
        prop_assert_eq!(json(&body, &[], &WIDE, &mut sink).error, None);
        let mut expected = Vec::new();
        unroll(&mut array.as_str(), "json", &mut expected);
        prop_assert_eq!(sink.found, expected, "{}", array);
    }

    #[test]
    fn a_sink_that_wants_no_more_is_not_called_again(body in pieces(), patience in 1_usize..5) {
        let count = |read: &dyn Fn(&mut Recorder<'_>) -> Option<&'static str>| {
            let mut sink = Recorder::new(&body);
            sink.patience = patience;
            // One call too many and its count underflows.
            read(&mut sink);
            sink.lines.len() <= patience
        };
        prop_assert!(count(&|sink| json(&body, &[], &WIDE, sink).error), "{}", shown(&body));
        prop_assert!(count(&|sink| urlencoded(&body, b'&', &WIDE, sink).error));
        prop_assert!(count(&|sink| xml(&body, &WIDE, sink).error));
        prop_assert!(count(&|sink| multipart(b"multipart/form-data; boundary=B", &body, &WIDE, sink).error));
    }
}

/// Steps of the search for runs, over a whole document.
fn steps(body: &[u8]) -> usize {
    let mut runs = Runs::default();
    // The reader asks at each bracket that no run covers.
    let mut at = 0;
    while let Some(next) = body.get(at..).and_then(|rest| memchr::memchr(b'[', rest)) {
        at += next;
        at = runs.end_of(body, at, 64).unwrap_or(at + 1);
    }
    runs.steps
}

#[test]
fn nesting_does_not_make_bytes_be_read_once_per_level() {
    let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(60), "]".repeat(60));
    let mut rows = vec![
        deep(&"1,".repeat(50_000)),
        deep(&format!("{}\"x\"", "1,".repeat(50_000))),
        deep(&format!("{}\"x\"", "[1,2,3],".repeat(10_000))),
        deep(&format!("{}\"x\"", "[[[[1]]],2],".repeat(10_000))),
        "[1,".repeat(50_000),
        "[[1,2],\"x\",".repeat(10_000),
        "[1,2,3,4,5,6,\"x\"],".repeat(10_000),
        "[[[[[[[[1],2],3],4],5],6],7],\"x\"],".repeat(5_000),
        "[".repeat(100_000),
        format!("{}1", "[".repeat(64)).repeat(2_000),
    ];
    rows.push(rows.concat());
    for body in rows {
        let steps = steps(body.as_bytes());
        assert!(steps <= 3 * body.len(), "{steps} steps for {} bytes: {:.40}", body.len(), body);
    }
}

#[test]
fn a_hundred_thousand_arguments_and_ten_megabytes_are_read_whole() {
    let count = |body: &[u8]| {
        let mut sink = Unrolled { body: body.to_vec(), found: Vec::new() };
        assert_eq!(json(body, &[], &WIDE, &mut sink).error, None);
        sink.found.len()
    };
    let strings = format!("[{}\"x\"]", "\"x\",".repeat(99_999));
    assert_eq!(count(strings.as_bytes()), 100_000);
    let rows = format!("[{}null]", "[0.1234567890,0.5],".repeat(100_000));
    assert_eq!(count(rows.as_bytes()), 200_001);
    let numbers = format!("[{}1]", "0.123456789,".repeat(870_000));
    assert!(numbers.len() > 10_000_000);
    assert_eq!(count(numbers.as_bytes()), 870_001);
}
