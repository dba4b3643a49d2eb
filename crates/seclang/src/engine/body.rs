//! Puts a request's body on the shelves, read by the processor that rules or its content type choose.

use std::ops::{ControlFlow, Range};

use crate::bodies::{self, Bounds, Kind, MultipartFlags, Part, Piece, Report, Sink};
use crate::engine::head::length;
use crate::engine::inputs::{Form, Inputs, Span};
use crate::engine::state::State;
use crate::engine::{Known, Processor};
use crate::ir::shelf::Shelf;
use crate::ir::{Profile, RuleSet};
use crate::parse::ast::{LimitAction, Variable};

/// What is known of a body besides its bytes.
pub(crate) struct Given<'a> {
    pub(crate) processor: Processor,
    pub(crate) known: &'a [Known],
}

/// The body is larger than the rules allow, and they want it refused.
pub(crate) struct TooLarge;

/// Reads the body that `inputs` holds.
pub(crate) fn read(inputs: &mut Inputs, state: &mut State, rules: &RuleSet, given: &Given<'_>) -> Result<(), TooLarge> {
    let mut report = Report::default();
    let mut over = Ok(());
    if state.request_body {
        let content_type = inputs.first(Variable::RequestHeaders, Some(b"content-type")).unwrap_or_default().to_vec();
        choose(state, given.processor);
        over = limit(inputs, state, rules);
        report = process(inputs, state, rules, (&content_type, given));
        if fills_body(state, rules, given.processor, &content_type) {
            inputs.set_span(Variable::RequestBody, Span::of_body(0, inputs.body().len()));
        }
    }
    inputs.set_number(Variable::RequestBodyLength, length(inputs.body().len()));
    inputs.set_number(Variable::ArgsCombinedSize, length(inputs.argument_bytes));
    inputs.set_number(Variable::FilesCombinedSize, length(inputs.file_bytes));
    results(inputs, &report);
    full_request(inputs, rules);
    over
}

/// The two content types of HTML forms have their reader before phase 1, as in ModSecurity; a rule may choose another.
pub(crate) fn announce(inputs: &Inputs, state: &mut State) {
    let content_type = inputs.first(Variable::RequestHeaders, Some(b"content-type")).unwrap_or_default();
    let is = |prefix: &[u8]| content_type.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    if is(b"application/x-www-form-urlencoded") {
        state.processor = "URLENCODED".into();
    } else if is(b"multipart/form-data") {
        state.processor = "MULTIPART".into();
    }
}

/// What the embedder knows goes before what the rules chose.
fn choose(state: &mut State, processor: Processor) {
    match processor {
        Processor::Auto => {}
        Processor::Json => state.processor = "JSON".into(),
        Processor::None => state.processor = Box::default(),
    }
}

fn limit(inputs: &mut Inputs, state: &State, rules: &RuleSet) -> Result<(), TooLarge> {
    let settings = &rules.settings;
    let no_files = settings.request_no_files_limit.filter(|_| &*state.processor != "MULTIPART");
    let most = [settings.request_body_limit, no_files].into_iter().flatten().min();
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let body = inputs.body().clone();
    if body.len() <= most {
        inputs.set(Variable::InboundDataError, b"0");
        return Ok(());
    }
    inputs.set_body(body.slice(..most));
    inputs.set(Variable::InboundDataError, b"1");
    if settings.request_limit_action == LimitAction::Reject && state.enforces() { Err(TooLarge) } else { Ok(()) }
}

