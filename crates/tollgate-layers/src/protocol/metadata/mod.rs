//! What a model server tells of its models: metadata and configurations of tensors, lists of models, OpenAPI documents.
//!
//! Only read: a contract is proposed from it, or compared with it, and never changed by it. Documents come from outside and
//! may be hostile: every walk is bounded.

mod openapi;
mod tensors;
#[cfg(test)]
mod tests;
mod triton;

use serde_json::Value;
use tollgate_core::backend::Port;

pub use openapi::{OpenApi, Operation, body_schema};
pub use tensors::differences;
pub use triton::pbtxt;

/// What a document tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Names of models.
    List(Vec<Listed>),
    /// Inputs and outputs of one model.
    Model(Ports),
    /// Paths and their bodies.
    OpenApi(OpenApi),
}

/// A model of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Tokens that it reads and writes at most, where the server says so.
    pub max_tokens: Option<u64>,
}

/// Inputs and outputs of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ports {
    /// Its name, where the document says it.
    pub name: Option<String>,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// The most rows of one call, where the document says it.
    pub max_batch: Option<u64>,
}

/// The most models of a list, and ports of a model, that are read.
const MOST: usize = 1_024;

/// Reads a document by its form.
///
/// # Errors
/// That it is none that is known, or what is wrong in it.
pub fn read(document: &Value) -> Result<Told, String> {
    if document.get("openapi").is_some() {
        return OpenApi::read(document).map(Told::OpenApi);
    }
    if let Some(list) = list(document) {
        return Ok(Told::List(list));
    }
    if document.get("input").is_some() || document.get("max_batch_size").is_some() {
        return tensors::triton_config(document).map(Told::Model);
    }
    if document.get("inputs").is_some() {
        return tensors::oip(document).map(Told::Model);
    }
    if let Some(definition) = document.pointer("/metadata/signature_def") {
        return tensors::tf_serving(document, definition).map(Told::Model);
    }
    Err("neither metadata of a model, a list of models, nor an OpenAPI document".to_owned())
}

/// Names of models in the words of OpenAI, Ollama, or KServe.
fn list(document: &Value) -> Option<Vec<Listed>> {
    let (list, key) = match (document.get("data"), document.get("models")) {
        (Some(data), _) => (data.as_array()?, "id"),
        (None, Some(models)) => (models.as_array()?, "name"),
        (None, None) => return None,
    };
    let named = |item: &Value| {
        let name = item.as_str().or_else(|| item.get(key)?.as_str())?.to_owned();
        let max_tokens = item.get("max_model_len").and_then(Value::as_u64);
        Some(Listed { name, max_tokens })
    };
    Some(list.iter().take(MOST).filter_map(named).collect())
}
