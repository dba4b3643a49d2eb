//! Open Inference Protocol v2, REST, with tensors as JSON. Binary tensors and gRPC are not here.

pub mod json;
mod metadata;
mod parameters;
mod reply;
#[cfg(test)]
mod tests;

pub use json::{Request, request};
pub use metadata::{model_metadata, model_ready, server_live, server_metadata};
pub use reply::reply;
