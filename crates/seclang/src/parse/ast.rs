//! The parsed form of rule files, as written: includes resolved, names recognised, nothing compiled.

use crate::problem::Place;
use crate::transforms::Transform;

/// Text and its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A directive, in file order, includes resolved.
#[derive(Clone, Debug)]
pub struct Directive {
    /// Where it begins.
    pub place: Place,
    /// What it says.
    pub kind: DirectiveKind,
}

/// What a directive says.
#[derive(Clone, Debug)]
pub enum DirectiveKind {
    /// `SecRule VARIABLES OPERATOR [ACTIONS]`
    Rule(Rule),
    /// `SecAction ACTIONS`
    Action(Vec<Spanned<Action>>),
    /// `SecMarker NAME`
    Marker(String),
    /// `SecDefaultAction ACTIONS`
    DefaultAction(Vec<Spanned<Action>>),
    /// `SecRuleRemoveById RANGES`: inclusive ranges.
    RemoveById(Vec<(u64, u64)>),
    /// `SecRuleRemoveByMsg PATTERN`
    RemoveByMsg(String),
    /// `SecRuleRemoveByTag PATTERN`
    RemoveByTag(String),
    /// `SecRuleUpdateTargetBy… SELECTOR VARIABLES [REPLACED]`
    UpdateTarget {
        /// Which rules.
        which: Which,
        /// Targets to add, or exclusions.
        targets: Vec<Spanned<Target>>,
        /// The target that the new ones take the place of.
        replaced: Option<Vec<Spanned<Target>>>,
    },
    /// `SecRuleUpdateActionById ID ACTIONS`; the second number is the link of the chain, 0 for its head.
    UpdateAction {
        /// The rule.
        id: u64,
        /// Which link.
        link: u32,
        /// Its new actions.
        actions: Vec<Spanned<Action>>,
    },
    /// Any setting, `SecRuleEngine On` and the like, checked by the parser against its kind of value.
    Setting(Setting),
}

/// Rules that an update is about.
#[derive(Clone, Debug)]
pub enum Which {
    /// Inclusive ranges of ids.
    Ids(Vec<(u64, u64)>),
    /// One link of a chain: `ID:LINK`, 0 for the head.
    Link {
        /// The chain's id.
        id: u64,
        /// Which link.
        link: u32,
    },
    /// Rules whose message matches the pattern.
    Msg(String),
    /// Rules with a tag that matches the pattern.
    Tag(String),
}

/// Settings that the engine obeys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `SecRuleEngine`
    RuleEngine(EngineMode),
    /// `SecRequestBodyAccess`
    RequestBodyAccess(bool),
    /// `SecRequestBodyLimit`, bytes
    RequestBodyLimit(u64),
    /// `SecRequestBodyNoFilesLimit`, bytes
    RequestBodyNoFilesLimit(u64),
    /// `SecRequestBodyLimitAction`
    RequestBodyLimitAction(LimitAction),
    /// `SecRequestBodyJsonDepthLimit`
    RequestBodyJsonDepthLimit(u64),
    /// `SecArgumentsLimit`
    ArgumentsLimit(u64),
    /// `SecResponseBodyAccess`
    ResponseBodyAccess(bool),
    /// `SecResponseBodyLimit`, bytes
    ResponseBodyLimit(u64),
    /// `SecResponseBodyLimitAction`
    ResponseBodyLimitAction(LimitAction),
    /// `SecResponseBodyMimeType`; an empty list is `SecResponseBodyMimeTypesClear`
    ResponseBodyMimeType(Vec<String>),
    /// `SecUnicodeMapFile FILE CODEPAGE`, read by the loader: code point → byte.
    UnicodeMap(Vec<(u32, u8)>),
    /// `SecArgumentSeparator`
    ArgumentSeparator(u8),
    /// `SecCollectionTimeout`, seconds
    CollectionTimeout(u64),
    /// `SecComponentSignature`
    ComponentSignature(String),
    /// `SecWebAppId`
    WebAppId(String),
}

/// `SecRuleEngine`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineMode {
    /// Rules are evaluated, nothing is refused.
    DetectionOnly,
    /// Nothing is evaluated.
    Off,
    /// Rules are evaluated and obeyed.
    On,
}

/// What a body above its limit does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitAction {
    /// The part within the limit is judged.
    ProcessPartial,
    /// The request is refused.
    Reject,
}

