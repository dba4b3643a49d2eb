//! A panic in one exchange is one 503 and one record; the connection and the gateway go on.

use std::sync::Arc;

use serde_json::json;
use tollgate_core::backend::{Backend, BoxFuture, Dim, Output, Port, Signature};
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::Fault;
use tollgate_gateway::state::Embed;
use tollgate_testkit::client::post;
use tollgate_testkit::h2::request;
use tollgate_testkit::{H2Client, House};

/// A model that panics where its input is 666, and answers with its input otherwise.
struct Moody(Signature);

struct Menagerie;

impl Embed for Menagerie {
    fn shipped(&self, _: &str) -> Result<Arc<dyn Backend>, String> {
        let port = |name: &str| Port {
            name: name.into(),
            dtype: Dtype::Fp32,
            dims: vec![Dim::Symbolic("batch".into()), Dim::Fixed(1)],
        };
        let signature = Signature { inputs: vec![port("x")], outputs: vec![port("y")], ..Signature::default() };
        Ok(Arc::new(Moody(signature)))
    }

    fn file(&self, _: Vec<u8>, _: Option<&str>, _: &[String]) -> Result<Arc<dyn Backend>, String> {
        Err("no files here".to_owned())
    }
}

impl Backend for Moody {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn ready(&self) -> bool {
        true
    }

    fn infer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Output, Fault>> {
        let values = call.inputs.first().map(|tensor| tensor.values.clone());
        let evil = matches!(&values, Some(Values::F32(numbers)) if numbers.contains(&666.0));
        assert!(!call.inputs.is_empty());
        Box::pin(async move {
            assert!(!evil, "PANIC-OF-THE-MODEL");
            let tensor = Tensor {
                name: "y".into(),
                dtype: Dtype::Fp32,
                shape: vec![1, 1],
                values: Values::F32(vec![1.0]),
                at: 0..0,
            };
            Ok(Output { tensors: vec![tensor], compute_us: 10 })
        })
    }
}

fn house() -> House {
    let rest = "upstreams: { m: { embedded: moody } }
models: { m: { upstream: m, cost: { fixed_us: 4000000 } } }
limits: { budgets: [{ name: gold, per: tenant, burst: 5000000, refill_per_sec: 1 }] }
routes:
  - { name: oip, path: \"/v2/{*rest}\", protocol: oip, models: [m] }
tenants:
  acme: { models: [m], budgets: [gold] }
";
    House::start_with(rest, Box::new(Menagerie))
}

fn body(number: f32) -> String {
    json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [number]}]}).to_string()
}

#[tokio::test]
async fn a_panic_is_one_503_and_one_record_and_the_connection_goes_on() {
    let house = house();
    let mut client = house.plain().await;
    let infer = |number| post("/v2/models/m/infer", &house.bearer("acme"), &body(number));
    let good = client.ask(infer(1.0)).await;
    assert_eq!(good.status, 200, "{}", good.text());
    for round in 1..=3_u8 {
        let reply = client.ask(infer(666.0)).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "unavailable"), "{}", reply.text());
        assert!(!reply.text().contains("PANIC") && !reply.head.contains("PANIC"));
        let line = house.line(&reply.id()).await;
        assert_eq!((line["outcome"].as_str(), line["status"].as_u64()), (Some("denied"), Some(503)), "{line}");
        assert_eq!(house.metric("tollgate_panics_total").await, Some(f64::from(round)));
        let after = client.ask(infer(2.0)).await;
        // 4 of the 5 seconds that the tenant has are reserved for each: without a settlement this would be a 429.
        assert_eq!(after.status, 200, "the same connection serves: {}", after.text());
    }
    house.quiet().await;
}

#[tokio::test]
async fn a_panic_over_h2_costs_its_stream_alone() {
    let house = house();
    let mut client = H2Client::plain(house.at("plain")).await;
    let key = format!("Bearer {}", house.key("acme"));
    let infer = || request("POST", "/v2/models/m/infer", &[("authorization", &key)]);
    assert_eq!(client.ask(infer(), &body(666.0)).await.expect("an answer").status, 503);
    assert_eq!(client.ask(infer(), &body(1.0)).await.expect("an answer").status, 200);
    house.quiet().await;
}
