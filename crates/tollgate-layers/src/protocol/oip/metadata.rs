//! What the protocol's reading verbs answer: from the policy, never from a model server.

use tollgate_core::backend::{Dim, Port, Signature};

use crate::protocol::write;

/// The answer to `GET /v2`.
#[must_use]
pub fn server_metadata(version: &str) -> String {
    let mut out = String::from(r#"{"name":"tollgate","version":"#);
    write::string(&mut out, version);
    out.push_str(r#","extensions":[]}"#);
    out
}

/// The answer to `GET /v2/health/live` and `/ready`.
#[must_use]
pub fn server_live(live: bool) -> String {
    format!(r#"{{"live":{live}}}"#)
}

/// The answer to `GET /v2/models/M/ready`.
#[must_use]
pub fn model_ready(name: &str, ready: bool) -> String {
    let mut out = String::from(r#"{"name":"#);
    write::string(&mut out, name);
    out.push_str(if ready { r#","ready":true}"# } else { r#","ready":false}"# });
    out
}

/// The answer to `GET /v2/models/M`. A symbolic dimension is -1.
#[must_use]
pub fn model_metadata(name: &str, platform: &str, signature: &Signature) -> String {
    let mut out = String::from(r#"{"name":"#);
    write::string(&mut out, name);
    out.push_str(r#","versions":[],"platform":"#);
    write::string(&mut out, platform);
    out.push_str(r#","inputs":"#);
    write::list(&mut out, &signature.inputs, port);
    out.push_str(r#","outputs":"#);
    write::list(&mut out, &signature.outputs, port);
    out.push('}');
    out
}

fn port(out: &mut String, port: &Port) {
    out.push_str(r#"{"name":"#);
    write::string(out, &port.name);
    out.push_str(r#","datatype":"#);
    write::string(out, port.dtype.name());
    out.push_str(r#","shape":"#);
    write::list(out, &port.dims, |out, dim| match dim {
        Dim::Fixed(size) => write::value(out, size),
        Dim::Symbolic(_) => out.push_str("-1"),
    });
    out.push('}');
}
