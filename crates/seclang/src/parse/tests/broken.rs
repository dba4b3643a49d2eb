//! What a rule author sees when a file is wrong: place, message and hint.

use super::problems;

/// A file, and the problems that it has, without their hints.
const FILES: &[(&str, &[&str])] = &[
    ("SecRul ARGS x id:1", &["1:1: error: unknown directive `SecRul`"]),
    ("\n\n  SecFoo On", &["3:3: error: unknown directive `SecFoo`"]),
    ("SecRule", &["1:1: error: `SecRule` needs variables and an operator"]),
    ("SecRule ARGS", &["1:1: error: `SecRule` needs variables and an operator"]),
    ("SecRule ARGS x id:1 more", &["1:21: error: `more` is one argument too many"]),
    ("SecRule ARGS x \\\n  # no\n", &["2:3: error: a comment cannot stand within a directive"]),
    ("SecRule ARGS \"x id:1", &["1:14: error: the quote `\"` that opens here is not closed"]),
    ("SecRule ARGS \"a\"b\" id:1", &["1:17: error: text stands right behind a closing quote"]),
    (
        "SecRule ARGS x \\ \n id:1",
        &[
            "1:16: error: white space stands behind the backslash that should continue the line",
            "2:2: error: unknown directive `id:1`",
        ],
    ),
    ("SecRule ARGZ x id:1", &["1:9: error: unknown variable `ARGZ`"]),
    ("SecRule ARGS|REQUEST_HEADER:Host x id:1", &["1:14: error: unknown variable `REQUEST_HEADER`"]),
    ("SecRule \"ARGS|!ARGS:a|&NOPE\" x id:1", &["1:24: error: unknown variable `NOPE`"]),
    ("SecRule ARGS| x id:1", &["1:14: error: a variable is missing"]),
    ("SecRule !ARGS:a x id:1", &["1:9: error: every variable is left out, so the rule looks at nothing"]),
    ("SecRule ARGS:/a x id:1", &["1:14: error: the pattern that begins here has no closing `/`"]),
    ("SecRule ARGS:'/a/b/' x id:1", &["1:17: error: the pattern ends here, but text follows"]),
    ("SecRule ARGS:/a/b x id:1", &["1:17: error: `b` stands behind a variable"]),
    ("SecRule ARGS:'a x id:1", &["1:14: error: the quote `'` that opens here is not closed"]),
    ("SecRule ARGS: x id:1", &["1:14: error: the name of a member is missing"]),
    ("SecRule REQUEST_URI:a x id:1", &["1:9: error: `REQUEST_URI` is a single value and has no members"]),
    ("SecRule XML x id:1", &["1:9: error: `XML` needs a path"]),
    ("SecRule XML:/a/text() x id:1", &["1:13: error: the path `/a/text()` is not supported"]),
    ("SecRule FILES_TMPNAMES x id:1", &["1:9: error: variable `FILES_TMPNAMES` is not supported"]),
    ("SecRule GEO:COUNTRY_CODE \"@streq x\" id:1", &["1:9: warning: variable `GEO` is always empty"]),
    ("SecRule ARGS \"@rxx a\" id:1", &["1:16: error: unknown operator `@rxx`"]),
    ("SecRule ARGS \"!@verifyCC a\" id:1", &["1:17: error: operator `@verifyCC` is not supported"]),
    ("SecRule REMOTE_ADDR \"@rbl a.example\" id:1", &["1:23: warning: operator `@rbl` does nothing"]),
    ("SecRule REMOTE_ADDR \"!@rbl a.example\" id:1", &["1:24: error: operator `!@rbl` is not supported"]),
    ("SecRule ARGS \"@pm\" id:1", &["1:18: error: `@pm` needs an argument"]),
    ("SecRule ARGS x \"id:1,,deny\"", &["1:22: error: an action is missing between two commas"]),
    ("SecRule ARGS x \"id:1,denny\"", &["1:22: error: unknown action `denny`"]),
    ("SecRule ARGS x \\\n  \"id:1,\\\n  phase:6,\\\n  deny\"", &["3:9: error: there is no phase `6`"]),
    ("SecRule ARGS x \"id:a\"", &["1:20: error: `a` is no value for `id`"]),
    ("SecRule ARGS x \"id\"", &["1:17: error: `id` needs a value"]),
    ("SecRule ARGS x \"id:1,deny:403\"", &["1:27: error: `deny` takes no value"]),
    (
        "SecRule ARGS x \"id:1,msg:'it\"",
        &["1:26: warning: the quote `'` that opens here is not closed, and the text is taken to the end"],
    ),
    ("SecRule ARGS x \"id:1,msg:'it,deny\"", &["1:26: error: the quote `'` that opens here is not closed"]),
    ("SecRule ARGS x \"id:1,status:ok\"", &["1:29: error: `ok` is no value for `status`"]),
    ("SecRule ARGS x \"id:1,msg:'it's'\"", &["1:30: error: text stands behind the closing quote"]),
    ("SecRule ARGS x \"id:1,msg:'it's,deny\"", &["1:30: error: text stands behind the closing quote"]),
    ("SecRule ARGS x \"id:1,t:lowcase\"", &["1:24: error: unknown transformation `lowcase`"]),
    ("SecRule ARGS x \"id:1,severity:CRITICL\"", &["1:31: error: unknown severity `CRITICL`"]),
    ("SecRule ARGS x \"id:1,status:44\"", &["1:29: warning: there is no status 44, and a refusal is answered by 403"]),
    ("SecRule ARGS x \"id:1,allow:all\"", &["1:28: error: `allow` knows no `all`"]),
    ("SecRule ARGS x \"id:1,proxy:http://a\"", &["1:22: error: action `proxy` is not supported"]),
    ("SecRule ARGS x \"id:1,exec:/a\"", &["1:22: warning: action `exec` does nothing"]),
    ("SecRule ARGS x \"id:1,setvar:n=1\"", &["1:29: error: `n` names no member of a collection"]),
    ("SecRule ARGS x \"id:1,setvar:'!tx.n=1'\"", &["1:36: error: what is deleted takes no value"]),
    ("SecRule ARGS x \"id:1,setvar:args.n=1\"", &["1:29: error: `ARGS` cannot be set"]),
    ("SecRule ARGS x \"id:1,expirevar:ip.n\"", &["1:32: error: `expirevar` needs a variable and seconds"]),
    ("SecRule ARGS x \"id:1,initcol:tx=a\"", &["1:30: error: `TX` does not outlive a request"]),
    ("SecRule ARGS x \"id:1,initcol:ip\"", &["1:30: error: `initcol` needs a collection and its key"]),
    ("SecRule ARGS x \"id:1,ctl:ruleEngin=Off\"", &["1:26: error: unknown option `ruleEngin` of `ctl`"]),
    ("SecRule ARGS x \"id:1,ctl:ruleEngine\"", &["1:26: error: `ctl` needs an option and its value"]),
    ("SecRule ARGS x \"id:1,ctl:ruleEngine=Of\"", &["1:37: error: `Of` is no value here"]),
    ("SecRule ARGS x \"id:1,ctl:ruleRemoveById=a\"", &["1:41: error: `a` is no rule id"]),
    (
        "SecRule ARGS x \"id:1,ctl:ruleRemoveTargetById=9\"",
        &["1:47: error: `ctl:ruleRemoveTargetById` needs a rule and a variable"],
    ),
    (
        "SecRule ARGS x \"id:1,ctl:ruleRemoveTargetById=9;!ARGS:a\"",
        &["1:49: error: the variable to leave out stands alone here"],
    ),
    ("SecRule ARGS x \"id:1,ctl:requestBodyProcessor=YAML\"", &["1:47: error: unknown body processor `YAML`"]),
    ("SecRule ARGS x deny", &["1:1: error: the rule has no id"]),
    ("SecRule ARGS x\n", &["1:1: error: the rule has no id"]),
    ("SecRule ARGS x id:1\nSecRule ARGS y id:1", &["2:16: error: id 1 is taken by the rule at r.conf:1:16"]),
    ("SecRule ARGS x id:1,id:2", &["1:21: error: the rule has a second id"]),
    ("SecRule ARGS x id:1,phase:1,phase:2", &["1:29: error: the rule has a second phase"]),
    ("SecRule ARGS x id:1,chain", &["1:21: error: `chain` asks for another rule, and none follows"]),
    ("SecRule ARGS x id:1,chain\nSecMarker A", &["1:21: error: `chain` asks for another rule, and none follows"]),
    ("SecRule ARGS x id:1,chain\nSecRule ARGS y deny", &["2:16: error: `deny` cannot stand in a link of a chain"]),
    ("SecRule ARGS x id:1,chain\nSecRule ARGS y\nSecRule ARGS z", &["3:1: error: the rule has no id"]),
    ("SecRule ARGS x id:1,skipAfter:END_X\nSecMarker END_Y", &["1:21: error: no `SecMarker END_X` follows"]),
    (
        "SecMarker A\nSecRule ARGS x id:1,skipAfter:A",
        &["2:21: error: the marker `A` stands above, and skipping goes downwards"],
    ),
    ("SecRuleEngine Yes", &["1:15: error: `Yes` is no value here"]),
    ("SecRuleEngine", &["1:1: error: `SecRuleEngine` needs a value"]),
    ("SecRequestBodyLimit 10MB", &["1:21: error: `SecRequestBodyLimit` counts bytes and knows no units"]),
    ("SecRequestBodyLimit -1", &["1:21: error: `-1` is no value for `SecRequestBodyLimit`"]),
    ("SecRequestBodyLimitAction Partial", &["1:27: error: `Partial` is no value here"]),
    ("SecArgumentSeparator &&", &["1:22: error: `&&` is no value here"]),
    ("SecCookieFormat 1", &["1:17: warning: version 1 cookies are read like those of version 0"]),
    ("SecXmlExternalEntity On", &["1:22: error: external entities are never loaded (XXE)"]),
    ("SecAuditEngine RelevantOnly", &["1:1: warning: `SecAuditEngine` does nothing"]),
    ("SecRemoteRules key https://a", &["1:1: error: `SecRemoteRules` is not supported"]),
    ("SecResponseBodyMimeType text", &["1:25: error: `text` is no value here"]),
    ("SecUnicodeMapFile none.mapping 20127", &["1:19: error: `none.mapping` cannot be read: no such file"]),
    ("SecDefaultAction phase:1,log", &["1:1: error: `SecDefaultAction` does not say what `block` does"]),
    ("SecDefaultAction log,pass", &["1:1: error: `SecDefaultAction` names no phase"]),
    ("SecDefaultAction phase:1,pass,id:4", &["1:31: error: `id` cannot be a default"]),
    (
        "SecDefaultAction phase:1,pass\nSecDefaultAction phase:1,pass",
        &["2:18: error: phase 1 has its defaults from r.conf:1:1 already"],
    ),
    ("SecRuleRemoveById 9-5", &["1:19: error: the range ends before it begins"]),
    ("SecRuleUpdateTargetById 5", &["1:1: error: `SecRuleUpdateTargetById` needs a rule and variables"]),
    ("SecRuleUpdateActionById 5 id:6", &["1:27: error: the id, phase and chain of a rule cannot be changed"]),
    (
        "<IfModule security2_module>\n</IfModule>",
        &[
            "1:1: error: `<IfModule` is a section of a web server's configuration",
            "2:1: error: `</IfModule>` is a section of a web server's configuration",
        ],
    ),
    ("Include nothing.conf", &["1:9: error: `nothing.conf` cannot be read: no such file"]),
    ("Include nothing*.conf", &["1:9: error: no file matches `nothing*.conf`"]),
    ("Include r.conf", &["1:9: error: `r.conf` includes itself, directly or through others"]),
    ("IncludeOptional nothing*.conf", &[]),
    (
        "# text \\\nSecRuleEngine Off",
        &["2:1: warning: this directive is part of the comment above it, which ends in a backslash"],
    ),
    ("# SecRule ARGS x \\\n  id:1\n# a \\\n# SecRuleEngine Off\n", &[]),
];