/// A `SecRule`, or one link of a chain.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it looks at.
    pub targets: Vec<Spanned<Target>>,
    /// How.
    pub operator: Spanned<OperatorText>,
    /// What it does.
    pub actions: Vec<Spanned<Action>>,
    /// The links that follow, for a chain's head: the parser joins them.
    pub links: Vec<Rule>,
    /// Where it begins.
    pub place: Place,
    /// Its text as written, for `explain`.
    pub text: String,
}

impl Rule {
    /// Where the byte at `offset` of the operator's argument stands in the file: escapes and continued lines before it
    /// count.
    #[must_use]
    pub fn place_in_argument(&self, offset: usize) -> Place {
        let begin = &self.operator.value.argument_place;
        let mut place = self.place.clone();
        let mut left = offset;
        let mut last = b' ';
        let mut quote = b'"';
        let mut escaped = false;
        let mut bytes = self.text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let inside = (place.line, place.column) >= (begin.line, begin.column);
            let next = bytes.peek().copied();
            let continues = byte == b'\\' && matches!(next, Some(b'\n' | b'\r'));
            let escapes = byte == b'\\' && next == Some(quote) && !escaped;
            let ends = byte == b'\n' || byte == b'\r';
            if inside && !continues && !escapes && !ends {
                match left.checked_sub(1) {
                    Some(less) => left = less,
                    None => return place,
                }
            }
            if !inside && last == b' ' && matches!(byte, b'\'' | b'"') {
                quote = byte;
            }
            escaped = !escaped && byte == b'\\' && !continues;
            last = if byte.is_ascii_whitespace() { b' ' } else { byte };
            place.column = place.column.saturating_add(1);
            if byte == b'\n' {
                (place.line, place.column) = (place.line.saturating_add(1), 1);
            }
        }
        if left == 0 { place } else { begin.clone() }
    }
}

/// An operator as written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperatorText {
    /// `!`
    pub negated: bool,
    /// Its name; `rx` when none was written.
    pub name: String,
    /// Its argument, unescaped.
    pub argument: String,
    /// Place of the argument's first byte.
    pub argument_place: Place,
}

/// One of a rule's variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The variable.
    pub variable: Variable,
    /// `&`: how many there are.
    pub count: bool,
    /// `!`: not this one.
    pub excluded: bool,
    /// What stands behind the colon.
    pub selector: Option<Selector>,
}

/// What stands behind a variable's colon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// A name, compared without regard to ASCII case. It may hold macros.
    Name(String),
    /// `/pattern/`, likewise.
    Pattern(String),
}

