//! The key of a model server: sent in place of whatever the client sent, known to nobody else, and changed by a reload.

use std::os::unix::fs::PermissionsExt;

use tollgate_testkit::client::post;
use tollgate_testkit::h2::request;
use tollgate_testkit::{Folder, H2Client, House, ModelServer, RpcServer, Step};

const KEY: &str = "sk-of-the-model-server-1";

fn config(servers: (&ModelServer, &RpcServer), of_upstream: &str) -> String {
    format!(
        "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], grpc: [\"{}\"], key: \"secret://file/up.key\"{of_upstream} }} }}
models: {{ linear: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [1] }}] }} }} }}
routes:
  - {{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }}
  - {{ name: grpc, path: \"/inference.GRPCInferenceService/{{method}}\", protocol: oip_grpc, models: [linear], auth: none }}
",
        servers.0.url(),
        servers.1.url()
    )
}

fn write(folder: &Folder, key: &str) {
    folder.write("up.key", key);
    std::fs::set_permissions(folder.join("up.key"), PermissionsExt::from_mode(0o600)).expect("a mode");
}

async fn scene(of_upstream: &str) -> (House, ModelServer, RpcServer) {
    let server = ModelServer::agreeable().await;
    let rpc =
        RpcServer::start(|asked| vec![Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])]).await;
    let house = House::start_in(&config((&server, &rpc), of_upstream), |folder| write(folder, KEY));
    (house, server, rpc)
}

#[tokio::test]
async fn the_server_gets_its_key_and_never_the_callers() {
    let (house, server, _rpc) = scene("").await;
    let mut client = house.plain().await;
    let reply = client.ask(post("/p", &house.bearer("acme"), "{}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let taken = server.requests().remove(0);
    assert_eq!(taken.fields("authorization"), [format!("Bearer {KEY}")], "{}", taken.head);
    assert!(!taken.head.contains(house.key("acme")), "{}", taken.head);
    house.line(&reply.id()).await;
    assert!(!format!("{:?}", house.lines()).contains(KEY));
    let redactor = &house.gateway().control().state.redactor;
    assert_eq!(redactor.clean(&format!("it said `{KEY}`")), "it said `[redacted]`");
}

#[tokio::test]
async fn calls_and_streams_over_grpc_carry_it_too() {
    let (house, _server, rpc) = scene("").await;
    let mut client = H2Client::plain(house.at("plain")).await;
    let message = b"\x0a\x06linear\x2a\x0c\x0a\x01x\x12\x04FP32\x1a\x01\x01\x3a\x04\0\0\0\0";
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    for (at, method) in ["ModelInfer", "ModelStreamInfer"].into_iter().enumerate() {
        let head = request("POST", &format!("/inference.GRPCInferenceService/{method}"), &fields);
        client.call(head, message).await.expect("an answer");
        assert_eq!(rpc.asked()[at].fields["authorization"], format!("Bearer {KEY}"), "{method}");
    }
}

#[tokio::test]
async fn a_server_that_reads_another_field_gets_it_there() {
    for (key_header, name) in [("x_api_key", "x-api-key"), ("api_key", "api-key")] {
        let (house, server, _rpc) = scene(&format!(", key_header: {key_header}")).await;
        let reply = house.plain().await.ask(post("/p", &house.bearer("acme"), "{}")).await;
        assert_eq!(reply.status, 200);
        let taken = server.requests().remove(0);
        assert_eq!(taken.fields(name), [KEY], "{}", taken.head);
        assert!(taken.fields("authorization").is_empty(), "{}", taken.head);
    }
}

#[tokio::test]
async fn a_reload_sends_the_new_key() {
    let (house, server, _rpc) = scene("").await;
    let mut client = house.plain().await;
    for key in [KEY, "sk-of-the-model-server-2"] {
        write(&house.folder, key);
        house.reload().expect("a good configuration");
        assert_eq!(client.ask(post("/p", &house.bearer("acme"), "{}")).await.status, 200);
        let taken = server.requests().pop().expect("a request");
        assert_eq!(taken.fields("authorization"), [format!("Bearer {key}")]);
    }
    let redactor = &house.gateway().control().state.redactor;
    assert_eq!(redactor.clean("sk-of-the-model-server-2"), "[redacted]");
    write(&house.folder, "two words");
    let why = house.reload().expect_err("no field holds it").to_string();
    assert!(why.contains("`secret://file/up.key` is no value of a header field") && !why.contains("words"), "{why}");
}

#[tokio::test]
async fn a_callers_key_goes_on_only_where_its_route_says_so_and_never_beside_the_servers_own() {
    let server = ModelServer::agreeable().await;
    let config = |forward: bool, key: &str| {
        format!(
            "tenants: {{ acme: {{ routes: [all] }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"]{key} }} }}
routes: [{{ name: all, path: /p, methods: [POST], protocol: none, upstream: m, forward_credentials: {forward} }}]
",
            server.url(),
        )
    };
    let house = House::start_in(&config(false, ""), |folder| write(folder, KEY));
    let sent = async || {
        let mut client = house.plain().await;
        assert_eq!(client.ask(post("/p", &format!("X-API-Key: {}\r\n", house.key("acme")), "{}")).await.status, 200);
        let taken = server.requests().pop().expect("it was asked");
        let own: Vec<_> = taken.fields("authorization").into_iter().map(str::to_owned).collect();
        (taken.fields("x-api-key").len(), own)
    };
    assert_eq!(sent().await, (0, vec![]));
    house.configure(&config(true, ""));
    house.reload().expect("a good file");
    assert_eq!(sent().await, (1, vec![]));
    house.configure(&config(true, ", key: \"secret://file/up.key\""));
    house.reload().expect("a good file");
    assert_eq!(sent().await, (0, vec![format!("Bearer {KEY}")]));
}
