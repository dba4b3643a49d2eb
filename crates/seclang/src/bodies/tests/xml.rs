//! XML. The rows marked `*` are what Debian's libmodsecurity 3.0.9 reports.

use super::super::{Bounds, xml};
use super::{Recorder, shown};

fn read(body: &[u8], bounds: &Bounds) -> (String, Option<&'static str>) {
    let mut sink = Recorder::new(body);
    let report = xml(body, bounds, &mut sink);
    (sink.lines.join(" "), report.error)
}

#[test]
fn text_and_attributes_of_well_formed_documents_are_found() {
    let rows: [(&[u8], &str); 22] = [
        (b"<a>x<b>y</b> z</a>", "text=xy z"),                                     // *
        (b"<a p=\"1\" q=\"2\"><b r=\"&lt;3&#65;\"/></a>", "@=1 @=2 @=<3A text="), // *
        (b"<a><![CDATA[<x>]]>&amp;</a>", "text=<x>&"),                            // *
        (b"<a xmlns=\"http://u\" xmlns:p=\"http://v\" p:q=\"1\"/>", "@=1 text="), // *
        (b"<a><!-- c --><?pi x?>t</a>", "text=t"),                                // *
        (b"<a b=\"x\ny\tz\">1\r\n2</a>", "@=x y z text=1\\n2"),                   // *
        (b"<p:a>x</p:a>", "text=x"),                                              // *
        (b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>", "text=\\xc3\\xa9"), // *
        (b"<?xml version='1.0' encoding='UTF-8'?>\n<a/>\n", "text="),
        (b"<a/>", "text="),
        (b" <a></a> ", "text="),
        (b"<a b='1' b='2'/>", "@=1 @=2 text="),
        (b"<a b='&apos;&quot;&gt;'/>", "@='\"> text="),
        (b"<a>&#x3c;script&#x3E;</a>", "text=<script>"),
        (b"<a b='&#10;'>&#10;</a>", "@=\\n text=\\n"),
        (b"<a>&amp;lt;</a>", "text=&lt;"),
        (b"<a b=\"x\r\ny\"/>", "@=x y text="),
        ("<a b='ü'>é</a>".as_bytes(), "@=\\xc3\\xbc text=\\xc3\\xa9"),
        (b"<a><b>1</b><b>2</b></a>", "text=12"),
        (b"<a><![CDATA[a&amp;]]></a>", "text=a&amp;"),
        (b"\xef\xbb\xbf<a>x</a>", "text=x"),
        (b"<a>x > y</a>", "text=x > y"),
    ];
    for (body, expected) in rows {
        assert_eq!(read(body, &Bounds::default()), (expected.to_owned(), None), "{}", shown(body));
    }
}

#[test]
fn what_is_not_well_formed_or_not_wanted_is_an_error_and_what_was_read_stays() {
    let rows: [(&[u8], &str, &str); 33] = [
        (b"", "", "ends too early"),         // *
        (b"<a>", "text=", "ends too early"), // *
        (b"<a>x", "text=x", "ends too early"),
        (b"<a/><b/>", "text=", "more than one root"), // *
        (b"x<a/>", "", "outside the root"),           // *
        (b"<a/>x", "text=", "outside the root"),      // *
        (b"&#65;<a/>", "", "outside the root"),
        (b"<![CDATA[x]]><a/>", "", "outside the root"),
        (b"<a>x<b></a></b>", "text=x", "not well formed"), // *
        (b"<a b=1/>", "", "attribute is malformed"),       // *
        (b"<a b=\"<\"/>", "", "`<` in an attribute"),      // *
        (b"<a>&e;</a>", "text=", "entity"),                // *
        (b"<a b='&e;'/>", "", "entity"),
        (b"<a b='&'/>", "", "entity"),
        (b"<a>&#0;</a>", "text=", "entity"), // *
        (b"<a>&#xD800;</a>", "text=", "entity"),
        (b"<a>&#+65;</a>", "text=", "entity"),
        (b"<a> & </a>", "text= ", "not well formed"),
        (b"<a>x<?-p?></a>", "text=x", "name is malformed"),      // *
        (b"<a>x<1/></a>", "text=x", "name is malformed"),        // *
        (b"<><a/></>", "", "name is malformed"),                 // *
        (b"<a>x<b c[='d'/></a>", "text=x", "name is malformed"), // *
        (b"<a>x<?xml version='1.0'?></a>", "text=x", "not well formed"), // *
        (b"<?xml lersion='1.0'?><a/>", "", "not well formed"),   // *
        (b"<a>x<b>]]></b></a>", "text=x", "not well formed"),    // *
        (b"<a>x<!-- -- --></a>", "text=x", "not well formed"),   // *
        (b"<!DOCTYPE a [<!ENTITY e \"v\">]><a>&e;</a>", "", "document type"),
        (b"<!DOCTYPE html><a/>", "", "document type"),
        (b"<a>x\xff</a>", "text=x", "not UTF-8"), // *
        (b"<a>x\x01</a>", "text=x", "control character"),
        (b"<?xml version='1.0' encoding='UTF-16'?><a/>", "", "encoding"),
        (b"<?xml version='1.0' encoding='UTF-7'?><a>+ADw-</a>", "", "encoding"),
        (b"\xff\xfe<\0a\0/\0>\0", "", "not UTF-8"),
    ];
    for (body, expected, words) in rows {
        let (found, error) = read(body, &Bounds::default());
        let error = error.unwrap_or("nothing");
        assert!(error.contains(words), "{}: {error}", shown(body));
        if !expected.is_empty() {
            assert_eq!(found, expected, "{}", shown(body));
        }
    }
}

#[test]
fn nesting_and_the_number_of_attributes_are_bounded() {
    let nested = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat();
    let bounds = Bounds { depth: 3, arguments: 2, ..Bounds::default() };
    assert_eq!(read(nested(3).as_bytes(), &bounds).1, None);
    assert_eq!(read(nested(4).as_bytes(), &bounds).1, Some("xml: nested too deep"));
    assert_eq!(read(b"<a b='1'><c d='2'/></a>", &bounds), ("@=1 @=2 text=".to_owned(), None));
    assert_eq!(
        read(b"<a b='1'><c d='2' e='3'/></a>", &bounds),
        ("@=1 @=2 text=".to_owned(), Some("xml: too many attributes"))
    );
}
