//! The schema that policies are held to.

use std::fmt::Write as _;

use cedar_policy::Schema;

/// All of it but the attributes of tenants.
const FIXED: &str = "\
entity Client in [Tenant] = { tenant: Tenant };
entity Workload in [Tenant] = { tenant: Tenant };
entity ModelGroup;
entity Model in [ModelGroup];
entity Route;
type Payload = { kind: String, bytes: Long, batch: Long, max_tokens?: Long, has_url: Bool };
type Call = {
  scopes: Set<String>, mtls: Bool, ip: ipaddr, hour: Long, region: String, route: Route,
  models?: Set<Model>, cost?: Long, payload?: Payload
};
action infer, embed, stream, list, admin appliesTo {
  principal: [Client, Workload], resource: [Model, Route], context: Call
};
";

/// The text of the schema. No attribute is certain: the next tenant may lack it.
pub(super) fn text<'a>(attributes: impl Iterator<Item = (&'a str, &'static str)>) -> String {
    let mut text = "entity Tenant = {".to_owned();
    for (i, (name, kind)) in attributes.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma} \"{name}\"?: {kind}");
    }
    text.push_str(" };\n");
    text.push_str(FIXED);
    text
}

/// The schema of that text.
pub(super) fn parse(text: &str) -> Result<Schema, String> {
    Schema::from_cedarschema_str(text).map(|(schema, _)| schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn the_schema_is_one_with_attributes_and_without() {
        parse(&text([].into_iter())).expect("it parses");
        parse(&text([("tier", "String"), ("if", "Set<String>")].into_iter())).expect("any name will do");
    }
}
