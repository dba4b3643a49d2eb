//! Every name of the language that is not in the AST: directives, operators, transformations, actions, `ctl` options,
//! with what becomes of each. `REFERENCE.md` shows the same to readers; a test holds the two together.

use Support::{Done, Ignored, Refused};

/// What becomes of a part of the language.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Support {
    /// It does what the reference says.
    Done,
    /// It is accepted with a warning and does nothing; what takes its place.
    Ignored(&'static str),
    /// It is an error; why, or what to use.
    Refused(&'static str),
}

/// A name and what becomes of it.
pub type Name = (&'static str, Support);

const AUDIT: Support = Ignored("the gateway's own records take the place of the audit log");
const DEBUG: Support = Ignored("the gateway's own log takes the place of the debug log");
const DISK: Support = Ignored("nothing is written to disk");
const MEMORY: Support = Ignored("the memory of a body is bounded by the gateway's own settings");
const PATTERNS: Support = Ignored("patterns run in linear time and need no limit");
const CONNECTIONS: Support = Ignored("limits on connections belong to the gateway's own settings");
const HASHING: Support = Refused("the signing of links is not supported");
const SCRIPTS: Support = Refused("scripts are not run");

/// Directives.
pub const DIRECTIVES: &[Name] = &[
    ("Include", Done),
    ("IncludeOptional", Done),
    ("SecAction", Done),
    ("SecArgumentSeparator", Done),
    ("SecArgumentsLimit", Done),
    ("SecAuditEngine", AUDIT),
    ("SecAuditLog", AUDIT),
    ("SecAuditLog2", AUDIT),
    ("SecAuditLogDirMode", AUDIT),
    ("SecAuditLogFileMode", AUDIT),
    ("SecAuditLogFormat", AUDIT),
    ("SecAuditLogParts", AUDIT),
    ("SecAuditLogPrefix", AUDIT),
    ("SecAuditLogRelevantStatus", AUDIT),
    ("SecAuditLogStorageDir", AUDIT),
    ("SecAuditLogType", AUDIT),
    ("SecCacheTransformations", Ignored("transformed values are always kept for the transaction")),
    ("SecChrootDir", Ignored("confine the gateway with the means of the system")),
    ("SecCollectionTimeout", Done),
    ("SecComponentSignature", Done),
    ("SecConnEngine", CONNECTIONS),
    ("SecConnReadStateLimit", CONNECTIONS),
    ("SecConnWriteStateLimit", CONNECTIONS),
    ("SecContentInjection", Refused("replies are not rewritten")),
    ("SecCookieFormat", Done),
    ("SecCookieV0Separator", Refused("cookies are always split at `;`")),
    ("SecDataDir", Ignored("persistent collections live in the gateway's own store")),
    ("SecDebugLog", DEBUG),
    ("SecDebugLogLevel", DEBUG),
    ("SecDefaultAction", Done),
    ("SecDisableBackendCompression", Refused("the gateway decodes compressed replies within its own limits")),
    ("SecEncryptionEngine", HASHING),
    ("SecGeoLookupDb", Ignored("`@geoLookup` is not supported, so no database is read")),
    ("SecGsbLookupDb", Ignored("`@gsbLookup` is not supported, so no database is read")),
    ("SecGuardianLog", AUDIT),
    ("SecHashEngine", HASHING),
    ("SecHashKey", HASHING),
    ("SecHashMethodPm", HASHING),
    ("SecHashMethodRx", HASHING),
    ("SecHashParam", HASHING),
    ("SecHttpBlKey", Ignored("`@rbl` is not supported, so no key is needed")),
    ("SecInterceptOnError", Refused("a fault follows the `on_fault` setting of the gateway")),
    ("SecMarker", Done),
    ("SecParseXmlIntoArgs", Done),
    ("SecPcreMatchLimit", PATTERNS),
    ("SecPcreMatchLimitRecursion", PATTERNS),
    ("SecReadStateLimit", CONNECTIONS),
    ("SecRemoteRules", Refused("rules are read from local files only")),
    ("SecRemoteRulesFailAction", Refused("rules are read from local files only")),
    ("SecRequestBodyAccess", Done),
    ("SecRequestBodyInMemoryLimit", MEMORY),
    ("SecRequestBodyJsonDepthLimit", Done),
    ("SecRequestBodyLimit", Done),
    ("SecRequestBodyLimitAction", Done),
    ("SecRequestBodyNoFilesLimit", Done),
    ("SecRequestEncryption", HASHING),
    ("SecResponseBodyAccess", Done),
    ("SecResponseBodyLimit", Done),
    ("SecResponseBodyLimitAction", Done),
    ("SecResponseBodyMimeType", Done),
    ("SecResponseBodyMimeTypesClear", Done),
    ("SecRule", Done),
    ("SecRuleEngine", Done),
    ("SecRuleInheritance", Refused("each route names its own rule files")),
    ("SecRulePerfTime", Ignored("the gateway measures the cost of rules itself")),
    ("SecRuleRemoveById", Done),
    ("SecRuleRemoveByMsg", Done),
    ("SecRuleRemoveByTag", Done),
    ("SecRuleScript", SCRIPTS),
    ("SecRuleUpdateActionById", Done),
    ("SecRuleUpdateTargetById", Done),
    ("SecRuleUpdateTargetByMsg", Done),
    ("SecRuleUpdateTargetByTag", Done),
    ("SecSensorId", Ignored("the gateway's records name the instance themselves")),
    ("SecServerSignature", Ignored("the gateway sends no server signature")),
    ("SecStatusEngine", Ignored("nothing is reported to anybody")),
    ("SecStreamInBodyInspection", Refused("`STREAM_INPUT_BODY` is not supported")),
    ("SecStreamOutBodyInspection", Refused("`STREAM_OUTPUT_BODY` is not supported")),
    ("SecTmpDir", DISK),
    ("SecTmpSaveUploadedFiles", DISK),
    ("SecUnicodeCodePage", Refused("name the code page behind the file of `SecUnicodeMapFile`")),
    ("SecUnicodeMapFile", Done),
    ("SecUploadDir", DISK),
    ("SecUploadFileLimit", DISK),
    ("SecUploadFileMode", DISK),
    ("SecUploadKeepFiles", DISK),
    ("SecWebAppId", Done),
    ("SecWriteStateLimit", CONNECTIONS),
    ("SecXmlExternalEntity", Done),
];

const LOOKUP: Support = Refused("requests are judged without asking other hosts");
/// These two stand in rules of CRS 3.3 that are off unless they are configured.
const NO_LOOKUP: Support = Ignored("no database or other host is asked, so the rule never matches: take it away");
const NUMBERS: Support = Refused("check digits are not verified; use `@rx` for the form of the number");
const SCHEMA: Support = Refused("XML is not validated against a schema");

/// Operators, without their `@`.
pub const OPERATORS: &[Name] = &[
    ("beginsWith", Done),
    ("contains", Done),
    ("containsWord", Done),
    ("detectSQLi", Done),
    ("detectXSS", Done),
    ("endsWith", Done),
    ("eq", Done),
    ("fuzzyHash", Refused("fuzzy hashes are not supported")),
    ("ge", Done),
    ("geoLookup", NO_LOOKUP),
    ("gsbLookup", LOOKUP),
    ("gt", Done),
    ("inspectFile", SCRIPTS),
    ("ipMatch", Done),
    ("ipMatchF", Done),
    ("ipMatchFromFile", Done),
    ("le", Done),
    ("lt", Done),
    ("noMatch", Done),
    ("pm", Done),
    ("pmf", Done),
    ("pmFromFile", Done),
    ("rbl", NO_LOOKUP),
    ("rsub", Refused("bodies are not rewritten")),
    ("rx", Done),
    ("rxGlobal", Done),
    ("streq", Done),
    ("strmatch", Done),
    ("unconditionalMatch", Done),
    ("validateByteRange", Done),
    ("validateDTD", SCHEMA),
    ("validateHash", HASHING),
    ("validateSchema", SCHEMA),
    ("validateUrlEncoding", Done),
    ("validateUtf8Encoding", Done),
    ("verifyCC", NUMBERS),
    ("verifyCPF", NUMBERS),
    ("verifySSN", NUMBERS),
    ("verifySVNR", NUMBERS),
    ("within", Done),
];

/// Transformations.
pub const TRANSFORMS: &[Name] = &[
    ("base64Decode", Done),
    ("base64DecodeExt", Done),
    ("base64Encode", Done),
    ("cmdLine", Done),
    ("compressWhitespace", Done),
    ("cssDecode", Done),
    ("escapeSeqDecode", Done),
    ("hexDecode", Done),
    ("hexEncode", Done),
    ("htmlEntityDecode", Done),
    ("jsDecode", Done),
    ("length", Done),
    ("lowercase", Done),
    ("md5", Done),
    ("none", Done),
    ("normalisePath", Done),
    ("normalisePathWin", Done),
    ("normalizePath", Done),
    ("normalizePathWin", Done),
    ("parityEven7bit", Done),
    ("parityOdd7bit", Done),
    ("parityZero7bit", Done),
    ("removeComments", Done),
    ("removeCommentsChar", Done),
    ("removeNulls", Done),
    ("removeWhitespace", Done),
    ("replaceComments", Done),
    ("replaceNulls", Done),
    ("sha1", Done),
    ("sqlHexDecode", Done),
    ("trim", Done),
    ("trimLeft", Done),
    ("trimRight", Done),
    ("uppercase", Done),
    ("urlDecode", Done),
    ("urlDecodeUni", Done),
    ("urlEncode", Done),
    ("utf8toUnicode", Done),
];

const SANITISE: Support = Ignored("the gateway's records hide request data unless told otherwise");
const INJECT: Support = Ignored("replies are not rewritten");

/// Actions.
pub const ACTIONS: &[Name] = &[
    ("accuracy", Done),
    ("allow", Done),
    ("append", INJECT),
    ("auditlog", Done),
    ("block", Done),
    ("capture", Done),
    ("chain", Done),
    ("ctl", Done),
    ("deny", Done),
    ("deprecatevar", Ignored("limits that decay belong to the gateway's own limits")),
    ("drop", Done),
    ("exec", Ignored("no program is run")),
    ("expirevar", Done),
    ("id", Done),
    ("initcol", Done),
    ("log", Done),
    ("logdata", Done),
    ("maturity", Done),
    ("msg", Done),
    ("multiMatch", Done),
    ("noauditlog", Done),
    ("nolog", Done),
    ("pass", Done),
    ("pause", Ignored("holding a request back costs the gateway more than the client")),
    ("phase", Done),
    ("prepend", INJECT),
    ("proxy", Refused("a rule cannot send a request elsewhere; use `deny` or `redirect`")),
    ("redirect", Done),
    ("rev", Done),
    ("sanitiseArg", SANITISE),
    ("sanitiseMatched", SANITISE),
    ("sanitiseMatchedBytes", SANITISE),
    ("sanitiseRequestHeader", SANITISE),
    ("sanitiseResponseHeader", SANITISE),
    ("sanitizeArg", SANITISE),
    ("sanitizeMatched", SANITISE),
    ("sanitizeMatchedBytes", SANITISE),
    ("sanitizeRequestHeader", SANITISE),
    ("sanitizeResponseHeader", SANITISE),
    ("setenv", Done),
    ("setrsc", Refused("use `initcol:resource=…`")),
    ("setsid", Done),
    ("setuid", Done),
    ("setvar", Done),
    ("severity", Done),
    ("skip", Done),
    ("skipAfter", Done),
    ("status", Done),
    ("t", Done),
    ("tag", Done),
    ("ver", Done),
    ("xmlns", Ignored("`XML:/*` and `XML://@*` need no namespaces")),
];

/// Options of the action `ctl`.
pub const CTLS: &[Name] = &[
    ("auditEngine", Done),
    ("auditLogParts", AUDIT),
    ("debugLogLevel", DEBUG),
    ("forceRequestBodyVariable", Done),
    ("hashEnforcement", HASHING),
    ("hashEngine", HASHING),
    ("parseXmlIntoArgs", Done),
    ("requestBodyAccess", Done),
    ("requestBodyLimit", MEMORY),
    ("requestBodyProcessor", Done),
    ("responseBodyAccess", Done),
    ("responseBodyLimit", MEMORY),
    ("ruleEngine", Done),
    ("ruleRemoveById", Done),
    ("ruleRemoveByMsg", Done),
    ("ruleRemoveByTag", Done),
    ("ruleRemoveTargetById", Done),
    ("ruleRemoveTargetByMsg", Done),
    ("ruleRemoveTargetByTag", Done),
];

const LOCAL: Support = Refused("it tells of the web server, which is not this program");

/// Variables that nothing fills. All others are those of [`super::ast::Variable`].
pub const EMPTY_VARIABLES: &[Name] = &[
    ("FILES_TMPNAMES", Refused("uploads are not written to disk; `FILES_TMP_CONTENT` is what they hold")),
    ("GEO", Ignored("no database is asked for it, so it is always empty")),
    ("MODSEC_BUILD", Refused("this is another engine; ask for the parts of the language instead")),
    ("PATH_INFO", Refused("no script stands behind a path here; use `REQUEST_FILENAME`")),
    ("PERF_ALL", LOCAL),
    ("PERF_COMBINED", LOCAL),
    ("PERF_GC", LOCAL),
    ("PERF_LOGGING", LOCAL),
    ("PERF_PHASE1", LOCAL),
    ("PERF_PHASE2", LOCAL),
    ("PERF_PHASE3", LOCAL),
    ("PERF_PHASE4", LOCAL),
    ("PERF_PHASE5", LOCAL),
    ("PERF_RULES", LOCAL),
    ("PERF_SREAD", LOCAL),
    ("PERF_SWRITE", LOCAL),
    ("REMOTE_USER", Refused("users are the gateway's own matter: say who may do what in its settings")),
    ("SCRIPT_BASENAME", LOCAL),
    ("SCRIPT_FILENAME", LOCAL),
    ("SCRIPT_GID", LOCAL),
    ("SCRIPT_GROUPNAME", LOCAL),
    ("SCRIPT_MODE", LOCAL),
    ("SCRIPT_UID", LOCAL),
    ("SCRIPT_USERNAME", LOCAL),
    ("SDBM_DELETE_ERROR", LOCAL),
    ("STREAM_INPUT_BODY", Refused("use `REQUEST_BODY`")),
    ("STREAM_OUTPUT_BODY", Refused("use `RESPONSE_BODY`")),
    ("USERAGENT_IP", Refused("use `REMOTE_ADDR`")),
    ("WEBSERVER_ERROR_LOG", LOCAL),
];

/// The entry of a name, compared without regard to case.
pub(crate) fn find(names: &'static [Name], name: &str) -> Option<Name> {
    names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).copied()
}

/// `hint:` for a name that nobody knows: the nearest known one.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 40 || name.is_empty() {
        return None;
    }
    let allowed = (name.len() / 3).clamp(1, 4);
    known
        .filter(|known| known.len().abs_diff(name.len()) <= allowed)
        .map(|known| (distance(name.as_bytes(), known.as_bytes()), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, known)| known)
}

/// The Levenshtein distance, without regard to ASCII case.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(right) {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = *cell;
            before = changed.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}
