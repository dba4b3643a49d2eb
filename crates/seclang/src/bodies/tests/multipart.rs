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
