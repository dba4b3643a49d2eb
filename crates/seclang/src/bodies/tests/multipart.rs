//! Multipart. The rows marked `*` are what Debian's libmodsecurity 3.0.9 reports.

use super::super::{Bounds, MultipartFlags, multipart};
use super::Recorder;

const TYPE: &str = "multipart/form-data; boundary=B";

fn read(content_type: &str, body: &str, bounds: &Bounds) -> (Vec<String>, Option<&'static str>, MultipartFlags) {
    let mut sink = Recorder::new(body.as_bytes());
    let report = multipart(content_type.as_bytes(), body.as_bytes(), bounds, &mut sink);
    (sink.lines, report.error, report.multipart)
}

/// The names of the flags that are set.
fn names(flags: &MultipartFlags) -> String {
    let all = [
        ("quoted", flags.boundary_quoted),
        ("whitespace", flags.boundary_whitespace),
        ("after", flags.data_after),
        ("before", flags.data_before),
        ("folding", flags.header_folding),
        ("badfolding", flags.invalid_header_folding),
        ("badpart", flags.invalid_part),
        ("badquoting", flags.invalid_quoting),
        ("lf", flags.lf_line),
        ("mixed", flags.crlf_lf_lines),
        ("semicolon", flags.missing_semicolon),
        ("strict", flags.strict_error),
    ];
    let mut set: Vec<_> = all.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect();
    if flags.unmatched_boundary_value() > 0 {
        set.push(format!("unmatched{}", flags.unmatched_boundary_value()));
    }
    set.join(" ")
}

const NAMED: &str = "Content-Disposition: form-data; name=\"a\"";

/// `{}` stands for a disposition with the name `a`, `~` for CRLF.
fn filled(pattern: &str) -> String {
    pattern.replace("{}", NAMED).replace('~', "\r\n")
}

#[test]
fn flags_say_what_others_may_read_differently() {
    let rows: [(&str, &str, &str); 34] = [
        ("--B~{}~~x\n--B--", "a=x", "lf mixed strict"),                // *
        ("pre\n--B--~", "", "before lf mixed strict"),                 // *
        ("--B~{}~~x~--B--~", "a=x", ""),                               // *
        ("--B~{}~~x~--B--", "a=x", ""),                                // *
        ("--B~{}~~x~--B~{}~~y~--B--~", "a=x a=y", ""),                 // *
        ("--B~{}~~~--B--~", "a=", ""),                                 // *
        ("--B--~", "", ""),                                            // *
        ("", "", ""),                                                  // *
        ("--B\n{}\n\nx\n--B--\n", "a=x", "lf strict"),                 // *
        ("--B~{}~~x\n--B--~", "a=x", "lf mixed strict"),               // *
        ("--B~{}~~x\n--B~{}~~y~--B--~", "a=x a=y", "lf mixed strict"), // *
        ("--B~{}\n~x~--B--~", "a=x", "lf mixed strict"),               // *
        ("--B~{}~~x\ny~--B--~", "a=x\\ny", ""),                        // *
        ("--B~{}~~x~\n--B--~", "a=x\\r\\n", "lf mixed strict"),        // *
        ("pre~--B~{}~~x~--B--~", "a=x", "before strict"),              // *
        ("~--B~{}~~x~--B--~", "a=x", "before strict"),
        ("--B~{}~~x~--B--~post", "a=x", "after strict"),       // *
        ("--B~{}~~x~--B--~~", "a=x", "after strict"),          // *
        ("--B~{}~~--C~--B--~", "a=--C", "unmatched2"),         // *
        ("--B~{}~~x --B y~--B--~", "a=x --B y", "unmatched2"), // *
        ("--B~{}~~--~--B--~", "a=--", "unmatched2"),
        ("--B~{}~X-A: b~ fold~~x~--B--~", "a=x", "folding strict"), // *
        ("--B~{}~X-A: b~\x0bfold~~x~--B--~", "a=x", "folding badfolding strict"), // *
        ("--B~Content-Disposition: form-data;~ name=a~~x~--B--~", "a=x", "folding strict"),
        ("--B~Content-Disposition: form-data; name='a'~~x~--B--~", "a=x", "badquoting strict"), // *
        ("--B~Content-Disposition: form-data; name=\"a'b\"~~x~--B--~", "a'b=x", ""),
        ("--B~Content-Disposition: form-data; name=a'b~~x~--B--~", "a'b=x", "badquoting strict"),
        ("--B~Content-Disposition: form-data; name=\"a\\\"b\"~~x~--B--~", "a\"b=x", ""), // *
        ("--B~Content-Disposition: form-data; name=\"a\\xb\\\\\"~~x~--B--~", "a\\\\xb\\\\=x", ""), // *
        ("--B~Content-Disposition: form-data; name=a;~~x~--B--~", "a=x", ""),            // *
        ("--B~content-disposition: form-data; name=a~~x~--B--~", "a=x", ""),
        ("--B~Content-Disposition:form-data;name=a~~x~--B--~", "a=x", ""),
        ("--B~{}~~x~y~--B--~", "a=x\\r\\ny", ""),
        ("--B~{}; filename=\"\"~~x~--B--~", "a=x", ""), // *
    ];
    for (pattern, arguments, flags) in rows {
        let (lines, error, found) = read(TYPE, &filled(pattern), &Bounds::default());
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("part ")).collect();
        assert_eq!((lines.join(" "), error), (arguments.to_owned(), None), "{pattern:?}");
        assert_eq!(names(&found), flags, "{pattern:?}");
    }
}

