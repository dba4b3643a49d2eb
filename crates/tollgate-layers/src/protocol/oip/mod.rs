//! Open Inference Protocol v2: REST with tensors as JSON or in the binary extension, and gRPC messages.

pub mod binary;
pub mod grpc;
pub mod json;
mod metadata;
mod parameters;
mod reply;
#[cfg(test)]
mod tests;

pub use json::{Request, binary_request, reply_tensors, request};
pub use metadata::{model_metadata, model_ready, server_live, server_metadata};
pub(super) use reply::check;
pub use reply::reply;
