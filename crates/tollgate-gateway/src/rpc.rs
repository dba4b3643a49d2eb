//! Calls over gRPC: what is answered here, and the form of what embedded models answer.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use tollgate_core::backend::Output;
use tollgate_core::call::Call;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_layers::protocol::frames::grpc::prefix;
use tollgate_layers::protocol::oip::grpc as oip;
use tollgate_layers::routes::Verb;

use crate::pipeline::Admitted;
use crate::problem::GRPC;
use crate::snapshot::Policy;
use crate::upstream::Target;
use crate::worker::Worker;

/// Answers what needs no model: health and metadata.
pub fn answer_here(p: &Policy, w: &Worker, job: &Admitted) -> Option<Response<Bytes>> {
    let message = match job.verb {
        Verb::ServerLive => oip::state(true),
        Verb::ServerReady => oip::state(w.state.is_ready()),
        Verb::ModelReady => oip::state(p.upstream_of(job.call.model?).is_some_and(|upstream| match &upstream.target {
            Target::Local(backend) => backend.ready(),
            Target::Remote(_) => true,
        })),
        Verb::ServerMetadata => oip::server_metadata(env!("CARGO_PKG_VERSION")),
        Verb::ModelMetadata => {
            let model = p.models.get(job.call.model?.index())?;
            oip::model_metadata(&model.name, &model.platform, &model.signature)
        }
        Verb::Health
        | Verb::Infer
        | Verb::LimitsPolicy
        | Verb::ResourceMetadata
        | Verb::ModelList
        | Verb::Proxy
        | Verb::Quota
        | Verb::Stream => return None,
    };
    whole(&message)
}

/// The answer of an embedded model.
///
/// # Errors
/// It is none of the outputs that were asked for, or too large for a message.
pub fn encode(model: &str, call: &Call, output: &Output) -> Result<Response<Bytes>, Fault> {
    let message = oip::reply(model, call, output)?;
    whole(&message).ok_or_else(|| Fault::new(Origin::Upstream, "the model gave more than a message can hold"))
}

/// An answer that is one message; its trailers are added where it leaves.
fn whole(message: &[u8]) -> Option<Response<Bytes>> {
    let prefix = prefix(message.len())?;
    let mut body = BytesMut::with_capacity(prefix.len() + message.len());
    body.put_slice(&prefix);
    body.put_slice(message);
    let mut response = Response::new(body.freeze());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    Some(response)
}
