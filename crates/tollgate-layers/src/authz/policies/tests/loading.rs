//! What is wrong with policies is said with file, line and column, all at once.

use super::{AUTHZ, TENANTS, built, built_from};

fn problems(files: &[(&'static str, &str)]) -> (Vec<String>, Vec<String>) {
    let files = files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let built = built_from(TENANTS, AUTHZ, files);
    (built.problems, built.warnings)
}

#[test]
fn every_mistake_of_every_file_is_reported_where_it_stands() {
    let (found, _) = problems(&[
        (
            "a.cedar",
            "permit(principal, action, resource)\nwhen { context.risk > 1 };\n\n  permit(principal, action == Action::\"fly\", resource);",
        ),
        (
            "b.cedar",
            "permit(principal, action, resource) when { context.cost > 1 };\nforbid(principal in Tenant::\"acmee\", action, resource == Model::\"digit\");",
        ),
        ("c.cedar", "permit(principal, action, resource)\n  wenn { true };"),
        (
            "d.cedar",
            "@id(\"x\") permit(principal, action, resource);\n@id(\"x\") forbid(principal, action, resource) when { context.hour == \"ten\" };",
        ),
        ("e.cedar", "permit(principal == ?principal, action, resource);"),
        ("f.cedar", "permit(principal == Client::\"a\\u{0}b\", action, resource);"),
    ]);
    let places: Vec<_> =
        found.iter().map(|problem| problem.splitn(4, ':').take(3).collect::<Vec<_>>().join(":")).collect();
    let wanted = [
        "a.cedar:2:8",
        "a.cedar:4:31",
        "b.cedar:1:44",
        "b.cedar:2:21",
        "c.cedar:2:3",
        "d.cedar:2:5",
        "d.cedar:2:53",
        "e.cedar:1:21",
        "f.cedar:1:1",
    ];
    for place in wanted {
        assert!(places.iter().any(|found| found == place), "{place} is missing from {found:#?}");
    }
    for word in ["risk", "fly", "cost", "Tenant::\"acmee\"", "Model::\"digit\"", "two policies", "a template"] {
        assert!(found.iter().any(|problem| problem.contains(word)), "{word} is missing from {found:#?}");
    }
    assert!(found.iter().all(|problem| !problem.contains("for policy")), "{found:#?}");
}

#[test]
fn the_policies_of_the_page_load_with_its_configuration() {
    #[derive(serde::Deserialize)]
    struct Page {
        authz: serde_json::Value,
        tenants: serde_json::Value,
    }
    let page = include_str!("../../README.md");
    let block = |from: &str, of: usize| {
        let block = page.split(from).nth(of).expect("the page has it");
        block.split("```").next().expect("a block ends")
    };
    let Page { authz, tenants } = serde_saphyr::from_str(block("```yaml\n", 2)).expect("it parses");
    let policies = vec![("policies/a.cedar", block("```cedar\n", 1).to_owned())];
    let authz = authz.to_string().replace("policies/*.cedar", "*.cedar");
    let built = built_from(&tenants.to_string(), &authz, policies);
    assert_eq!((built.problems, built.warnings), (vec![], vec![]));
}

#[test]
fn files_are_named_and_read_or_that_is_said() {
    let built = built_from(TENANTS, "policies: [none.cedar, rules.conf]", vec![("rules.conf", String::new())]);
    assert_eq!(
        built.problems,
        [
            "authz.policies.0: `none.cedar` names no file",
            "authz.policies.1: `rules.conf` is no file of policies: their names end with `.cedar`",
        ]
    );
}

#[test]
fn what_is_for_policies_is_refused_without_them() {
    let built = built_from(TENANTS, "{ region: eu, time_zone: UTC, model_groups: { a: [digits] } }", vec![]);
    assert_eq!(
        built.problems,
        [
            "tenants.acme.attributes: `attributes` are for policies, and there are none",
            "tenants.globex.attributes: `attributes` are for policies, and there are none",
            "authz.model_groups: `model_groups` is for policies, and there are none",
            "authz.region: `region` is for policies, and there are none",
            "authz.time_zone: `time_zone` is for policies, and there are none",
        ]
    );
}

#[test]
fn groups_zones_and_attributes_are_checked() {
    let tenants = "{ a: { attributes: { tier: gold, '1': 2 } }, b: { attributes: { tier: 3 } } }";
    let authz = "{ policies: ['*.cedar'], time_zone: Mars, model_groups: { g: [digits, digits, no] } }";
    let built = built_from(tenants, authz, vec![("a.cedar", "permit(principal, action, resource);".to_owned())]);
    assert_eq!(
        built.problems,
        [
            "tenants.a.attributes.1: `1` is not 1 to 64 of letters, digits and `_`, beginning with no digit",
            "tenants.b.attributes.tier: `tier` is a Long here and a String for tenant `a`",
            "authz.time_zone: `Mars` is not a time zone",
            "authz.model_groups.g.1: `digits` is listed twice",
            "authz.model_groups.g.2: `no` is not a model",
        ]
    );
}

#[test]
fn large_partitions_are_warned_of_and_huge_ones_refused() {
    let policy = |i: usize| {
        format!(
            "permit(principal in Tenant::\"acme\", action, resource == Model::\"text\") when {{ context.hour == {i} }};\n"
        )
    };
    let warned = built(&(0..33).map(policy).collect::<String>());
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
    assert!(warned.warnings[0].starts_with("authz.policies: 33 policies decide "), "{:?}", warned.warnings);
    assert_eq!(built(&(0..32).map(policy).collect::<String>()).warnings, Vec::<String>::new());
    let refused = built_from(TENANTS, AUTHZ, vec![("a.cedar", (0..257).map(policy).collect())]);
    assert_eq!(refused.problems.len(), 1);
    assert!(refused.problems[0].starts_with("authz.policies: 257 policies decide "), "{:?}", refused.problems);
}

#[test]
fn policies_that_do_less_than_they_seem_to_are_warned_of() {
    let (problems, warnings) = problems(&[(
        "a.cedar",
        "@id(\"r\") permit(principal, action == Action::\"infer\", resource == Route::\"chat\");
         @id(\"a\") permit(principal, action == Action::\"admin\", resource);",
    )]);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(
        warnings,
        [
            "authz.policies: policy `a` is about `admin` alone: the admin listener asks no policy, it has a key",
            "authz.policies: policy `r` permits no call: on route `chat` calls are about models",
        ]
    );
}