fn process(inputs: &mut Inputs, state: &State, rules: &RuleSet, (content_type, given): (&[u8], &Given<'_>)) -> Report {
    if given.processor == Processor::None || inputs.body().is_empty() && &*state.processor != "MULTIPART" {
        return Report::default();
    }
    let body = inputs.body().clone();
    let taken = inputs.count(Shelf::of(Variable::ArgsGet));
    let most = rules.most_arguments().saturating_sub(taken);
    let depth = rules.settings.json_depth.and_then(|depth| usize::try_from(depth).ok());
    let bounds = Bounds { arguments: most, ..Bounds::default() };
    let json_bounds = Bounds { depth: depth.unwrap_or(bounds.depth), ..bounds };
    let mut sink = Shelver { inputs, rules, most, counted: 0, over: false };
    let mut report = match &*state.processor {
        "JSON" => bodies::json(&body, given.known, &json_bounds, &mut sink),
        "MULTIPART" => bodies::multipart(content_type, &body, &bounds, &mut sink),
        "URLENCODED" => bodies::urlencoded(&body, rules.settings.separator, &bounds, &mut sink),
        "XML" => bodies::xml(&body, &bounds, &mut sink),
        _ => Report::default(),
    };
    if sink.over {
        report.error = report.error.or(Some("too many arguments"));
    }
    report
}

/// REQUEST_BODY is filled for forms, and where rules ask for it and nothing else reads the body.
fn fills_body(state: &State, rules: &RuleSet, processor: Processor, content_type: &[u8]) -> bool {
    match &*state.processor {
        "URLENCODED" => true,
        "" => {
            processor == Processor::Auto
                && state.force_body
                && !(rules.options.profile == Profile::Ml && is_binary(content_type))
        }
        _ => false,
    }
}

/// Tensors, calls and pictures, which no rule for text can judge.
fn is_binary(content_type: &[u8]) -> bool {
    let prefixes: [&[u8]; 5] = [b"application/octet-stream", b"application/grpc", b"audio/", b"image/", b"video/"];
    prefixes.iter().any(|prefix| content_type.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix)))
}

fn results(inputs: &mut Inputs, report: &Report) {
    match report.error {
        Some(error) => {
            inputs.set(Variable::ReqbodyError, b"1");
            inputs.set(Variable::ReqbodyErrorMsg, error.as_bytes());
        }
        None if inputs.first(Variable::ReqbodyError, None).is_none() => inputs.set(Variable::ReqbodyError, b"0"),
        None => {}
    }
    if report.bad_escape {
        inputs.set(Variable::UrlencodedError, b"1");
    } else if inputs.first(Variable::UrlencodedError, None).is_none() {
        inputs.set(Variable::UrlencodedError, b"0");
    }
    multipart(inputs, &report.multipart);
}

fn multipart(inputs: &mut Inputs, flags: &MultipartFlags) {
    let zero = inputs.write(b"0");
    let one = inputs.write(b"1");
    let each = [
        (Variable::MultipartBoundaryQuoted, flags.boundary_quoted),
        (Variable::MultipartBoundaryWhitespace, flags.boundary_whitespace),
        (Variable::MultipartCrlfLfLines, flags.crlf_lf_lines),
        (Variable::MultipartDataAfter, flags.data_after),
        (Variable::MultipartDataBefore, flags.data_before),
        (Variable::MultipartFileLimitExceeded, flags.file_limit_exceeded),
        (Variable::MultipartHeaderFolding, flags.header_folding),
        (Variable::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
        (Variable::MultipartInvalidPart, flags.invalid_part),
        (Variable::MultipartInvalidQuoting, flags.invalid_quoting),
        (Variable::MultipartLfLine, flags.lf_line),
        (Variable::MultipartSemicolonMissing, flags.missing_semicolon),
        (Variable::MultipartStrictError, flags.strict_error),
    ];
    for (variable, flag) in each {
        inputs.set_span(variable, if flag { one } else { zero });
    }
    inputs.set_number(Variable::MultipartUnmatchedBoundary, u64::from(flags.unmatched_boundary_value()));
}

fn full_request(inputs: &mut Inputs, rules: &RuleSet) {
    if !rules.uses(Variable::FullRequest) && !rules.uses(Variable::FullRequestLength) {
        return;
    }
    let mut whole = inputs.first(Variable::RequestLine, None).unwrap_or_default().to_vec();
    for (_, value) in inputs.shelf(Shelf::of(Variable::RequestHeaders)) {
        for part in [b"\n", inputs.bytes(value.name), b": ", inputs.bytes(value.text)] {
            whole.extend_from_slice(part);
        }
    }
    whole.extend_from_slice(b"\n\n");
    whole.extend_from_slice(inputs.body());
    inputs.set_number(Variable::FullRequestLength, length(whole.len()));
    inputs.set(Variable::FullRequest, &whole);
}

/// Puts what a reader finds on the shelves.
struct Shelver<'a> {
    inputs: &'a mut Inputs,
    rules: &'a RuleSet,
    most: usize,
    counted: usize,
    over: bool,
}