#[test]
fn errors_are_told_and_what_follows_is_read_where_that_makes_sense() {
    let rows: [(&str, &str, &str); 34] = [
        ("--B~{}~~x~", "a=x", "final boundary is missing"), // *
        ("--B~{}~~x", "a=x", "final boundary is missing"),
        ("--B~{}", "", "final boundary is missing"),
        ("x~", "", "no boundary in the body"),
        ("--B", "", "no boundary in the body"),
        ("--Bx~{}~~x~--B--~", "", "something behind a boundary"), // *
        ("--B~{}~~x~--B x~y", "a=x", "something behind a boundary"),
        ("--B~{}~~x~-- B~y", "a=x", "white space before a boundary"),
        ("--B~{}~~--B--", "a=", "headers of a part do not end"),
        ("--B ~{}~~x~--B--~", "", "something behind a boundary"),
        ("-- B~{}~~x~--B--~", "", "white space before a boundary"), // *
        ("--B~~x~--B--~", "=x", "without a disposition"),           // *
        ("--B~{}~--B--~", "", "headers of a part do not end"),      // *
        ("--B~{}~~--B--~", "a=", "headers of a part do not end"),   // *
        ("--B~content-disposition : form-data; name=a~~x~--B--~", "=x", "without a disposition"), // *
        ("--B~{}~{}~~x~--B--~", "a=x", "header twice"),
        ("--B~no colon~{}~~x~--B--~", "a=x", "without a colon"), // *
        ("--B~: b~{}~~x~--B--~", "a=x", "header without a name"),
        ("--B~ fold~{}~~x~--B--~", "a=x", "folded line without"),
        ("--B~{}~X: \0~~x~--B--~", "a=x", "NUL"),
        ("--B~Content-Disposition: form-data; name=a; name=b~~x~--B--~", "a=x", "parameter twice"), // *
        ("--B~Content-Disposition: form-data~~x~--B--~", "=x", "without a name"),
        ("--B~Content-Disposition: form-data; name=\"\"~~x~--B--~", "=x", "without a name"),
        ("--B~Content-Disposition: attachment; name=a~~x~--B--~", "=x", "not form data"), // *
        ("--B~Content-Disposition: Form-Data; name=a~~x~--B--~", "=x", "not form data"),  // *
        ("--B~Content-Disposition: form-data; Name=a~~x~--B--~", "a=x", "unknown parameter"), // *
        ("--B~{}; foo=bar~~x~--B--~", "a=x", "unknown parameter"),                        // *
        ("--B~{}; filename=\"x\"y~~x~--B--~", "", "no semicolon"),                        // *
        ("--B~{}; filename=x y~~x~--B--~", "", "no semicolon"),                           // *
        ("--B~{}; filename~~x~--B--~", "a=x", "malformed"),
        ("--B~{}; filename=~~x~--B--~", "a=x", "malformed"),
        ("--B~Content-Disposition: form-data; name=\"a~~x~--B--~", "a=x", "quote is not closed"),
        ("--B~Content-Disposition: form-data; name=\"a\"\r~~x~--B--~", "a=x", "no semicolon"), // *
        ("--B~Content-Disposition: form-data; name=\"a\\~~x~--B--~", "a\\\\=x", "quote is not closed"),
    ];
    for (pattern, arguments, words) in rows {
        let (lines, error, flags) = read(TYPE, &filled(pattern), &Bounds::default());
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("part ")).collect();
        let error = error.unwrap_or("nothing");
        assert!(error.contains(words), "{pattern:?}: {error}");
        assert_eq!(lines.join(" "), arguments, "{pattern:?}");
        assert_eq!(flags.strict_error, error != "nothing", "{pattern:?}");
    }
}

#[test]
fn a_file_is_a_part_and_no_argument() {
    let rows = [
        ("; filename=\"f.txt\"~Content-Type: text/plain", "f.txt", "|Content-Type: text/plain", None),
        ("; filename=b", "b", "", None),
        ("; filename=\"a b\"", "a b", "", None),
        ("; filename=\"C:\\dir\\f\"", "C:\\\\dir\\\\f", "", None),
        ("; filename=\"x", "x", "", Some("multipart: a quote is not closed in a disposition")),
        ("; FileName=b", "b", "", Some("multipart: an unknown parameter in a disposition")),
        ("; foo=bar; filename=b", "b", "", Some("multipart: an unknown parameter in a disposition")),
        ("; filename=b; filename=c", "b", "", Some("multipart: a parameter twice in a disposition")),
        ("; filename = b", "b", "", None),
        ("; filename*=UTF-8''b%20c", "b c", "", Some("multipart: `filename*` is not allowed in form data")),
        ("; filename*=\"b%2\"", "b%2", "", Some("multipart: `filename*` is not allowed in form data")),
        ("; filename=b; filename*=c", "b", "", Some("multipart: `filename*` is not allowed in form data")),
    ];
    for (more, filename, headers, expected) in rows {
        let pattern = format!("--B~{{}}{more}~~x1~2~--B--~");
        let (lines, error, _) = read(TYPE, &filled(&pattern), &Bounds::default());
        let disposition = more.split('~').next().unwrap_or_default().replace('\\', "\\\\");
        assert_eq!(
            lines,
            [format!("part a Some(\"{}\") x1\\r\\n2 {NAMED}{disposition}{headers}", filename.replace('\\', "\\\\"))]
        );
        assert_eq!(error, expected, "{more}");
    }
}

