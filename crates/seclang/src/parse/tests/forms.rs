//! Every form of the language that is right, one line each.

use super::super::ast::{Action, Ctl, Directive, DirectiveKind, OperatorText, Rule, Selector, Target, Which};
use super::super::parse;
use crate::problem::Severity;
use crate::source::Memory;

fn directives(text: &str) -> Vec<Directive> {
    let parsed = parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]);
    let errors: Vec<_> = parsed.problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{text}: {errors:?}");
    parsed.directives
}

fn rule(text: &str) -> Rule {
    let mut found = directives(text);
    match found.pop() {
        Some(Directive { kind: DirectiveKind::Rule(rule), .. }) if found.is_empty() => rule,
        other => panic!("{text}: {other:?}"),
    }
}

fn shown(target: &Target) -> String {
    let signs = format!("{}{}", if target.excluded { "!" } else { "" }, if target.count { "&" } else { "" });
    let selector = match &target.selector {
        Some(Selector::Name(name)) => format!(" name {name}"),
        Some(Selector::Pattern(pattern)) => format!(" pattern {pattern}"),
        None => String::new(),
    };
    format!("{signs}{}{selector}", target.variable.name())
}

fn variables(text: &str) -> Vec<String> {
    rule(&format!("SecRule {text} x id:1")).targets.iter().map(|target| shown(&target.value)).collect()
}

#[test]
fn variables_are_read_in_every_form() {
    for (text, expected) in [
        ("ARGS", &["ARGS"] as &[&str]),
        ("args|Request_Uri", &["ARGS", "REQUEST_URI"]),
        ("\"ARGS | REQUEST_URI\"", &["ARGS", "REQUEST_URI"]),
        ("ARGS,REQUEST_URI", &["ARGS", "REQUEST_URI"]),
        ("&ARGS", &["&ARGS"]),
        ("&REQUEST_HEADERS:Host", &["&REQUEST_HEADERS name Host"]),
        ("ARGS|!ARGS:a", &["ARGS", "!ARGS name a"]),
        ("ARGS|!ARGS:/^a|b$/", &["ARGS", "!ARGS pattern ^a|b$"]),
        ("ARGS:/a\\/b/|TX:c", &["ARGS pattern a/b", "TX name c"]),
        ("\"ARGS:'/^(a|b), c/'|TX:c\"", &["ARGS pattern ^(a|b), c", "TX name c"]),
        ("\"ARGS:'a b|c'\"", &["ARGS name a b|c"]),
        ("\"ARGS:'it\\'s'\"", &["ARGS name it's"]),
        ("TX:/^header_name_920450_/", &["TX pattern ^header_name_920450_"]),
        ("TX:header_%{TX.1}", &["TX name header_%{TX.1}"]),
        ("ARGS:json.a.array_0", &["ARGS name json.a.array_0"]),
        ("ARGS:a[]", &["ARGS name a[]"]),
        ("XML:/*|XML://@*", &["XML name /*", "XML name //@*"]),
        ("ARGS|!XML", &["ARGS", "!XML"]),
        ("REQUEST_COOKIES:/__utm/", &["REQUEST_COOKIES pattern __utm"]),
        ("MULTIPART_PART_HEADERS:_charset_", &["MULTIPART_PART_HEADERS name _charset_"]),
    ] {
        assert_eq!(variables(text), expected, "{text}");
    }
}