impl Shelver<'_> {
    fn counts_numbers(&self) -> bool {
        self.rules.options.count_numbers || self.rules.options.profile == Profile::Stock
    }

    fn is_prompt(&self, name: &[u8]) -> bool {
        self.rules.options.prompt_fields.iter().any(|field| {
            name.split_at_checked(field.len())
                .is_some_and(|(start, rest)| start == field.as_bytes() && (rest.is_empty() || rest.starts_with(b".")))
        })
    }

    /// Every element as an argument of its own: what a run stands for.
    fn unroll(&mut self, prefix: &[u8], array: Range<usize>) {
        let body = self.inputs.body().clone();
        let text = body.get(array.clone()).unwrap_or_default();
        let counts = self.counts_numbers();
        let mut elements = bodies::elements(text);
        let mut first = true;
        while let Some(element) = elements.next() {
            let name = self.inputs.write_with(|out| elements.write_name(prefix, out));
            let value = self.inputs.write(element);
            let form = if first || counts { Form::Plain } else { Form::Uncounted };
            self.inputs.put_as(Shelf::of(Variable::ArgsPost), (name, value), form, Kind::Text);
            self.inputs.put_as(Shelf::of(Variable::ArgsPostNames), (name, name), form, Kind::Text);
            first = false;
        }
    }
}

impl Sink for Shelver<'_> {
    fn argument(&mut self, name: &[u8], value: Piece<'_>, kind: Kind) -> ControlFlow<()> {
        let kind = if self.is_prompt(name) { Kind::Prompt } else { kind };
        let name = self.inputs.write(name);
        let value = match value {
            Piece::Decoded(text) => self.inputs.write(text),
            Piece::Span(at) => Span::of_body(at.start, at.end),
        };
        self.inputs.argument_bytes += name.len() + value.len();
        self.inputs.put_as(Shelf::of(Variable::ArgsPost), (name, value), Form::Plain, kind);
        self.inputs.put(Shelf::of(Variable::ArgsPostNames), name, name);
        self.counted += 1;
        ControlFlow::Continue(())
    }

    fn numbers(&mut self, prefix: &[u8], array: Range<usize>) -> ControlFlow<()> {
        let body = self.inputs.body().clone();
        let summary = bodies::summary(body.get(array.clone()).unwrap_or_default());
        self.counted = self.counted.saturating_add(if self.counts_numbers() { summary.count } else { 1 });
        if self.counted > self.most {
            self.over = true;
            return ControlFlow::Break(());
        }
        self.inputs.argument_bytes += prefix.len() + summary.bytes;
        if self.rules.options.plain {
            self.unroll(prefix, array);
            return ControlFlow::Continue(());
        }
        let count = if self.counts_numbers() { summary.count } else { 1 };
        let name = self.inputs.write(prefix);
        let text = Span::of_body(array.start, array.end);
        let run = self.inputs.add_run(summary);
        let run = |names| Form::Run { names, count, run };
        self.inputs.put_as(Shelf::of(Variable::ArgsPost), (name, text), run(false), Kind::Text);
        self.inputs.put_as(Shelf::of(Variable::ArgsPostNames), (name, text), run(true), Kind::Text);
        ControlFlow::Continue(())
    }

    fn part(&mut self, part: Part<'_>) -> ControlFlow<()> {
        let name = self.inputs.write(part.name);
        for header in part.headers {
            let line = self.inputs.write(header);
            self.inputs.put(Shelf::of(Variable::MultipartPartHeaders), name, line);
        }
        let Some(file) = part.filename else { return ControlFlow::Continue(()) };
        let file = self.inputs.write(file);
        self.inputs.put(Shelf::of(Variable::Files), name, file);
        self.inputs.put(Shelf::of(Variable::FilesNames), name, name);
        let size = part.content.len();
        let digits = self.inputs.write_with(|out| super::inputs::write_number(length(size), out));
        self.inputs.put(Shelf::of(Variable::FilesSizes), name, digits);
        let content = Span::of_body(part.content.start, part.content.end);
        self.inputs.put(Shelf::of(Variable::FilesTmpContent), name, content);
        self.inputs.file_bytes += size;
        ControlFlow::Continue(())
    }

    fn xml_text(&mut self, text: &[u8]) -> ControlFlow<()> {
        let text = self.inputs.write(text);
        self.inputs.put(Shelf::of(Variable::Xml), Span::EMPTY, text);
        ControlFlow::Continue(())
    }

    fn xml_attribute(&mut self, value: &[u8]) -> ControlFlow<()> {
        let value = self.inputs.write(value);
        self.inputs.put(Shelf::XML_ATTRIBUTES, Span::EMPTY, value);
        ControlFlow::Continue(())
    }
}