macro_rules! variables {
    ($($variant:ident = $name:literal,)+) => {
        /// A variable of the language.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "the name of the ModSecurity reference says it")]
        pub enum Variable { $($variant,)+ }

        impl Variable {
            /// Every variable.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name of the reference.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

variables! {
    Args = "ARGS",
    ArgsCombinedSize = "ARGS_COMBINED_SIZE",
    ArgsGet = "ARGS_GET",
    ArgsGetNames = "ARGS_GET_NAMES",
    ArgsNames = "ARGS_NAMES",
    ArgsPost = "ARGS_POST",
    ArgsPostNames = "ARGS_POST_NAMES",
    AuthType = "AUTH_TYPE",
    Duration = "DURATION",
    Env = "ENV",
    Files = "FILES",
    FilesCombinedSize = "FILES_COMBINED_SIZE",
    FilesNames = "FILES_NAMES",
    FilesSizes = "FILES_SIZES",
    FilesTmpContent = "FILES_TMP_CONTENT",
    FilesTmpNames = "FILES_TMPNAMES",
    FullRequest = "FULL_REQUEST",
    FullRequestLength = "FULL_REQUEST_LENGTH",
    Geo = "GEO",
    Global = "GLOBAL",
    HighestSeverity = "HIGHEST_SEVERITY",
    InboundDataError = "INBOUND_DATA_ERROR",
    Ip = "IP",
    MatchedVar = "MATCHED_VAR",
    MatchedVarName = "MATCHED_VAR_NAME",
    MatchedVars = "MATCHED_VARS",
    MatchedVarsNames = "MATCHED_VARS_NAMES",
    MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED",
    MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE",
    MultipartCrlfLfLines = "MULTIPART_CRLF_LF_LINES",
    MultipartDataAfter = "MULTIPART_DATA_AFTER",
    MultipartDataBefore = "MULTIPART_DATA_BEFORE",
    MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED",
    MultipartFilename = "MULTIPART_FILENAME",
    MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING",
    MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING",
    MultipartInvalidPart = "MULTIPART_INVALID_PART",
    MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING",
    MultipartLfLine = "MULTIPART_LF_LINE",
    MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON",
    MultipartName = "MULTIPART_NAME",
    MultipartPartHeaders = "MULTIPART_PART_HEADERS",
    MultipartSemicolonMissing = "MULTIPART_SEMICOLON_MISSING",
    MultipartStrictError = "MULTIPART_STRICT_ERROR",
    MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY",
    OutboundDataError = "OUTBOUND_DATA_ERROR",
    PathInfo = "PATH_INFO",
    QueryString = "QUERY_STRING",
    RemoteAddr = "REMOTE_ADDR",
    RemoteHost = "REMOTE_HOST",
    RemotePort = "REMOTE_PORT",
    RemoteUser = "REMOTE_USER",
    ReqbodyError = "REQBODY_ERROR",
    ReqbodyErrorMsg = "REQBODY_ERROR_MSG",
    ReqbodyProcessor = "REQBODY_PROCESSOR",
    ReqbodyProcessorError = "REQBODY_PROCESSOR_ERROR",
    ReqbodyProcessorErrorMsg = "REQBODY_PROCESSOR_ERROR_MSG",
    RequestBasename = "REQUEST_BASENAME",
    RequestBody = "REQUEST_BODY",
    RequestBodyLength = "REQUEST_BODY_LENGTH",
    RequestCookies = "REQUEST_COOKIES",
    RequestCookiesNames = "REQUEST_COOKIES_NAMES",
    RequestFilename = "REQUEST_FILENAME",
    RequestHeaders = "REQUEST_HEADERS",
    RequestHeadersNames = "REQUEST_HEADERS_NAMES",
    RequestLine = "REQUEST_LINE",
    RequestMethod = "REQUEST_METHOD",
    RequestProtocol = "REQUEST_PROTOCOL",
    RequestUri = "REQUEST_URI",
    RequestUriRaw = "REQUEST_URI_RAW",
    Resource = "RESOURCE",
    ResponseBody = "RESPONSE_BODY",
    ResponseContentLength = "RESPONSE_CONTENT_LENGTH",
    ResponseContentType = "RESPONSE_CONTENT_TYPE",
    ResponseHeaders = "RESPONSE_HEADERS",
    ResponseHeadersNames = "RESPONSE_HEADERS_NAMES",
    ResponseProtocol = "RESPONSE_PROTOCOL",
    ResponseStatus = "RESPONSE_STATUS",
    Rule = "RULE",
    ServerAddr = "SERVER_ADDR",
    ServerName = "SERVER_NAME",
    ServerPort = "SERVER_PORT",
    Session = "SESSION",
    SessionId = "SESSIONID",
    StatusLine = "STATUS_LINE",
    Time = "TIME",
    TimeDay = "TIME_DAY",
    TimeEpoch = "TIME_EPOCH",
    TimeHour = "TIME_HOUR",
    TimeMin = "TIME_MIN",
    TimeMon = "TIME_MON",
    TimeSec = "TIME_SEC",
    TimeWday = "TIME_WDAY",
    TimeYear = "TIME_YEAR",
    Tx = "TX",
    UniqueId = "UNIQUE_ID",
    UrlencodedError = "URLENCODED_ERROR",
    User = "USER",
    UserId = "USERID",
    Webappid = "WEBAPPID",
    Xml = "XML",
}

impl Variable {
    /// Whether it is a list of named values, so that the full name of one has a part behind the colon.
    pub(crate) const fn is_collection(self) -> bool {
        matches!(
            self,
            Self::Args
                | Self::ArgsGet
                | Self::ArgsGetNames
                | Self::ArgsNames
                | Self::ArgsPost
                | Self::ArgsPostNames
                | Self::Env
                | Self::Files
                | Self::FilesNames
                | Self::FilesSizes
                | Self::FilesTmpContent
                | Self::Global
                | Self::Ip
                | Self::MatchedVars
                | Self::MatchedVarsNames
                | Self::MultipartFilename
                | Self::MultipartName
                | Self::MultipartPartHeaders
                | Self::RequestCookies
                | Self::RequestCookiesNames
                | Self::RequestHeaders
                | Self::RequestHeadersNames
                | Self::Resource
                | Self::ResponseHeaders
                | Self::ResponseHeadersNames
                | Self::Rule
                | Self::Session
                | Self::Tx
                | Self::User
        )
    }

    /// Whether a name may stand behind its colon: also for those whose values have none here, or are never set.
    pub(crate) const fn has_members(self) -> bool {
        self.is_collection() || matches!(self, Self::FilesTmpNames | Self::Geo | Self::Xml)
    }
}

/// An action of a rule, its value checked for form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// `accuracy:1` to `9`
    Accuracy(u8),
    /// `allow`
    Allow(AllowScope),
    /// `auditlog`, `noauditlog`
    AuditLog(bool),
    /// `block`
    Block,
    /// `capture`
    Capture,
    /// `chain`
    Chain,
    /// `ctl:option=value`
    Ctl(Ctl),
    /// `deny`
    Deny,
    /// `drop`
    Drop,
    /// `expirevar:collection.name=seconds`
    ExpireVar {
        /// Its collection.
        collection: Variable,
        /// Its name; may hold macros.
        name: String,
        /// After how long it goes; may hold macros.
        seconds: String,
    },
    /// `id:1`
    Id(u64),
    /// One that the parser accepts with a warning and nothing is done for. Its name.
    Ignored(String),
    /// `initcol:collection=key`
    InitCol {
        /// Which collection.
        collection: Variable,
        /// Its key; may hold macros.
        key: String,
    },
    /// `log`, `nolog`
    Log(bool),
    /// `logdata:'text'`; may hold macros.
    LogData(String),
    /// `maturity:1` to `9`
    Maturity(u8),
    /// `msg:'text'`; may hold macros.
    Msg(String),
    /// `multiMatch`
    MultiMatch,
    /// `pass`
    Pass,
    /// `phase:1` to `5`
    Phase(u8),
    /// `redirect:url`; may hold macros.
    Redirect(String),
    /// `rev:'text'`
    Rev(String),
    /// `setenv:name=value`; may hold macros.
    SetEnv(String),
    /// `setsid:key`; may hold macros.
    SetSid(String),
    /// `setuid:key`; may hold macros.
    SetUid(String),
    /// `setvar:collection.name=value`
    SetVar {
        /// Its collection.
        collection: Variable,
        /// Its name; may hold macros.
        name: String,
        /// What is done to it.
        change: Change,
    },
    /// `severity:0` to `7`, by number or name
    Severity(u8),
    /// `skip:1`
    Skip(u32),
    /// `skipAfter:marker`
    SkipAfter(String),
    /// `status:403`
    Status(u16),
    /// `tag:'text'`
    Tag(String),
    /// `t:name`; `None` is `t:none`.
    Transform(Option<Transform>),
    /// `ver:'text'`
    Ver(String),
}

/// What `setvar` does. Texts may hold macros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// `=+n`
    Add(String),
    /// `=value`; `1` when no value is written
    Assign(String),
    /// `=-n`
    Subtract(String),
    /// `!name`
    Unset,
}

/// What `allow` lets pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AllowScope {
    /// `allow`: everything that follows.
    All,
    /// `allow:phase`
    Phase,
    /// `allow:request`
    Request,
}

