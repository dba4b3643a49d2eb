//! What variables hold, exclusions, and what `ctl` takes away.

use super::{Request, run};

#[test]
fn the_target_of_a_request_is_split_as_the_reference_says() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,msg:'%{REQUEST_URI_RAW} %{REQUEST_URI} %{REQUEST_FILENAME} %{REQUEST_BASENAME} %{QUERY_STRING}'""#;
    let cases = [
        ("/a/b%20c.php?x=1#top", "/a/b%20c.php?x=1#top /a/b%20c.php?x=1 /a/b c.php b c.php x=1"),
        ("http://h.example/a?y", "http://h.example/a?y /a?y /a a y"),
        ("http://h.example", "http://h.example / /  "),
        (r"/d\e", r"/d\e /d\e /d\e e "),
        ("*", "* * * * "),
    ];
    for (target, want) in cases {
        assert_eq!(run(rules, &Request::get(target)).msg(), want, "{target}");
    }
}

#[test]
fn arguments_are_those_of_the_query_and_of_the_body() {
    let rules = r#"
        SecRule &ARGS "@eq 3" "id:1,phase:2,pass,msg:'%{ARGS_COMBINED_SIZE}'"
        SecRule &ARGS_GET|&ARGS_GET_NAMES "@eq 1" "id:2,phase:2,pass"
        SecRule &ARGS_POST "@eq 2" "id:3,phase:2,pass"
        SecRule ARGS_POST:b "@streq x y" "id:4,phase:2,pass"
        SecRule ARGS_NAMES "@streq q" "id:5,phase:2,pass,msg:'%{MATCHED_VAR_NAME}'""#;
    let mut request = Request::form("b=x+y&c=%41");
    request.target = "/?q=1".to_owned();
    let found = run(rules, &request);
    assert_eq!((found.ids(), found.msg()), (vec![1, 2, 3, 4, 5], "ARGS_NAMES:q".to_owned()));
    assert_eq!(found.tally.matched[0].msg, b"8");
}