#[test]
fn operators_are_read_in_every_form() {
    for (text, expected) in [
        ("abc", (false, "rx", "abc")),
        ("'a b'", (false, "rx", "a b")),
        ("\"\"", (false, "rx", "")),
        ("!abc", (true, "rx", "abc")),
        ("\"@rx a\"", (false, "rx", "a")),
        ("\"@rx\"", (false, "rx", "")),
        ("\"!@rx  a \"", (true, "rx", "a ")),
        ("\"! @rx a\"", (true, "rx", "a")),
        ("\"@RX a\"", (false, "rx", "a")),
        ("\"@PMFROMFILE a.data\"", (false, "pmFromFile", "a.data")),
        ("@detectSQLi", (false, "detectSQLi", "")),
        ("\"@rx \\\"\\w\\\\\"", (false, "rx", "\"\\w\\\\")),
        ("\"@rx [\\\"\\'`]\"", (false, "rx", "[\"\\'`]")),
        ("\"@rx a\\\n  b\"", (false, "rx", "a  b")),
        ("\"@within %{tx.allowed}\"", (false, "within", "%{tx.allowed}")),
        ("\"@rx \u{e9}\"", (false, "rx", "\u{e9}")),
        ("\"a@b\"", (false, "rx", "a@b")),
        ("a\\\"b", (false, "rx", "a\"b")),
    ] {
        let OperatorText { negated, name, argument, .. } = rule(&format!("SecRule ARGS {text} id:1")).operator.value;
        assert_eq!((negated, name.as_str(), argument.as_str()), expected, "{text}");
    }
}

