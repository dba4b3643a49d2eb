//! The draft of a contract: YAML for `models` and `routes`, each proposal with what it rests on.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use tollgate_core::backend::{Dim, Port};
use tollgate_core::call::Dtype;
use tollgate_layers::contract::{Seen, Span, usable};
use tollgate_layers::protocol::metadata::{Listed, OpenApi, Operation, Ports, Told};

use super::paths::{bound, name_of, pattern_of};
use super::replies;
use super::source::Learned;
use super::texts::{Texts, of_openai, of_preset};
use super::watched::{Watched, above, number, range, support};
use super::yaml::{behind, comment, text};

/// The most closed paths that are listed.
const MOST_CLOSED: usize = 100;
/// Rows of a call where neither the server nor a call says a number.
const GUESSED_BATCH: u64 = 32;

/// A draft in the making.
pub(super) struct Draft<'a> {
    upstream: &'a str,
    watched: Watched,
    models: String,
    routes: String,
    notes: String,
    taken: BTreeSet<String>,
    /// Names of routes.
    names: BTreeSet<String>,
}

/// A draft that is done.
pub(super) struct Written {
    /// The YAML.
    pub(super) text: String,
    /// How many models it has.
    pub(super) models: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(upstream: &'a str, watched: Watched) -> Self {
        let (models, routes, notes) = Default::default();
        let (taken, names) = Default::default();
        Self { upstream, watched, models, routes, notes, taken, names }
    }

    pub(super) fn write(mut self, learned: &[Learned]) -> Written {
        let mut origins = String::new();
        for Learned { origin, told, name } in learned {
            let _ = writeln!(origins, "# Learned from {}.", comment(origin));
            match told {
                Told::List(list) => list.iter().for_each(|listed| self.listed(listed)),
                Told::Model(ports) => self.tensors(name.as_deref().unwrap_or("model"), ports),
                Told::OpenApi(document) => self.document(document),
            }
        }
        let mut out = origins;
        let _ = writeln!(
            out,
            "# For review: a server tells types and shapes, seldom which values make sense. Include this file, or copy from\n\
             # it; `upstreams` names `{}`, and tenants list the models.",
            comment(self.upstream),
        );
        let models = self.taken.len();
        for (section, lines) in [("models", &self.models), ("routes", &self.routes)] {
            if !lines.is_empty() {
                let _ = write!(out, "{section}:\n{lines}");
            }
        }
        out.push_str(&self.notes);
        Written { text: out, models }
    }

    /// A model whose name must be usable here.
    fn begin(&mut self, name: &str) -> bool {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
        if !(1..=128).contains(&name.len()) || !name.bytes().all(fit) || self.taken.contains(name) {
            let _ = writeln!(self.notes, "# Left out: {} can be no name of a model here.", comment(&text(name)));
            return false;
        }
        self.taken.insert(name.to_owned());
        let _ = write!(self.models, "  {}:\n    upstream: {}\n    contract:\n", text(name), text(self.upstream));
        true
    }

    fn tensors(&mut self, name: &str, ports: &Ports) {
        if ports.inputs.is_empty() {
            let name = comment(&text(name));
            let _ = writeln!(self.notes, "# Left out: the server tells no inputs of {name}; write them by hand.");
            return;
        }
        if !self.begin(name) {
            return;
        }
        let seen = self.watched.of(name).cloned().unwrap_or_default();
        let mut rows = 1;
        if ports.inputs.iter().any(|port| port.dims.iter().any(|dim| matches!(dim, Dim::Symbolic(_)))) {
            let (most, why) = batch(ports, &seen);
            let _ = writeln!(self.models, "      batch: {{ max: {most} }} # {why}");
            rows = most.parse().unwrap_or(u64::MAX);
        }
        self.models.push_str("      inputs:\n");
        for port in &ports.inputs {
            let (bounds, why) = seen.inputs.get(&*port.name).map_or_else(Default::default, |span| values(port, span));
            let _ = writeln!(self.models, "        - {{ {}{bounds} }}{why}", port_of(port));
        }
        if !ports.outputs.is_empty() {
            self.models.push_str("      outputs:\n");
            for port in &ports.outputs {
                let _ = writeln!(self.models, "        - {{ {} }}", port_of(port));
            }
            self.models.push_str(&replies::of_outputs(ports, rows));
        }
    }

    fn listed(&mut self, listed: &Listed) {
        if !self.begin(&listed.name) {
            return;
        }
        let seen = self.watched.of(&listed.name).cloned().unwrap_or_default();
        let most = listed.max_tokens.unwrap_or(4_096).min(4_096);
        let guesses = [
            ("max_output_tokens", most),
            ("default_output_tokens", (most / 4).clamp(1, 512)),
            ("max_messages", 50),
            ("max_message_chars", 10_000),
            ("max_chars", 100_000),
        ];
        let most = seen.texts.get("max_output_tokens").map_or(f64::INFINITY, |span| above(span.greatest));
        for (key, guess) in guesses {
            let _ = match seen.texts.get(key) {
                Some(span) => {
                    writeln!(self.models, "      {key}: {} # {}", number(above(span.greatest)), support(span))
                }
                None if key == "default_output_tokens" && most < 512.0 => {
                    writeln!(self.models, "      {key}: {} # a guess", number(most))
                }
                None => writeln!(self.models, "      {key}: {guess} # a guess: no server tells it"),
            };
        }
        for (key, span) in &seen.texts {
            if !guesses.iter().any(|(guessed, _)| guessed == key) {
                let _ =
                    writeln!(self.models, "      {key}: {} # {}", number(above(span.greatest).max(1.0)), support(span));
            }
        }
    }

