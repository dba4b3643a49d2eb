//! OpenAPI documents (3.0 and 3.1): which paths take a JSON body, its schema and that of the answer in draft 2020-12, with
//! everything that they refer to inside. Nothing is fetched: a reference out of the document is an error.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The most paths that are read.
const MOST_PATHS: usize = 1_000;
/// Schemas may nest this deep.
const MAX_DEPTH: usize = 128;
/// The most schemas that one body may be made of.
const MAX_SCHEMAS: usize = 20_000;
const SCHEMAS: &str = "#/components/schemas/";
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What a document tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenApi {
    /// Paths that take a JSON body.
    pub operations: Vec<Operation>,
    /// Everything else, and why it has no contract.
    pub closed: Vec<String>,
}

/// A path that takes a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The path as the document writes it.
    pub path: String,
    /// The schema of the body.
    pub schema: Value,
    /// The schema of the answer, where the document says anything of it.
    pub reply: Option<Value>,
}

impl OpenApi {
    pub(super) fn read(document: &Value) -> Result<Self, String> {
        version(document)?;
        let paths = document.get("paths").and_then(Value::as_object).ok_or("the document has no `paths`")?;
        if paths.len() > MOST_PATHS {
            return Err(format!("the document has more than {MOST_PATHS} paths"));
        }
        let mut told = Self::default();
        for (path, item) in paths {
            for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
                let schema = if *method == "post" { body_schema(document, path) } else { Err(String::new()) };
                match schema {
                    Ok(schema) => {
                        let reply = reply_schema(document, path);
                        told.operations.push(Operation { path: path.clone(), schema, reply });
                    }
                    Err(why) if why.is_empty() => told.closed.push(format!("{} {path}", method.to_uppercase())),
                    Err(why) => told.closed.push(format!("{} {path}: {why}", method.to_uppercase())),
                }
            }
        }
        Ok(told)
    }
}

/// The schema of the JSON body that `POST path` takes.
///
/// # Errors
/// Why there is none.
pub fn body_schema(document: &Value, path: &str) -> Result<Value, String> {
    let old = version(document)?;
    let operation = document.get("paths").and_then(|paths| paths.get(path)?.get("post"));
    let operation = operation.ok_or_else(|| format!("there is no `POST {path}`"))?;
    let mut body = operation.get("requestBody").ok_or("it takes no body")?;
    if let Some(name) = body.get("$ref").and_then(Value::as_str) {
        let pointer = name.strip_prefix('#').filter(|_| name.starts_with("#/components/requestBodies/"));
        body = pointer.and_then(|pointer| document.pointer(pointer)).ok_or_else(|| outside(name))?;
    }
    let content = body.get("content").and_then(Value::as_object).ok_or("its body has no content")?;
    let is_json = |kind: &&String| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    };
    let Some(kind) = content.keys().find(is_json) else {
        return Err(format!("its body is {}", content.keys().cloned().collect::<Vec<_>>().join(", ")));
    };
    let schema = content.get(kind).and_then(|media| media.get("schema")).ok_or("its body has no schema")?;
    Embedding { document, old, side: Side::Caller, defs: BTreeMap::new(), schemas: 0 }.root(schema)
}

/// The schema of what `POST path` answers. `None` where the document says nothing of it that could be held: several good
/// answers, or one that need not be JSON.
fn reply_schema(document: &Value, path: &str) -> Option<Value> {
    let old = version(document).ok()?;
    let answers = document.get("paths")?.get(path)?.get("post")?.get("responses")?.as_object()?;
    let mut good = answers.iter().filter(|(status, _)| status.starts_with('2'));
    let (Some((_, mut answer)), None) = (good.next(), good.next()) else { return None };
    if let Some(name) = answer.get("$ref").and_then(Value::as_str) {
        answer = document.pointer(name.strip_prefix('#').filter(|_| name.starts_with("#/components/responses/"))?)?;
    }
    let mut kinds = answer.get("content")?.as_object()?.iter();
    let (Some((kind, media)), None) = (kinds.next(), kinds.next()) else { return None };
    let plain = kind.split(';').next().unwrap_or_default().trim() == "application/json";
    let schema = media.get("schema").filter(|_| plain)?;
    let embedding = Embedding { document, old, side: Side::Server, defs: BTreeMap::new(), schemas: 0 };
    embedding.root(schema).ok().filter(|schema| schema.as_object().is_some_and(|members| !members.is_empty()))
}

/// Whether the document is of the old kind, whose schemas are not quite JSON Schema.
fn version(document: &Value) -> Result<bool, String> {
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    match version.split('.').take(2).collect::<Vec<_>>().as_slice() {
        ["3", "0"] => Ok(true),
        ["3", "1" | "2"] => Ok(false),
        _ => Err(format!("`{version}` is not a version of OpenAPI that is read here: 3.0, 3.1 or 3.2")),
    }
}

fn outside(name: &str) -> String {
    format!("`{name}` leads out of `components`")
}

/// Who writes what a schema describes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Caller,
    Server,
}

/// Takes a schema and what it refers to out of a document.
struct Embedding<'a> {
    document: &'a Value,
    old: bool,
    side: Side,
    defs: BTreeMap<String, Value>,
    schemas: usize,
}