#[test]
fn actions_are_read_in_every_form() {
    for (text, expected) in [
        ("deny", "Deny"),
        ("DENY", "Deny"),
        ("allow", "Allow(All)"),
        ("allow:phase", "Allow(Phase)"),
        ("allow:request", "Allow(Request)"),
        ("nolog", "Log(false)"),
        ("log", "Log(true)"),
        ("noauditlog", "AuditLog(false)"),
        ("phase:request", "Phase(2)"),
        ("phase:'response'", "Phase(4)"),
        ("phase:logging", "Phase(5)"),
        ("status:403", "Status(403)"),
        ("severity:CRITICAL", "Severity(2)"),
        ("severity:'7'", "Severity(7)"),
        ("severity:warning", "Severity(4)"),
        ("msg:'a, b: \\'c\\''", "Msg(\"a, b: 'c'\")"),
        ("msg:plain text", "Msg(\"plain text\")"),
        ("msg:it's", "Msg(\"it's\")"),
        ("msg:''", "Msg(\"\")"),
        ("msg:'open", "Msg(\"open\")"),
        ("phase: 3", "Phase(3)"),
        ("logdata:'%{TX.0}, %{MATCHED_VAR}'", "LogData(\"%{TX.0}, %{MATCHED_VAR}\")"),
        ("tag:'a/b'", "Tag(\"a/b\")"),
        ("t:none", "Transform(None)"),
        ("t:URLDECODEUNI", "Transform(Some(UrlDecodeUni))"),
        ("t:normalisePath", "Transform(Some(NormalizePath))"),
        ("skip:2", "Skip(2)"),
        ("ver:'OWASP_CRS/4'", "Ver(\"OWASP_CRS/4\")"),
        ("redirect:http://a/?b=%{UNIQUE_ID}", "Redirect(\"http://a/?b=%{UNIQUE_ID}\")"),
        ("initcol:ip=%{REMOTE_ADDR}", "InitCol { collection: Ip, key: \"%{REMOTE_ADDR}\" }"),
        ("expirevar:'ip.a=60'", "ExpireVar { collection: Ip, name: \"a\", seconds: \"60\" }"),
        ("setvar:tx.a", "SetVar { collection: Tx, name: \"a\", change: Assign(\"1\") }"),
        ("setvar:TX.a=b", "SetVar { collection: Tx, name: \"a\", change: Assign(\"b\") }"),
        ("setvar:tx.a=", "SetVar { collection: Tx, name: \"a\", change: Assign(\"\") }"),
        ("setvar:!tx.a", "SetVar { collection: Tx, name: \"a\", change: Unset }"),
        ("setvar:'!tx.a'", "SetVar { collection: Tx, name: \"a\", change: Unset }"),
        ("setvar:ip.a=+1", "SetVar { collection: Ip, name: \"a\", change: Add(\"1\") }"),
        ("setvar:'tx.a=+%{tx.b}'", "SetVar { collection: Tx, name: \"a\", change: Add(\"%{tx.b}\") }"),
        ("setvar:tx.a=-%{tx.b}", "SetVar { collection: Tx, name: \"a\", change: Subtract(\"%{tx.b}\") }"),
        (
            "setvar:'tx.a_%{tx.1}=/%{tx.1}/, x'",
            "SetVar { collection: Tx, name: \"a_%{tx.1}\", change: Assign(\"/%{tx.1}/, x\") }",
        ),
        ("setvar:'tx.a=b=c'", "SetVar { collection: Tx, name: \"a\", change: Assign(\"b=c\") }"),
        ("setvar:'tx.a.b=c'", "SetVar { collection: Tx, name: \"a.b\", change: Assign(\"c\") }"),
        ("ctl:ruleEngine=detectiononly", "Ctl(RuleEngine(DetectionOnly))"),
        ("ctl:forceRequestBodyVariable=On", "Ctl(ForceRequestBodyVariable(true))"),
        ("ctl:requestBodyProcessor=json", "Ctl(RequestBodyProcessor(\"JSON\"))"),
        ("ctl:ruleRemoveById=5", "Ctl(RuleRemoveById(5, 5))"),
        ("ctl:ruleRemoveById=5-9", "Ctl(RuleRemoveById(5, 9))"),
        ("ctl:ruleRemoveByTag='a, b'", "Ctl(RuleRemoveByTag(\"a, b\"))"),
        ("ctl:auditLogParts=+E", "Ctl(Ignored(\"auditLogParts=+E\"))"),
        ("exec:/bin/true", "Ignored(\"exec\")"),
    ] {
        let rule = rule(&format!("SecRule ARGS x \"id:1,{text}\""));
        let found: Vec<String> = rule.actions.iter().skip(1).map(|action| format!("{:?}", action.value)).collect();
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn ctl_takes_a_target_with_a_selector() {
    for (text, expected) in [
        ("ctl:ruleRemoveTargetById=5;ARGS:a", "5-5 ARGS name a"),
        ("ctl:ruleRemoveTargetById=5-9;REQUEST_COOKIES:/^a/", "5-9 REQUEST_COOKIES pattern ^a"),
        ("ctl:'ruleRemoveTargetByTag=a b;ARGS:/^(a|b),c/'", "a b ARGS pattern ^(a|b),c"),
        ("ctl:ruleRemoveTargetByMsg=m;XML:/*", "m XML name /*"),
    ] {
        let rule = rule(&format!("SecRule ARGS x \"id:1,{text}\""));
        let found = match &rule.actions[1].value {
            Action::Ctl(Ctl::RuleRemoveTargetById(from, to, target)) => format!("{from}-{to} {}", shown(target)),
            Action::Ctl(Ctl::RuleRemoveTargetByTag(which, target) | Ctl::RuleRemoveTargetByMsg(which, target)) => {
                format!("{which} {}", shown(target))
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn settings_are_read_in_every_form() {
    for (text, expected) in [
        ("SecRuleEngine On", "RuleEngine(On)"),
        ("secruleengine \"DetectionOnly\"", "RuleEngine(DetectionOnly)"),
        ("SecRequestBodyAccess Off", "RequestBodyAccess(false)"),
        ("SecRequestBodyLimit 13107200", "RequestBodyLimit(13107200)"),
        ("SecRequestBodyNoFilesLimit 131072", "RequestBodyNoFilesLimit(131072)"),
        ("SecRequestBodyLimitAction ProcessPartial", "RequestBodyLimitAction(ProcessPartial)"),
        ("SecRequestBodyJsonDepthLimit 512", "RequestBodyJsonDepthLimit(512)"),
        ("SecArgumentsLimit 1000", "ArgumentsLimit(1000)"),
        ("SecResponseBodyAccess On", "ResponseBodyAccess(true)"),
        ("SecResponseBodyLimit 524288", "ResponseBodyLimit(524288)"),
        ("SecResponseBodyLimitAction Reject", "ResponseBodyLimitAction(Reject)"),
        ("SecResponseBodyMimeType text/plain text/html", "ResponseBodyMimeType([\"text/plain\", \"text/html\"])"),
        ("SecResponseBodyMimeTypesClear", "ResponseBodyMimeType([])"),
        ("SecArgumentSeparator &", "ArgumentSeparator(38)"),
        ("SecCollectionTimeout 600", "CollectionTimeout(600)"),
        ("SecComponentSignature \"A/1\"", "ComponentSignature(\"A/1\")"),
        ("SecWebAppId app", "WebAppId(\"app\")"),
    ] {
        match directives(text).as_slice() {
            [Directive { kind: DirectiveKind::Setting(setting), .. }] => assert_eq!(format!("{setting:?}"), expected),
            other => panic!("{text}: {other:?}"),
        }
    }
    for nothing in ["SecCookieFormat 0", "SecXmlExternalEntity Off", "SecParseXmlIntoArgs Off", "", "# a", "  \r\n"] {
        assert!(directives(nothing).is_empty(), "{nothing}");
    }
}

#[test]
fn the_code_page_map_is_read_from_its_file() {
    let map = "\u{feff}# Windows\n1250 (ANSI)\n00a1:21 0160:8a\n\n20127 (US-ASCII)\n00a0:20 00a1:21\r\nff5e:7e\n65000 (X)\n00a2:63\n";
    let source = Memory::default()
        .with("etc/main.conf", "Include rules/*.conf")
        .with("etc/rules/a.conf", "SecUnicodeMapFile u.mapping 20127")
        .with("etc/rules/u.mapping", map);
    let parsed = parse(&source, &["etc/main.conf".to_owned()]);
    assert_eq!(parsed.problems, []);
    assert!(matches!(parsed.directives.as_slice(), [Directive { kind: DirectiveKind::Setting(setting), .. }]
        if format!("{setting:?}") == "UnicodeMap([(160, 32), (161, 33), (65374, 126)])"));
}

#[test]
fn updates_and_removals_are_read_in_every_form() {
    let rules = "SecRule ARGS x id:5,chain\nSecRule ARGS y\nSecRule ARGS x id:9\n";
    for (text, expected) in [
        ("SecRuleRemoveById 5", "RemoveById([(5, 5)])"),
        ("SecRuleRemoveById 5 \"6-9\" 9", "RemoveById([(5, 5), (6, 9), (9, 9)])"),
        ("SecRuleRemoveById \"5,9 6-10\"", "RemoveById([(5, 5), (9, 9), (6, 10)])"),
        ("SecRuleRemoveByTag attack-sqli", "RemoveByTag(\"attack-sqli\")"),
        ("SecRuleRemoveByMsg \"a b\"", "RemoveByMsg(\"a b\")"),
        ("SecMarker END", "Marker(\"END\")"),
        ("SecMarker \"END\"", "Marker(\"END\")"),
    ] {
        let found = directives(&format!("{rules}{text}"));
        assert_eq!(format!("{:?}", found[2].kind), expected, "{text}");
    }
    for (text, expected) in [
        ("SecRuleUpdateTargetById 5 !ARGS:a", "Ids([(5, 5)]) [\"!ARGS name a\"] None"),
        ("SecRuleUpdateTargetById \"5-9\" \"!ARGS:a|TX:b\"", "Ids([(5, 9)]) [\"!ARGS name a\", \"TX name b\"] None"),
        (
            "SecRuleUpdateTargetById 5:1 !ARGS:a,!TX:b",
            "Link { id: 5, link: 1 } [\"!ARGS name a\", \"!TX name b\"] None",
        ),
        ("SecRuleUpdateTargetById 5 TX:b ARGS", "Ids([(5, 5)]) [\"TX name b\"] Some([\"ARGS\"])"),
        ("SecRuleUpdateTargetByTag a !ARGS:b", "Tag(\"a\") [\"!ARGS name b\"] None"),
        ("SecRuleUpdateTargetByMsg 'a b' !ARGS:b", "Msg(\"a b\") [\"!ARGS name b\"] None"),
    ] {
        let found = directives(&format!("{rules}{text}"));
        let DirectiveKind::UpdateTarget { which, targets, replaced } = &found[2].kind else { panic!("{text}") };
        let list = |targets: &Vec<_>| {
            targets.iter().map(|target: &super::super::ast::Spanned<_>| shown(&target.value)).collect::<Vec<_>>()
        };
        assert_eq!(format!("{which:?} {:?} {:?}", list(targets), replaced.as_ref().map(list)), expected, "{text}");
        assert!(matches!(which, Which::Ids(_) | Which::Link { .. } | Which::Tag(_) | Which::Msg(_)));
    }
    match &directives(&format!("{rules}SecRuleUpdateActionById 5:1 \"t:none,pass\""))[2].kind {
        DirectiveKind::UpdateAction { id: 5, link: 1, actions } => assert_eq!(actions.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_is_joined_to_its_head_whatever_stands_between() {
    let text = "SecRule ARGS a \"id:1,chain,deny\"\n\n  # next\n  SecRule ARGS b \"t:lowercase,chain\"\n  SecAction setvar:tx.a=1\n\
                SecAction \"id:2,pass,chain\"\nSecRule ARGS c\nSecRule ARGS d id:3";
    let found = directives(text);
    let links: Vec<usize> = found
        .iter()
        .map(|directive| match &directive.kind {
            DirectiveKind::Rule(rule) => rule.links.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(links, [2, 1, 0]);
    let DirectiveKind::Rule(rule) = &found[0].kind else { unreachable!() };
    assert_eq!(rule.links[0].operator.value.argument, "b");
    assert_eq!(rule.links[1].operator.value.name, "unconditionalMatch");
    assert_eq!(rule.links[1].text, "SecAction setvar:tx.a=1");
}

#[test]
fn a_rule_keeps_its_text_and_the_places_of_its_parts() {
    let text = "\nSecRule ARGS|TX:a \\\n    \"!@rx \\\"b\" \\\n    \"id:1,\\\n    deny\"\n";
    let rule = rule(text);
    assert_eq!(rule.text, text.trim());
    let shown = [
        rule.place.to_string(),
        rule.targets[1].place.to_string(),
        rule.operator.place.to_string(),
        rule.operator.value.argument_place.to_string(),
        rule.actions[1].place.to_string(),
    ];
    assert_eq!(shown, ["r.conf:2:1", "r.conf:2:14", "r.conf:3:6", "r.conf:3:12", "r.conf:5:5"]);
}

#[test]
fn each_byte_of_an_argument_has_its_place() {
    for (text, expected) in [
        ("SecRule ARGS \"@rx abc\" id:1", &["1:19", "1:20", "1:21"] as &[&str]),
        ("SecRule ARGS \"@rx a\\\"c\" id:1", &["1:19", "1:21", "1:22"]),
        ("SecRule ARGS '@rx \\\'\"' id:1", &["1:20", "1:21"]),
        ("SecRule ARGS \"@rx \\\\'\" id:1", &["1:19", "1:20", "1:21"]),
        ("\n SecRule \\\n  ARGS \\\r\n \"@rx a\\\n b\" id:1", &["4:7", "5:1", "5:2"]),
        ("SecRule ARGS \"@rx a\\\\\" id:1", &["1:19", "1:20", "1:21"]),
        ("SecRule ARGS abc id:1", &["1:14", "1:15", "1:16"]),
    ] {
        let rule = rule(text);
        let places: Vec<String> = (0..rule.operator.value.argument.len())
            .map(|at| rule.place_in_argument(at).to_string().trim_start_matches("r.conf:").to_owned())
            .collect();
        assert_eq!(places, expected, "{text}");
    }
}
