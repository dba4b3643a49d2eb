//! A gateway before a fake gRPC server, and messages for it.

use http::Request;
use tollgate_testkit::h2::request;
use tollgate_testkit::{Folder, H2Client, H2Reply, House, RpcServer};

/// The path of an inference.
pub(crate) const CALL: &str = "/inference.GRPCInferenceService/ModelInfer";
/// What makes a request one of gRPC.
pub(crate) const FIELDS: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// A gateway before a server.
pub(crate) struct Scene {
    /// The gateway.
    pub(crate) house: House,
    /// The server.
    pub(crate) server: RpcServer,
}

impl Scene {
    /// Before a server that answers with what it was sent.
    pub(crate) async fn new() -> Self {
        Self::before(RpcServer::echo().await, "").await
    }

    /// Before `server`, with more sections.
    pub(crate) async fn before(server: RpcServer, more: &str) -> Self {
        Self::routed(server, more, "").await
    }

    /// The same, with more of the route.
    pub(crate) async fn routed(server: RpcServer, more: &str, of_route: &str) -> Self {
        let of_route = format!(", auth: none{of_route}");
        let house = house_with(&server.url(), "", more, &of_route, |_| ());
        Self { house, server }
    }

    /// The same, where a key is asked for.
    pub(crate) async fn keyed(server: RpcServer, more: &str) -> Self {
        let house = house_with(&server.url(), "", more, "", |_| ());
        Self { house, server }
    }

    /// The same, where the server works on so many requests at once.
    pub(crate) async fn inflight(server: RpcServer, most: u32) -> Self {
        let of_upstream = format!(", inflight: {{ max: {most} }}");
        let house = house_with(&server.url(), &of_upstream, "", ", auth: none", |_| ());
        Self { house, server }
    }

    /// A client in plain text.
    pub(crate) async fn client(&self) -> H2Client {
        H2Client::plain(self.house.at("plain")).await
    }

    /// The answer to a good call on a fresh connection.
    pub(crate) async fn ask(&self) -> H2Reply {
        let mut client = self.client().await;
        client.call(grpc("ModelInfer", &[]), &infer(&[1.0, 2.0])).await.expect("an answer")
    }
}

/// A gateway before the gRPC server at `url`.
pub(crate) fn house_with(
    url: &str,
    of_upstream: &str,
    more: &str,
    of_route: &str,
    prepare: impl FnOnce(&Folder),
) -> House {
    let cap = if of_route.contains("max_body_bytes") { "" } else { ", max_body_bytes: 65536" };
    let inflight = if of_upstream.contains("inflight") { "" } else { ", inflight: { max: 64 }" };
    let path = "/inference.GRPCInferenceService/{method}";
    let rest = format!(
        "runtime: {{ workers: 1 }}
upstreams:
  m: {{ grpc: [\"{url}\"]{inflight}{of_upstream} }}
models:
  linear:
    upstream: m
    contract:
      inputs: [{{ name: x, dtype: FP32, shape: [batch, 2], range: [-100, 100] }}]
      batch: {{ max: 1000000 }}
  echo: {{ upstream: m, contract: {{ inputs: [{{ name: text, dtype: BYTES, shape: [batch, 1] }}] }} }}
routes:
  - {{ name: grpc, path: \"{path}\", protocol: oip_grpc, models: [linear, echo]{cap}{of_route} }}
{more}
"
    );
    House::start_in(&rest, prepare)
}

/// A gateway that opens one method which it does not understand.
pub(crate) fn named(url: &str) -> House {
    let path = "/inference.GRPCInferenceService/ModelConfig";
    House::start(&format!(
        "upstreams: {{ m: {{ preset: triton, grpc: [\"{url}\"] }} }}
routes:
  - {{ name: config, path: {path}, protocol: none, upstream: m, auth: none }}
"
    ))
}

/// The head of a call.
pub(crate) fn grpc(method: &str, more: &[(&str, &str)]) -> Request<()> {
    request("POST", &format!("/inference.GRPCInferenceService/{method}"), &[&FIELDS, more].concat())
}

/// A field of bytes.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &varint(value.len())[..], value].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7F {
        out.push(u8::try_from(value & 0x7F).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
    out
}

/// A request of one row for `linear`.
pub(crate) fn infer(values: &[f32; 2]) -> Vec<u8> {
    row(values)
}

/// A request of rows of two for `linear`.
pub(crate) fn row(values: &[f32]) -> Vec<u8> {
    message("linear", values)
}

/// A request of one row for `linear`, with an id.
pub(crate) fn called(id: &str) -> Vec<u8> {
    [message("linear", &[1.0, 2.0]), field(3, id.as_bytes())].concat()
}

/// A `ModelStreamInferResponse` to the request of an id, which may say whether it is the last.
pub(crate) fn answer_to(id: &str, last: Option<bool>) -> Vec<u8> {
    let flag = |last: bool| {
        let value = field(2, &[8, u8::from(last)]);
        field(4, &[field(1, b"triton_final_response"), value].concat())
    };
    field(2, &[field(1, b"linear"), field(3, id.as_bytes()), last.map(flag).unwrap_or_default()].concat())
}

/// The same, where the request failed.
pub(crate) fn error_to(id: &str) -> Vec<u8> {
    [field(1, b"SECRET"), answer_to(id, None)].concat()
}

/// A request for another model.
pub(crate) fn text(model: &str) -> Vec<u8> {
    message(model, &[1.0, 2.0])
}

/// A request of one text for `echo`.
pub(crate) fn spoken(text: &str) -> Vec<u8> {
    let shape = [1, 1];
    let input = [field(1, b"text"), field(2, b"BYTES"), field(3, &shape)].concat();
    let length = u32::try_from(text.len()).expect("a short text").to_le_bytes();
    [field(1, b"echo"), field(5, &input), field(7, &[&length, text.as_bytes()].concat())].concat()
}

fn message(model: &str, values: &[f32]) -> Vec<u8> {
    let shape = [varint(values.len() / 2), varint(2)].concat();
    let input = [field(1, b"x"), field(2, b"FP32"), field(3, &shape)].concat();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [field(1, model.as_bytes()), field(5, &input), field(7, &raw)].concat()
}