#[test]
fn each_mistake_is_shown_where_it_is() {
    for (text, expected) in FILES {
        let found: Vec<String> = problems(text)
            .iter()
            .map(|problem| {
                let line = problem.to_string();
                let line = line.lines().next().unwrap().trim_start_matches("r.conf:").to_owned();
                assert!(problem.hint.is_some() || line.contains("unknown"), "a hint is missing: {line}");
                line
            })
            .collect();
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn a_mistake_shows_its_own_place_however_the_line_is_continued() {
    let text = "SecRule \\\r\n  ARGS|\\\r\nARGZ \\\r\n  \"@rx a\\\"b\" \\\r\n\t\"id:1,msg:'a \\'b\\' c',\\\r\n   t:lowrcase\"\r\n";
    let found: Vec<String> = problems(text).iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(found, ["r.conf:3:1", "r.conf:6:6"]);
}

#[test]
fn a_byte_that_is_not_utf_8_is_shown_and_one_in_a_comment_is_not() {
    let found = super::problems_of(b"# \xE9\nSecMarker A\\\n\xE9\n");
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["r.conf:3:1: error: byte 0xE9 is not UTF-8\n  hint: in a pattern write `\\xe9`; or save the file as UTF-8"]
    );
}

#[test]
fn a_misspelled_word_is_answered_with_the_nearest_known_one() {
    for (text, hint) in [
        ("SecRuleEngin On", "did you mean `SecRuleEngine`?"),
        ("SecRule REQUEST_HEADER:Host x id:1", "did you mean `REQUEST_HEADERS`?"),
        ("SecRule ARGS.id x id:1", "write `ARGS:id`: a colon stands before a member's name"),
        ("SecRule ARGS \"@begnsWith x\" id:1", "did you mean `@beginsWith`?"),
        ("SecRule ARGS x \"id:1,skipafer:X\"", "did you mean `skipAfter`?"),
        ("SecRule ARGS x \"id:1,t:urlDecodUni\"", "did you mean `urlDecodeUni`?"),
        ("SecRule ARGS x \"id:1,ctl:ruleRemoveByID2=4\"", "did you mean `ruleRemoveById`?"),
        ("SecRule ARGS x \"id:1,severity:WARN\"", "write 0 (EMERGENCY) to 7 (DEBUG), or the name"),
        ("SecRule ARGS x \"id:1,skipAfter:END_1\"\nSecMarker END_2", "did you mean `END_2`?"),
    ] {
        let found = problems(text);
        let hints: Vec<&str> = found.iter().filter_map(|problem| problem.hint.as_deref()).collect();
        assert_eq!(hints, [hint], "{text}");
    }
}

#[test]
fn one_mistake_in_a_chain_is_reported_once() {
    let text =
        "SecRule ARGS \"a\"b \"id:1,chain\"\nSecRule ARGS b\nSecRule ARGS c \"id:2,chain,nope\"\nSecRule ARGS d\n";
    let found: Vec<String> = problems(text).iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(found, ["r.conf:1:17", "r.conf:3:28"]);
}

#[test]
fn what_does_nothing_is_said_once_and_counted() {
    let found = problems("SecTmpDir /a\nSecDataDir /b\nSecTmpDir /c\nSecTmpDir /d\n");
    let messages: Vec<String> = found.iter().map(|problem| format!("{} {}", problem.place, problem.message)).collect();
    assert_eq!(
        messages,
        ["r.conf:1:1 `SecTmpDir` does nothing, here and in 2 more places", "r.conf:2:1 `SecDataDir` does nothing",]
    );
}