/// What `ctl` changes, for this transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ctl {
    /// `auditEngine=On|Off|RelevantOnly`
    AuditEngine(String),
    /// `forceRequestBodyVariable=On|Off`
    ForceRequestBodyVariable(bool),
    /// Accepted with a warning, nothing done. Its text.
    Ignored(String),
    /// `parseXmlIntoArgs=Off`: the parser refuses all else.
    ParseXmlIntoArgs(bool),
    /// `requestBodyAccess=On|Off`
    RequestBodyAccess(bool),
    /// `requestBodyProcessor=JSON|MULTIPART|URLENCODED|XML`, in capitals
    RequestBodyProcessor(String),
    /// `responseBodyAccess=On|Off`
    ResponseBodyAccess(bool),
    /// `ruleEngine=On|Off|DetectionOnly`
    RuleEngine(EngineMode),
    /// `ruleRemoveById=from-to`: an inclusive range.
    RuleRemoveById(u64, u64),
    /// `ruleRemoveByMsg=pattern`
    RuleRemoveByMsg(String),
    /// `ruleRemoveByTag=pattern`
    RuleRemoveByTag(String),
    /// `ruleRemoveTargetById=from-to;target`
    RuleRemoveTargetById(u64, u64, Target),
    /// `ruleRemoveTargetByMsg=pattern;target`
    RuleRemoveTargetByMsg(String, Target),
    /// `ruleRemoveTargetByTag=pattern;target`
    RuleRemoveTargetByTag(String, Target),
}