impl Embedding<'_> {
    fn root(mut self, schema: &Value) -> Result<Value, String> {
        let mut root = self.schema(schema, 0)?;
        self.unfold(&mut root);
        if let (Some(root), false) = (root.as_object_mut(), self.defs.is_empty()) {
            root.insert("$defs".to_owned(), self.defs.into_iter().collect());
        }
        Ok(root)
    }

    fn schema(&mut self, schema: &Value, depth: usize) -> Result<Value, String> {
        self.schemas += 1;
        if depth > MAX_DEPTH || self.schemas > MAX_SCHEMAS {
            return Err(format!("its schema is deeper than {MAX_DEPTH} or larger than {MAX_SCHEMAS} schemas"));
        }
        let Some(members) = schema.as_object() else { return Ok(schema.clone()) };
        let mut out = Map::new();
        for (keyword, value) in members {
            if let Some(value) = self.keyword(keyword, value, depth)? {
                out.insert(keyword.clone(), value);
            }
        }
        if members.contains_key("$ref") && self.old {
            // What stands beside a reference means nothing there.
            out.retain(|keyword, _| keyword == "$ref");
        }
        asked_of(self.side, &mut out, members);
        Ok(if self.old { modern(out, members) } else { Value::Object(out) })
    }

    /// The value of a keyword; `None` for words that only people read.
    fn keyword(&mut self, keyword: &str, value: &Value, depth: usize) -> Result<Option<Value>, String> {
        let depth = depth + 1;
        Ok(Some(match keyword {
            "$ref" => self.reference(value, depth)?,
            "$anchor" | "$defs" | "$dynamicAnchor" | "$dynamicRef" | "$id" | "definitions" => {
                return Err(format!("its schema has `{keyword}`, which is not read here"));
            }
            "additionalProperties"
            | "contains"
            | "else"
            | "if"
            | "items"
            | "not"
            | "propertyNames"
            | "then"
            | "unevaluatedItems"
            | "unevaluatedProperties" => self.schema(value, depth)?,
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                let list: Result<Vec<_>, _> = list.iter().map(|schema| self.schema(schema, depth)).collect();
                Value::Array(list?)
            }
            "dependentSchemas" | "patternProperties" | "properties" => {
                let mut out = Map::new();
                for (name, schema) in value.as_object().into_iter().flatten() {
                    out.insert(name.clone(), self.schema(schema, depth)?);
                }
                Value::Object(out)
            }
            // Services write dates and addresses in forms of their own under these names: a caller is held to them alone.
            "format" if self.side == Side::Server => return Ok(None),
            // These judge a value; any other keyword only tells people or programs of it.
            "const" | "dependentRequired" | "enum" | "exclusiveMaximum" | "exclusiveMinimum" | "format"
            | "maxContains" | "maxItems" | "maxLength" | "maxProperties" | "maximum" | "minContains" | "minItems"
            | "minLength" | "minProperties" | "minimum" | "multipleOf" | "pattern" | "required" | "type"
            | "uniqueItems" => value.clone(),
            // Judges nothing, and tells a reviewer what the service does where a member is absent.
            "default" if !value.is_null() => value.clone(),
            _ => return Ok(None),
        }))
    }

    /// Brings what is referred to inside, once.
    fn reference(&mut self, value: &Value, depth: usize) -> Result<Value, String> {
        let reference = value.as_str().unwrap_or_default();
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        let name = reference.strip_prefix(SCHEMAS).filter(|name| !name.is_empty()).filter(plain);
        let name = name.ok_or_else(|| outside(reference))?;
        if !self.defs.contains_key(name) {
            let schema = self.document.get("components").and_then(|all| all.get("schemas")?.get(name));
            let schema = schema.ok_or_else(|| format!("`{reference}` leads nowhere"))?.clone();
            // A circle finds it already there.
            self.defs.insert(name.to_owned(), Value::Null);
            let schema = self.schema(&schema, depth)?;
            self.defs.insert(name.to_owned(), schema);
        }
        Ok(Value::String(format!("#/$defs/{name}")))
    }
}

impl Embedding<'_> {
    /// A body that is nothing but one named schema becomes that schema, where no other refers to it.
    fn unfold(&mut self, root: &mut Value) {
        let name = match root.as_object() {
            Some(members) if members.len() == 1 => members.get("$ref").and_then(Value::as_str),
            _ => None,
        };
        let Some(name) = name.and_then(|name| name.strip_prefix("#/$defs/")).map(str::to_owned) else { return };
        let own = Value::String(format!("#/$defs/{name}"));
        if self.defs.values().any(|schema| refers(schema, &own)) {
            return;
        }
        if let Some(schema) = self.defs.remove(&name) {
            *root = schema;
        }
    }
}

/// Whether a reference stands anywhere in a schema.
fn refers(schema: &Value, reference: &Value) -> bool {
    match schema {
        Value::Array(items) => items.iter().any(|item| refers(item, reference)),
        Value::Object(members) => {
            members.get("$ref") == Some(reference) || members.values().any(|member| refers(member, reference))
        }
        _ => false,
    }
}

/// What only the other side writes is not required of this one.
fn asked_of(side: Side, out: &mut Map<String, Value>, members: &Map<String, Value>) {
    let others = match side {
        Side::Caller => "readOnly",
        Side::Server => "writeOnly",
    };
    let properties = members.get("properties");
    let told = |name: &Value| {
        let property = name.as_str().and_then(|name| properties?.get(name));
        property.and_then(|property| property.get(others)) == Some(&Value::Bool(true))
    };
    if let Some(Value::Array(required)) = out.get_mut("required") {
        required.retain(|name| !told(name));
    }
}

/// A schema of OpenAPI 3.0 in the words of draft 2020-12.
fn modern(mut out: Map<String, Value>, members: &Map<String, Value>) -> Value {
    for (flag, bound) in [("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")] {
        match out.get(flag) {
            Some(Value::Bool(true)) => {
                let value = out.remove(bound).unwrap_or_default();
                out.insert(flag.to_owned(), value);
            }
            Some(Value::Bool(false)) => drop(out.remove(flag)),
            _ => {}
        }
    }
    if members.get("nullable") != Some(&Value::Bool(true)) {
        return Value::Object(out);
    }
    json!({ "anyOf": [out, { "type": "null" }] })
}