#[test]
fn cookies_headers_and_the_connection_are_variables() {
    let rules = r#"
        SecRule REQUEST_COOKIES:sid "@streq a%20b" "id:1,phase:1,pass"
        SecRule REQUEST_COOKIES_NAMES "@streq theme" "id:2,phase:1,pass"
        SecRule REQUEST_HEADERS_NAMES "@streq Cookie" "id:3,phase:1,pass"
        SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:4,phase:1,pass"
        SecRule SERVER_NAME "@streq shop.example" "id:5,phase:1,pass"
        SecRule TIME_YEAR|TIME_EPOCH "@ge 2024" "id:6,phase:1,pass,msg:'%{TIME_YEAR}-%{TIME_MON}-%{TIME_DAY} %{TIME} %{TIME_WDAY}'""#;
    let found = run(rules, &Request::get("/").with("Cookie", "sid=a%20b; theme=dark"));
    assert_eq!(found.ids(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(found.msg(), "2024-1-29 13:00:00 4");
}

#[test]
fn parts_of_a_multipart_body_are_files_and_arguments() {
    let rules = r#"
        SecRule FILES:up "@streq a.txt" "id:1,phase:2,pass"
        SecRule FILES_NAMES "@streq up" "id:2,phase:2,pass"
        SecRule ARGS_POST:note "@streq hi" "id:3,phase:2,pass"
        SecRule MULTIPART_PART_HEADERS:up "@rx (?i)^content-type: text/plain$" "id:4,phase:2,pass"
        SecRule FILES_COMBINED_SIZE "@eq 4" "id:5,phase:2,pass"
        SecRule REQBODY_PROCESSOR "@streq MULTIPART" "id:6,phase:2,pass"
        SecRule MULTIPART_STRICT_ERROR "@eq 1" "id:7,phase:2,pass""#;
    let mut request = Request::get("/").with("Content-Type", "multipart/form-data; boundary=AaB");
    request.body = b"--AaB\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--AaB\r\n\
        Content-Disposition: form-data; name=\"up\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nfour\r\n--AaB--\r\n"
        .to_vec();
    assert_eq!(run(rules, &request).ids(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn xml_has_its_text_and_its_attributes_by_path() {
    let rules = r#"
        SecAction "id:9,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
        SecRule XML:/* "@contains inside" "id:1,phase:2,pass"
        SecRule XML://@* "@streq value" "id:2,phase:2,pass"
        SecRule XML:/* "@contains value" "id:3,phase:2,pass"
        SecRule XML:/*|XML://@*|!XML:/* "@contains inside" "id:4,phase:2,pass""#;
    let mut request = Request::get("/").with("Content-Type", "text/xml");
    request.body = br#"<a b="value"><c>inside</c></a>"#.to_vec();
    assert_eq!(run(rules, &request).ids(), [1, 2]);
}

#[test]
fn a_rule_leaves_out_its_excluded_targets() {
    let rules = r#"
        SecRule ARGS|!ARGS:free "@contains x" "id:1,phase:2,pass,setvar:tx.hits=+1"
        SecRule ARGS|!ARGS:/^f/|REQUEST_HEADERS|!REQUEST_HEADERS "@contains x" "id:2,phase:2,pass"
        SecRule TX:hits "@eq 1" "id:3,phase:2,pass""#;
    assert_eq!(run(rules, &Request::get("/?free=x&Free=x&held=x")).ids(), [1, 2, 3]);
    assert_eq!(run(rules, &Request::get("/?free=x").with("X-Any", "x")).ids(), Vec::<u64>::new());
}

#[test]
fn ctl_takes_rules_away_for_this_transaction_only() {
    let rules = r#"
        SecRule ARGS:off "@streq id" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=11"
        SecRule ARGS:off "@streq tag" "id:2,phase:1,pass,nolog,ctl:ruleRemoveByTag=^group"
        SecRule ARGS:off "@streq msg" "id:3,phase:1,pass,nolog,ctl:ruleRemoveByMsg=second"
        SecAction "id:11,phase:2,pass,msg:'first',tag:'other'"
        SecAction "id:12,phase:2,pass,msg:'the second',tag:'group/1'""#;
    let left = |off: &str| run(rules, &Request::get(&format!("/?off={off}"))).ids();
    assert_eq!([left("id"), left("tag"), left("msg"), left("")], [vec![12], vec![11], vec![11], vec![11, 12]]);
}

#[test]
fn ctl_takes_targets_away_by_name_pattern_and_whole() {
    let rules = r#"
        SecRule ARGS:off "@streq name" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=10-19;ARGS:q"
        SecRule ARGS:off "@streq pattern" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=web;ARGS:/^q/"
        SecRule ARGS:off "@streq whole" "id:3,phase:1,pass,nolog,ctl:ruleRemoveTargetByMsg=find;ARGS"
        SecRule ARGS "@rx x$" "id:11,phase:2,pass,msg:'find',tag:'web',logdata:'%{MATCHED_VAR_NAME}',setvar:tx.n=+1"
        SecRule TX:n "@ge 1" "id:20,phase:2,pass,msg:'%{tx.n}'""#;
    let left = |off: &str| run(rules, &Request::get(&format!("/?Q=x&qq=x&other=x&off={off}"))).msg();
    assert_eq!([left("name"), left("pattern"), left("whole"), left("")], ["2", "1", "", "3"]);
}

#[test]
fn many_removed_targets_cost_no_more_than_their_number() {
    let mut rules = String::new();
    for at in 0..300 {
        rules += &format!("SecAction \"id:{},phase:1,pass,nolog,ctl:ruleRemoveTargetById=9000;ARGS:a{at}\"\n", at + 1);
    }
    rules += "SecRule ARGS \"@streq x\" \"id:9000,phase:2,pass,setvar:tx.n=+1\"\nSecAction \"id:9001,phase:2,pass,msg:'%{tx.n}'\"";
    let query: Vec<String> = (0..400).map(|at| format!("A{at}=x")).collect();
    assert_eq!(run(&rules, &Request::get(&format!("/?{}", query.join("&")))).msg(), "100");
}

#[test]
fn operators_read_files_beside_the_rules() {
    let rules = r#"SecRule ARGS "@pmFromFile words.data" "id:1,phase:2,pass,capture,logdata:'%{TX.0}'""#;
    assert_eq!(run(rules, &Request::get("/?q=a+Badger")).tally.matched[0].data, b"Badger");
}
