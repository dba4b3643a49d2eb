//! What a schema accepts, as a flat list of branches: references followed, alternatives spread out.
//!
//! Also recognises how serde tags an enum, so that a wrong variant is answered with the names of the right ones and
//! not with what every variant would have liked to see.

use serde_json::Value;

use super::scalar::Typed;
use super::tree::{Kind, Node};

/// How many references and alternatives may nest.
const DEEPEST: usize = 32;

/// One thing that a schema accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch<'s> {
    pub(super) schema: &'s Value,
    pub(super) kind: Type,
}

/// JSON Schema's types, and none at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Type {
    Any,
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

/// Limits of a number; finite, inclusive unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
    /// Whether `least` itself is excluded.
    pub(super) above: bool,
    /// Whether `most` itself is excluded.
    pub(super) below: bool,
}

/// The branches of a schema, in its order.
pub(super) fn branches<'s>(schema: &'s Value, root: &'s Value) -> Vec<Branch<'s>> {
    let mut out = Vec::new();
    collect(schema, root, 0, &mut out);
    out
}

fn collect<'s>(schema: &'s Value, root: &'s Value, depth: usize, out: &mut Vec<Branch<'s>>) {
    if schema == &Value::Bool(false) {
        return;
    }
    if depth > DEEPEST {
        return out.push(Branch { schema, kind: Type::Any });
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return match target.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) {
            Some(target) => collect(target, root, depth + 1, out),
            None => out.push(Branch { schema, kind: Type::Any }),
        };
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(alternatives) = schema.get(keyword).and_then(Value::as_array) {
            return alternatives.iter().for_each(|schema| collect(schema, root, depth + 1, out));
        }
    }
    match schema.get("type") {
        Some(Value::String(kind)) => out.push(Branch { schema, kind: Type::named(kind) }),
        Some(Value::Array(kinds)) => {
            out.extend(kinds.iter().filter_map(Value::as_str).map(|kind| Branch { schema, kind: Type::named(kind) }));
        }
        _ => out.push(Branch { schema, kind: Type::implied(schema) }),
    }
}

impl Type {
    fn named(name: &str) -> Self {
        match name {
            "array" => Self::Array,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "null" => Self::Null,
            "number" => Self::Number,
            "object" => Self::Object,
            "string" => Self::String,
            _ => Self::Any,
        }
    }

    fn implied(schema: &Value) -> Self {
        let has = |keyword: &str| schema.get(keyword).is_some();
        let constant = schema.get("const").or_else(|| schema.get("enum").and_then(|values| values.get(0)));
        if has("properties") || has("additionalProperties") {
            Self::Object
        } else if constant.is_some_and(Value::is_string) {
            Self::String
        } else {
            Self::Any
        }
    }

    /// Whether a value is of this type. An integer is a number; `1.0` is no integer, as serde sees it.
    pub(super) fn fits(self, node: &Node) -> bool {
        match &node.kind {
            Kind::List(_) => self == Self::Array,
            Kind::Map(_) => self == Self::Object,
            Kind::Unusable => true,
            Kind::Scalar(scalar) => match &scalar.value {
                Typed::Bool(_) => self == Self::Boolean,
                Typed::Float(_) => self == Self::Number,
                Typed::Integer(_) => matches!(self, Self::Integer | Self::Number),
                Typed::Null => self == Self::Null,
                Typed::Text(_) => self == Self::String,
            },
        }
    }
}

impl<'s> Branch<'s> {
    /// The texts it accepts, if it accepts no others.
    pub(super) fn constants(&self) -> Vec<&'s str> {
        if self.kind != Type::String {
            return Vec::new();
        }
        let listed = self.schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        self.schema.get("const").into_iter().chain(listed).filter_map(Value::as_str).collect()
    }

    /// Whether it accepts a closed list of texts.
    pub(super) fn is_constant(&self) -> bool {
        self.schema.get("const").is_some() || self.schema.get("enum").is_some()
    }

    /// Whether it is a reference to a secret: what stands there is never repeated.
    pub(super) fn is_secret(&self) -> bool {
        self.schema.get("format").and_then(Value::as_str) == Some(super::secret_ref::SecretRef::FORMAT)
    }

    /// The property of this name.
    pub(super) fn property(&self, name: &str) -> Option<&'s Value> {
        self.schema.get("properties")?.get(name)
    }

    /// The properties by name.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&'s str, &'s Value)> + use<'s> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// The names that must be there.
    pub(super) fn required(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        let names = self.schema.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The schema of entries that no property names: a map of named things has one, a struct has none.
    pub(super) fn named(&self) -> Option<&'s Value> {
        let patterns = self.schema.get("patternProperties").and_then(Value::as_object);
        let additional = self.schema.get("additionalProperties").filter(|schema| **schema != Value::Bool(false));
        additional.or_else(|| patterns.and_then(|patterns| patterns.values().next()))
    }

    /// A limit on length or count.
    pub(super) fn limit(&self, keyword: &str) -> Option<usize> {
        self.schema.get(keyword).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok())
    }

    /// The limits of a number.
    pub(super) fn bounds(&self) -> Bounds {
        let number = |keyword: &str| self.schema.get(keyword).and_then(Value::as_f64);
        let (above, below) = (number("exclusiveMinimum"), number("exclusiveMaximum"));
        Bounds {
            least: above.or_else(|| number("minimum")),
            most: below.or_else(|| number("maximum")),
            above: above.is_some(),
            below: below.is_some(),
        }
    }

    fn constant_property(&self, name: &str) -> Option<Vec<&'s str>> {
        let branch = Self { schema: self.property(name)?, kind: Type::String };
        branch.is_constant().then(|| branch.constants())
    }
}

impl Bounds {
    /// The one number that is allowed, if it is one.
    pub(super) fn only(&self) -> Option<f64> {
        self.least.filter(|_| self.least == self.most && !self.above && !self.below)
    }

    pub(super) fn hold(&self, value: f64) -> bool {
        let least = self.least.is_none_or(|least| if self.above { value > least } else { value >= least });
        let most = self.most.is_none_or(|most| if self.below { value < most } else { value <= most });
        least && most
    }
}

/// The key whose value tells the variants of an enum apart (`#[serde(tag = "…")]`), with the names of each variant.
pub(super) fn tag<'s>(variants: &[Branch<'s>]) -> Option<(&'s str, Vec<(&'s str, Branch<'s>)>)> {
    let (first, _) = variants.split_first()?;
    let is_tag = |name: &str| variants.iter().all(|variant| variant.constant_property(name).is_some());
    let (name, _) = first.properties().find(|(name, _)| is_tag(name))?;
    let names = variants.iter().flat_map(|variant| {
        variant.constant_property(name).unwrap_or_default().into_iter().map(|constant| (constant, *variant))
    });
    Some((name, names.collect()))
}

/// The variants of an enum that is written as a mapping with one key, the name of the variant.
pub(super) fn external<'s>(variants: &[Branch<'s>]) -> Option<Vec<(&'s str, &'s Value)>> {
    let single = |variant: &Branch<'s>| {
        let mut properties = variant.properties();
        let only = properties.next().filter(|_| properties.next().is_none())?;
        let mut required = variant.required();
        (required.next() == Some(only.0) && variant.named().is_none()).then_some(only)
    };
    variants.iter().map(single).collect()
}