#[test]
fn header_lines_are_whole_and_folds_are_joined() {
    let body = filled("--B~{}~Content-Type: text/plain;~\t charset=x~odd~~x~--B--~");
    let (lines, ..) = read(TYPE, &body, &Bounds::default());
    assert_eq!(
        lines.first().map(String::as_str),
        Some(&*format!("part a None x {NAMED}|Content-Type: text/plain; charset=x|odd"))
    );
}

#[test]
fn the_content_type_gives_the_boundary() {
    let rows: [(&str, &str, &str); 24] = [
        ("multipart/form-data; boundary=B", "", ""),                  // *
        ("Multipart/Form-Data;boundary=B", "", ""),                   // *
        ("multipart/form-data; boundary=\"B\"", "", "quoted strict"), // *
        ("multipart/form-data; boundary=B; charset=x", "", ""),       // *
        ("multipart/form-data boundary=B", "", "semicolon strict"),   // *
        ("multipart/form-data; boundary =B", "", "whitespace strict"),
        ("multipart/form-data; boundary= B", "", "whitespace strict"),
        ("multipart/form-data; boundary=B ", "", "whitespace strict"),
        ("multipart/form-data; Boundary=B", "lower case", "strict"), // *
        ("multipart/form-data; charset=x; boundary=B", "malformed", "strict"), // *
        ("multipart/form-data;; boundary=B", "malformed", "strict"),
        ("multipart/form-data; boundary=\"B", "characters", "strict"), // *
        ("multipart/form-data; boundary=B\"", "characters", "strict"),
        ("multipart/form-data; boundary=", "empty", "strict"),
        ("multipart/form-data; boundary=\"\"", "empty", "quoted strict"),
        ("multipart/form-data; boundary=B; boundary=C", "more than one", "strict"), // *
        ("multipart/form-data; boundary=B; BOUNDARY=C", "more than one", "strict"),
        ("multipart/form-data", "no boundary", "strict"), // *
        ("multipart/form-data; boundary", "no boundary", "strict"),
        ("multipart/form-data; boundaryx=B", "malformed", "strict"),
        ("multipart/form-data; boundary=B*", "characters", "strict"), // *
        ("multipart/mixed; boundary=B", "not form data", "strict"),
        ("multipart", "not form data", "strict"),
        ("", "not form data", "strict"),
    ];
    for (content_type, words, flags) in rows {
        let (lines, error, found) = read(content_type, &filled("--B~{}~~x~--B--~"), &Bounds::default());
        let error = error.unwrap_or_default();
        assert!(error.contains(words) && error.is_empty() == words.is_empty(), "{content_type}: {error}");
        assert_eq!(names(&found), flags, "{content_type}");
        assert_eq!(lines.last().is_some_and(|line| line == "a=x"), words.is_empty(), "{content_type}");
    }
    let long = format!("multipart/form-data; boundary={}", "B".repeat(1000));
    assert_eq!(read(&long, "", &Bounds::default()).1, Some("multipart: the content type is too long"));
    let (_, error, found) =
        read("multipart/form-data; boundary=\"B\"", &filled("--\"B\"~{}~~x~--B--~"), &Bounds::default());
    assert_eq!((error, names(&found)), (Some("multipart: quotes at a boundary"), "quoted strict".to_owned()));
}

#[test]
fn parts_headers_and_their_length_are_bounded() {
    let bounds = Bounds { parts: 2, part_headers: 2, ..Bounds::default() };
    let error = |pattern: &str| read(TYPE, &filled(pattern), &bounds).1;
    assert_eq!(error("--B~{}~~x~--B~{}~~x~--B--~"), None);
    assert_eq!(error("--B~{}~~x~--B~{}~~x~--B~{}~~x~--B--~"), Some("multipart: too many parts"));
    assert_eq!(error("--B~{}~b:c~~x~--B--~"), None);
    assert_eq!(error("--B~{}~b:c~d:e~~x~--B--~"), Some("multipart: too many headers in a part"));
    let long = |length: usize| format!("--B~{{}}~b:{}~~x~--B--~", "c".repeat(length));
    assert_eq!(error(&long(4094)), None);
    assert_eq!(error(&long(4095)), Some("multipart: a header is too long"));
    let folds = format!("--B~{{}}~b:c{}~~x~--B--~", format!("~ {}", "c".repeat(1000)).repeat(5));
    assert_eq!(error(&folds), Some("multipart: a header is too long"));
}