    fn document(&mut self, document: &OpenApi) {
        for operation in &document.operations {
            if let Err(why) = self.operation(operation) {
                let _ = writeln!(self.notes, "# Closed: POST {}: {}", comment(&operation.path), comment(&why));
            }
        }
        for closed in document.closed.iter().take(MOST_CLOSED) {
            let _ = writeln!(self.notes, "# Closed: {}", comment(closed));
        }
    }

    fn operation(&mut self, Operation { path, schema, reply }: &Operation) -> Result<(), String> {
        if let Some(why) = of_preset(path) {
            return Err(why.to_owned());
        }
        let pattern = pattern_of(path)?;
        if let Some(key) = filled_in(schema) {
            return Err(format!("its schema has the key `{key}`, which a configuration would fill in"));
        }
        usable(schema)?;
        let route = name_of(path, &mut self.names);
        if let Some(texts) = of_openai(path, schema)
            && self.spoken(&texts)
        {
            self.route(&route, &pattern, "openai", &texts.model);
        } else if self.begin(&route) {
            let mut schema = schema.clone();
            if let Some(seen) = self.watched.of(&route) {
                for words in bound(&mut schema, seen) {
                    let _ = writeln!(self.models, "      # {words}");
                }
            }
            self.models.push_str("      schema:");
            behind(&mut self.models, &schema, 6);
            if let Some(reply) = reply.as_ref().filter(|reply| filled_in(reply).is_none() && usable(reply).is_ok()) {
                replies::of_schema(&mut self.models, reply);
            }
            self.route(&route, &pattern, "json", &route);
        }
        Ok(())
    }

    /// A model of texts whose bounds a schema says; characters in all it cannot say.
    fn spoken(&mut self, texts: &Texts) -> bool {
        if !self.begin(&texts.model) {
            return false;
        }
        for (key, most) in &texts.bounds {
            let _ = writeln!(self.models, "      {key}: {most}");
        }
        self.models.push_str("      max_chars: 100000 # a guess: no schema says it\n");
        true
    }

    fn route(&mut self, name: &str, path: &str, protocol: &str, model: &str) {
        let (name, path, model) = (text(name), text(path), text(model));
        let _ = writeln!(self.routes, "  - {{ name: {name}, path: {path}, protocol: {protocol}, models: [{model}] }}");
    }
}

/// A key that no configuration may hold: values may, as theirs are escaped.
fn filled_in(schema: &Value) -> Option<&str> {
    match schema {
        Value::Array(items) => items.iter().find_map(filled_in),
        Value::Object(members) => members
            .iter()
            .find_map(|(key, member)| if key.contains("${") { Some(key.as_str()) } else { filled_in(member) }),
        _ => None,
    }
}

/// The most rows of a call, and what says so.
fn batch(ports: &Ports, seen: &Seen) -> (String, String) {
    match (ports.max_batch, seen.batch.requests) {
        (Some(most), _) => (most.to_string(), "the server takes no more".to_owned()),
        (None, 1..) => (number(above(seen.batch.greatest)), support(&seen.batch)),
        (None, 0) => (GUESSED_BATCH.to_string(), "a guess: the server does not tell it".to_owned()),
    }
}

/// Bounds of the values of an input, and what supports them.
fn values(port: &Port, span: &Span) -> (String, String) {
    if span.requests == 0 || port.dtype == Dtype::Bool {
        return Default::default();
    }
    if port.dtype == Dtype::Bytes {
        let most = number(above(span.greatest).max(1.0));
        return (format!(", max_length: {most}"), format!(" # {} bytes", support(span)));
    }
    let [low, high] = range(span);
    let (least, greatest) = widest(port.dtype);
    let range = format!(", range: [{}, {}]", number(low.max(least)), number(high.min(greatest)));
    (range, format!(" # {}", support(span)))
}

/// What the type can hold, so that no bound leads out of it.
fn widest(dtype: Dtype) -> (f64, f64) {
    match dtype {
        Dtype::Fp16 => (-65_504.0, 65_504.0),
        Dtype::Bf16 => (-3.3e38, 3.3e38),
        Dtype::Fp32 => (f32::MIN.into(), f32::MAX.into()),
        Dtype::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Dtype::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Dtype::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Dtype::Uint8 => (0.0, u8::MAX.into()),
        Dtype::Uint16 => (0.0, u16::MAX.into()),
        Dtype::Uint32 => (0.0, u32::MAX.into()),
        Dtype::Int64 => (-9e18, 9e18),
        Dtype::Uint64 => (0.0, 1.8e19),
        Dtype::Bool | Dtype::Bytes | Dtype::Fp64 => (f64::MIN, f64::MAX),
    }
}

fn port_of(port: &Port) -> String {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Symbolic(name) => text(name),
    };
    let dims: Vec<_> = port.dims.iter().map(dim).collect();
    format!("name: {}, dtype: {}, shape: [{}]", text(&port.name), port.dtype, dims.join(", "))
}
