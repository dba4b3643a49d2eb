//! Policies decide over the wire as they do in their tests: on the head where they can, on the body where they must, and as a
//! whole from one reload to the next.
#![cfg(feature = "cedar")]

use serde_json::json;
use tollgate_testkit::client::post;
use tollgate_testkit::{Client, House, ModelServer};

const POLICIES: &str = "
@id(\"large\") forbid(principal, action, resource) when { context has payload && context.payload has max_tokens && context.payload.max_tokens > 100 };
@id(\"big\") permit(principal in Tenant::\"globex\", action == Action::\"infer\", resource == Model::\"big\");
";

async fn house() -> (House, ModelServer) {
    let server = ModelServer::agreeable().await;
    let config = format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  small: {{ upstream: m }}
  big: {{ upstream: m }}
routes:
  - {{ name: chat, path: \"/v1/chat/completions\", protocol: openai, models: [small, big] }}
  - {{ name: raw, path: \"/raw\", protocol: none, upstream: m }}
authz: {{ policies: [\"*.cedar\"] }}
tenants:
  acme: {{ models: [small], routes: [chat, raw] }}
  globex: {{}}
",
        server.url()
    );
    let house = House::start_in(&config, |folder| folder.write("all.cedar", POLICIES));
    (house, server)
}

async fn ask(house: &House, tenant: &str, model: &str, more: &str) -> (u16, serde_json::Value) {
    let body = format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]{more}}}");
    let fields = format!("{}Content-Type: application/json\r\n", house.bearer(tenant));
    let reply = Client::plain(house.at("plain")).await.ask(post("/v1/chat/completions", &fields, &body)).await;
    (reply.status, if reply.status == 200 { json!({}) } else { house.line(&reply.id()).await })
}

#[tokio::test]
async fn the_model_and_the_size_that_a_body_names_are_decided_on() {
    let (house, _server) = house().await;
    assert_eq!(ask(&house, "acme", "small", "").await.0, 200, "listed");
    assert_eq!(ask(&house, "globex", "big", "").await.0, 200, "permitted");
    for (tenant, model, more, evidence) in [
        ("acme", "big", "", "neither a list nor a policy permits it to `acme`"),
        ("acme", "small", ",\"max_tokens\":101", "policy `large` forbids it"),
        ("globex", "small", "", "neither a list nor a policy permits it to `globex`"),
        ("globex", "big", ",\"stream\":true", "neither a list nor a policy permits it to `globex`"),
    ] {
        let (status, line) = ask(&house, tenant, model, more).await;
        assert_eq!((status, line["stage"].as_str()), (403, Some("authz")), "{line}");
        assert_eq!(line["evidence"], evidence);
    }
    assert_eq!(ask(&house, "globex", "nowhere", "").await.0, 404, "there is no such model");
}

#[tokio::test]
async fn policies_are_read_again_and_broken_ones_keep_the_old_ones() {
    let (house, _server) = house().await;
    house.folder.write("more.cedar", "@id(\"no\") forbid(principal in Tenant::\"acme\", action, resource);\n");
    house.reload().expect("good policies");
    let (status, line) = ask(&house, "acme", "small", "").await;
    assert_eq!((status, line["evidence"].as_str()), (403, Some("policy `no` forbids it")));
    house.folder.write(
        "more.cedar",
        "permit(principal, action, resource);\n  permit(principal, action, resource) when { context.nothing };\n",
    );
    let error = house.reload().expect_err("there is no such fact").to_string();
    assert!(error.contains("more.cedar:2:"), "{error}");
    assert_eq!(ask(&house, "acme", "small", "").await.0, 403, "the old ones go on");
    assert_eq!(house.metric("tollgate_config_rejected").await, Some(1.0));
    house.folder.write("more.cedar", "");
    house.reload().expect("an empty file is one");
    assert_eq!(ask(&house, "acme", "small", "").await.0, 200);
}

#[tokio::test]
async fn a_policy_that_fails_denies_and_is_counted() {
    let (house, _server) = house().await;
    assert_eq!(house.metric("tollgate_authz_policy_errors_total").await, Some(0.0));
    let failing = "@id(\"sum\") forbid(principal, action, resource)
        when { context has payload && (context.payload.bytes + 1) * 9223372036854775807 > 0 };\n";
    house.folder.write("more.cedar", failing);
    house.reload().expect("its types are right");
    let (status, line) = ask(&house, "acme", "small", "").await;
    assert_eq!((status, line["evidence"].as_str()), (403, Some("policy `sum` failed")));
    assert_eq!(house.metric("tollgate_authz_policy_errors_total").await, Some(1.0));
}
