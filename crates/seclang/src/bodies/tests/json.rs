//! JSON. The rows marked `*` are what Debian's libmodsecurity 3.0.9 reports (arrays of numbers apart: it unrolls them).

use super::super::{Bounds, elements, json, summary};
use super::{Recorder, shown};
use crate::charset::ByteSet;
use crate::{Knowledge, Known};

fn read(body: &[u8]) -> (String, Option<&'static str>) {
    let mut sink = Recorder::new(body);
    let report = json(body, &[], &Bounds::default(), &mut sink);
    (sink.lines.join(" "), report.error)
}

#[test]
fn values_are_named_as_libmodsecurity_names_them() {
    let rows: [(&str, &str); 35] = [
        ("", ""), // *
        (
            r#"{"a":[{"b":"1"},["2",["3"]]]}"#,
            "json.a.array_0.b=1 json.a.array_1.array_0=2 json.a.array_1.array_1.array_0=3",
        ), // *
        (r#"["1",["2","3"],[],{}]"#, "json.array_0=1 json.array_1.array_0=2 json.array_1.array_1=3"), // *
        (r#"{"":1,"x":{"":["1"]}}"#, "json.empty-key=1 json.x.empty-key.array_0=1"), // *
        (r#"[{"":{"":1}}]"#, "json.array_0.empty-key.empty-key=1"), // *
        (r#""s""#, "json=s"), // *
        ("12", "json=12"), // *
        ("null", "json="), // *
        (r#"{"a":null,"b":true,"c":1.50e+3}"#, "json.a= json.b=true json.c=1.50e+3"), // *
        (r#"{"b":false}"#, "json.b=false"),
        (r#"{"a":1,"a":2}"#, "json.a=1 json.a=2"),                         // *
        (r#"{"a":"\ud83d\ude00\u0041"}"#, "json.a=\\xf0\\x9f\\x98\\x80A"), // *
        (r#"{"a":"\u0000b"}"#, "json.a=\\x00b"),                           // *
        (r#"{"a":"\/\b\f\n\r\t\"\\"}"#, "json.a=/\\x08\\x0c\\n\\r\\t\"\\\\"), // *
        ("[[],[[]]]", ""),                                                 // *
        ("[]", ""),
        ("{}", ""),
        (r#"{"a.b":{"c":[true,"t",null]}}"#, "json.a.b.c.array_0=true json.a.b.c.array_1=t json.a.b.c.array_2="), // *
        (r#"{"a":[1,{"":[2]},3]}"#, "json.a.array_0=1 json.a.array_1.empty-key#[2] json.a.array_2=3"),            // *
        (r#"{"a":{},"b":1}"#, "json.b=1"),                                                                        // *
        (r#"{"a":[],"":1}"#, "json.empty-key=1"),                                                                 // *
        (r#"{"\u0061":1}"#, "json.a=1"),                                                                          // *
        (r#"{"\u002e":1}"#, "json..=1"),
        (r#"{"a":1e5,"b":-0}"#, "json.a=1e5 json.b=-0"),         // *
        ("[1.0,-0,1E+2,[[2]],3]", "json#[1.0,-0,1E+2,[[2]],3]"), // *
        (r#"{"a":[1,2]}"#, "json.a#[1,2]"),
        (r#"{"a":[1]}"#, "json.a#[1]"),
        (r#"{"a":[ [] , [ 1 ] , [ ] ]}"#, "json.a#[ [] , [ 1 ] , [ ] ]"),
        (r#"[1,"x",[2,3]]"#, "json.array_0=1 json.array_1=x json.array_2#[2,3]"),
        (r#"[[1,2],[3,"x"],[4]]"#, "json.array_0#[1,2] json.array_1.array_0=3 json.array_1.array_1=x json.array_2#[4]"),
        (r#"[[[1]],null]"#, "json.array_0#[[1]] json.array_1="),
        (" \t\r\n{ \"a\" : 1 , \"b\" : [ 1 , 2 ] } \n", "json.a=1 json.b#[ 1 , 2 ]"),
        (r#"{"a":"é"}"#, "json.a=\\xc3\\xa9"),
        (r#"{"a":"<script>"}"#, "json.a=<script>"),
        (r#"{"a":{"b":{"c":1},"d":2},"e":3}"#, "json.a.b.c=1 json.a.d=2 json.e=3"),
    ];
    for (body, expected) in rows {
        assert_eq!(read(body.as_bytes()), (expected.to_owned(), None), "{body}");
    }
}

#[test]
fn what_is_not_json_is_an_error_and_what_was_read_stays() {
    let rows: [(&[u8], &str, &str); 48] = [
        (b"  ", "", "ends too early"),                              // *
        (b"{\"a\":1} x", "json.a=1", "behind the document"),        // *
        (b"{\"a\":1}{\"b\":2}", "json.a=1", "behind the document"), // *
        (b"[1,2] 3", "json#[1,2]", "behind the document"),
        (b"{\"a\":01}", "json.a=0", "neither `,` nor `}`"), // *
        (b"[01]", "json.array_0=0", "neither `,` nor `]`"),
        (b"[-01]", "json.array_0=-0", "neither"),
        (b"{\"b\":1,\"a\":NaN}", "json.b=1", "is none"), // *
        (b"[1,NaN]", "json.array_0=1", "is none"),
        (b"[1,-Infinity]", "json.array_0=1", "number is malformed"),
        (b"[Infinity]", "", "is none"),
        (b"{\"a\":\"x\ty\"}", "", "control character"), // *
        (b"{\"a\":\"\0\"}", "", "control character"),
        (b"{\"a\":\"\xff\"}", "", "not UTF-8"), // *
        (b"{\"a\":\"\xc0\xaf\"}", "", "not UTF-8"),
        (b"{\"a\":\"\xed\xa0\x80\"}", "", "not UTF-8"),
        (b"{\"\xff\":1}", "", "not UTF-8"),
        (b"{\"a\":1,}", "json.a=1", "not a string"), // *
        (b"[1,]", "json.array_0=1", "is none"),
        (b"[,1]", "", "is none"),                                     // *
        (b"[1 2]", "json.array_0=1", "neither `,` nor `]`"),          // *
        (b"[1,2", "json.array_0=1 json.array_1=2", "ends too early"), // *
        (b"[1,2,", "json.array_0=1 json.array_1=2", "ends too early"),
        (b"[[1],[2", "json.array_0#[1] json.array_1.array_0=2", "ends too early"),
        (b"[1}", "json.array_0=1", "neither `,` nor `]`"),
        (b"{\"a\":1]", "json.a=1", "neither `,` nor `}`"),
        (b"[1\x0c]", "json.array_0=1", "neither `,` nor `]`"),
        (b"[\x0c1]", "", "is none"),
        (b"[\x0c]", "", "is none"),
        (b"{\"a\" 1}", "", "no `:`"), // *
        (b"{a:1}", "", "not a string"),
        (b"{'a':1}", "", "not a string"),   // *
        (b"\xef\xbb\xbf{}", "", "is none"), // *
        (b"/*x*/{}", "", "is none"),        // *
        (b"tru", "", "is none"),            // *
        (b"truely", "json=true", "behind the document"),
        (b"-", "", "number is malformed"),          // *
        (b"{\"a\":1.}", "", "number is malformed"), // *
        (b"[1.]", "", "number is malformed"),
        (b"[1e+]", "", "number is malformed"),
        (b"[.5]", "", "is none"),
        (b"[+1]", "", "is none"),
        (b"{\"a\":\"\\q\"}", "", "escape is malformed"), // *
        (b"{\"a\":\"\\u12\"}", "", "escape is malformed"),
        (b"{\"a\":\"\\ud800\"}", "", "surrogate"),
        (b"{\"a\":\"\\ud800\\u0041\"}", "", "surrogate"),
        (b"{\"a\":\"\\udc00\"}", "", "surrogate"),
        (b"{\"a\":\"b\",\"c\":\"d\\\"", "json.a=b", "ends too early"), // *
    ];
    for (body, expected, words) in rows {
        let (found, error) = read(body);
        assert_eq!(found, expected, "{}", shown(body));
        let error = error.unwrap_or("nothing");
        assert!(error.contains(words), "{}: {error}", shown(body));
    }
}

#[test]
fn depth_is_bounded_for_objects_arrays_and_runs() {
    let bounds = Bounds { depth: 3, ..Bounds::default() };
    let error = |body: &str| json(body.as_bytes(), &[], &bounds, &mut Recorder::new(body.as_bytes())).error;
    for (fits, deep) in
        [("[[[1]]]", "[[[[1]]]]"), (r#"[[["x"]]]"#, r#"[[[["x"]]]]"#), (r#"{"a":[[1]]}"#, r#"{"a":[[[1]]]}"#)]
    {
        assert_eq!(error(fits), None, "{fits}");
        assert_eq!(error(deep), Some("json: nested too deep"), "{deep}");
    }
}

#[test]
fn a_run_counts_as_one_argument() {
    let bounds = Bounds { arguments: 2, ..Bounds::default() };
    let count = |body: &[u8]| {
        let mut sink = Recorder::new(body);
        (json(body, &[], &bounds, &mut sink).error, sink.lines.len())
    };
    assert_eq!(count(br#"{"a":[1,2,3,4],"b":[5,6]}"#), (None, 2));
    assert_eq!(count(br#"{"a":[1,2,3,4],"b":[5,6],"c":1}"#), (Some("too many arguments"), 2));
}

#[test]
fn what_the_caller_knows_is_not_read_again() {
    let body = br#"{"p":"hi\n","q":["x",{"r":"y"}],"n":[1,2],"s":"z","m":[3,"no"]}"#;
    let at = |text: &str, what| {
        let start = memchr::memmem::find(body, text.as_bytes()).expect("it is there");
        Known { at: start..start + text.len(), what }
    };
    let known = [
        at(r#""hi\n""#, Knowledge::Prompt),
        at(r#"["x",{"r":"y"}]"#, Knowledge::Prompt),
        at("[1,2]", Knowledge::Numbers),
        at(r#"[3,"no"]"#, Knowledge::Numbers),
    ];
    let mut sink = Recorder::new(body);
    assert_eq!(json(body, &known, &Bounds::default(), &mut sink).error, None);
    assert_eq!(
        sink.lines,
        ["json.p?=hi\\n", "json.q.array_0?=x", "json.q.array_1.r?=y", "json.n#[1,2]", "json.s=z", r#"json.m#[3,"no"]"#]
    );
}

#[test]
fn knowledge_that_does_not_fit_the_body_is_ignored() {
    let body = br#"{"a":[1,2],"b":"x"}"#;
    for at in [0..1, 6..9, 5..900, 900..901, 5..8] {
        let known = [Known { at, what: Knowledge::Numbers }];
        let mut sink = Recorder::new(body);
        assert_eq!(json(body, &known, &Bounds::default(), &mut sink).error, None);
        assert_eq!(sink.lines, ["json.a#[1,2]", "json.b=x"]);
    }
}

#[test]
fn a_long_key_above_many_values_is_refused_before_it_costs() {
    let key = "k".repeat(1 << 20);
    let body = format!(r#"{{"{key}":["{}"]}}"#, r#"",""#.repeat(900));
    let (_, error) = read(body.as_bytes());
    assert_eq!(error, Some("the names of the arguments are too long together"));
}

#[test]
fn elements_are_named_by_their_indices() {
    let mut names = Vec::new();
    let mut walk = elements(b"[ 1, [2.5,[]], [[-3e4 ]] ,5]");
    while let Some(element) = walk.next() {
        let mut name = Vec::new();
        walk.write_name(b"json.a", &mut name);
        names.push(format!("{}={} {:?}", shown(&name), shown(element), walk.path()));
    }
    assert_eq!(
        names,
        [
            "json.a.array_0=1 [0]",
            "json.a.array_1.array_0=2.5 [1, 0]",
            "json.a.array_2.array_0.array_0=-3e4 [2, 0, 0]",
            "json.a.array_3=5 [3]"
        ]
    );
}

#[test]
fn a_summary_tells_what_occurs_and_how_long_it_is() {
    let found = summary(b"[ 1, [2.5,[]], [[-3e4 ]] ,5]");
    assert_eq!((found.count, found.longest, found.bytes, found.depth), (4, 4, 9, 3));
    assert_eq!(found.mask, ByteSet::of(b"12.5-3e4"));
    assert!(found.widest >= 3);
    assert_eq!(summary(b"[]"), super::super::Summary { depth: 1, ..Default::default() });
}
