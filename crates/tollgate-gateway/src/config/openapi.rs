//! Schemas that contracts take from OpenAPI documents beside the configuration: read here, because layers read no files.

use std::path::Path;

use serde_json::Value;
use tollgate_core::check::Checker;
use tollgate_layers::contract::{ContractConfig, OpenApiRef};
use tollgate_layers::protocol::metadata::body_schema;

use super::document::Config;

/// The largest document.
const LARGEST: u64 = 16 << 20;

/// Puts the schemas in their places.
pub(super) fn fill(config: &mut Config, base: &Path, check: &mut Checker) {
    check.within("models", |check| {
        for (name, model) in &mut config.models {
            let Some(openapi) = model.contract.openapi.clone() else { continue };
            check.within(name.as_str(), |check| {
                check.within("contract", |check| take(&mut model.contract, &openapi, base, check));
            });
        }
    });
}

/// On a mistake the schema is one that nothing fits, so that its absence is not told as well.
fn take(contract: &mut ContractConfig, openapi: &OpenApiRef, base: &Path, check: &mut Checker) {
    check.require(contract.schema.is_none(), "schema", "a contract has a `schema` or takes one from `openapi`");
    let document = match super::disk::read_up_to(&base.join(&openapi.file), LARGEST) {
        Ok(text) => serde_json::from_slice::<Value>(&text),
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", openapi.file);
            contract.schema = Some(Value::Bool(false));
            return check.within("openapi", |check| check.problem("file", message));
        }
    };
    let schema = match document {
        Ok(document) => {
            body_schema(&document, &openapi.path).map_err(|why| ("path", format!("`{}`: {why}", openapi.path)))
        }
        Err(error) => Err(("file", format!("`{}` is no JSON: {error}", openapi.file))),
    };
    match schema {
        Ok(schema) => contract.schema = Some(schema),
        Err((at, why)) => {
            contract.schema = Some(Value::Bool(false));
            check.within("openapi", |check| check.problem(at, why));
        }
    }
}
