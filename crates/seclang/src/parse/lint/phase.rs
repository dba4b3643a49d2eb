//! Variables that are still empty when the rule runs.

use super::super::ast::Variable;
use super::super::report::Report;
use super::{Subject, written};

pub(super) fn lint(subject: &Subject<'_>, report: &mut Report) {
    for target in subject.targets() {
        let first = first_phase(target.value.variable);
        if subject.phase < first {
            let name = written(&target.value);
            report
                .warn(
                    &target.place,
                    format!("`{name}` is not known before phase {first}, and this is phase {}", subject.phase),
                )
                .hint(format!("write `phase:{first}`"));
        }
    }
}

/// The first phase in which a variable can hold anything.
const fn first_phase(variable: Variable) -> u8 {
    match variable {
        Variable::ArgsPost
        | Variable::ArgsPostNames
        | Variable::Files
        | Variable::FilesCombinedSize
        | Variable::FilesNames
        | Variable::FilesSizes
        | Variable::FilesTmpContent
        | Variable::FullRequest
        | Variable::FullRequestLength
        | Variable::InboundDataError
        | Variable::MultipartBoundaryQuoted
        | Variable::MultipartBoundaryWhitespace
        | Variable::MultipartCrlfLfLines
        | Variable::MultipartDataAfter
        | Variable::MultipartDataBefore
        | Variable::MultipartFileLimitExceeded
        | Variable::MultipartFilename
        | Variable::MultipartHeaderFolding
        | Variable::MultipartInvalidHeaderFolding
        | Variable::MultipartInvalidPart
        | Variable::MultipartInvalidQuoting
        | Variable::MultipartLfLine
        | Variable::MultipartMissingSemicolon
        | Variable::MultipartName
        | Variable::MultipartPartHeaders
        | Variable::MultipartSemicolonMissing
        | Variable::MultipartStrictError
        | Variable::MultipartUnmatchedBoundary
        | Variable::ReqbodyError
        | Variable::ReqbodyErrorMsg
        | Variable::ReqbodyProcessorError
        | Variable::ReqbodyProcessorErrorMsg
        | Variable::RequestBody
        | Variable::RequestBodyLength
        | Variable::Xml => 2,
        Variable::ResponseContentLength
        | Variable::ResponseContentType
        | Variable::ResponseHeaders
        | Variable::ResponseHeadersNames
        | Variable::ResponseProtocol
        | Variable::ResponseStatus
        | Variable::StatusLine => 3,
        Variable::OutboundDataError | Variable::ResponseBody => 4,
        _ => 1,
    }
}
