//! What of a request a policy looks at, read off its conditions. What is not understood counts as looking at everything.

use cedar_policy::Policy;
use serde_json::Value;

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Reads(u16);

impl Reads {
    pub(super) const ACTION: Self = Self(1 << 9);
    pub(super) const COST: Self = Self(1 << 7);
    pub(super) const HOUR: Self = Self(1 << 3);
    pub(super) const IP: Self = Self(1 << 2);
    pub(super) const MODELS: Self = Self(1 << 6);
    pub(super) const MTLS: Self = Self(1 << 1);
    pub(super) const PAYLOAD: Self = Self(1 << 8);
    pub(super) const REGION: Self = Self(1 << 4);
    pub(super) const RESOURCE: Self = Self(1 << 10);
    pub(super) const ROUTE: Self = Self(1 << 5);
    pub(super) const SCOPES: Self = Self(1);

    /// Everything in the context of a request.
    const CONTEXT: Self = Self((1 << 9) - 1);
    /// What is known only once the body was parsed.
    pub(super) const LATE: Self = Self(Self::COST.0 | Self::PAYLOAD.0);
    /// What differs from one request of a caller to the next.
    pub(super) const VOLATILE: Self = Self(Self::LATE.0 | Self::HOUR.0 | Self::IP.0);

    /// The members of the context, by name.
    const MEMBERS: [(&str, Self); 9] = [
        ("cost", Self::COST),
        ("hour", Self::HOUR),
        ("ip", Self::IP),
        ("models", Self::MODELS),
        ("mtls", Self::MTLS),
        ("payload", Self::PAYLOAD),
        ("region", Self::REGION),
        ("route", Self::ROUTE),
        ("scopes", Self::SCOPES),
    ];

    /// What `policy` looks at.
    pub(super) fn of(policy: &Policy) -> Self {
        let Ok(json) = policy.to_json() else { return Self(u16::MAX) };
        json.get("conditions").map_or(Self(u16::MAX), Self::in_expression)
    }

    fn in_expression(expression: &Value) -> Self {
        match expression {
            Value::Array(items) => items.iter().map(Self::in_expression).fold(Self::default(), Self::and),
            Value::Object(members) => {
                // Names of a record are the author's: they are no operators.
                if let Some(Value::Object(record)) = members.get("Record") {
                    return record.values().map(Self::in_expression).fold(Self::default(), Self::and);
                }
                let member = members.get(".").or_else(|| members.get("has")).and_then(Self::of_member);
                let variable = members.get("Var").and_then(Value::as_str).map(Self::of_variable);
                member.or(variable).unwrap_or_else(|| {
                    // A literal is no expression.
                    let inner = members.iter().filter(|(name, _)| *name != "Value");
                    inner.map(|(_, inner)| Self::in_expression(inner)).fold(Self::default(), Self::and)
                })
            }
            _ => Self::default(),
        }
    }

    /// `context.NAME` and `context has NAME`.
    fn of_member(access: &Value) -> Option<Self> {
        let of = access.get("left")?.get("Var")?.as_str()?;
        let name = access.get("attr")?.as_str()?;
        let found = Self::MEMBERS.iter().find(|(member, _)| *member == name);
        (of == "context").then(|| found.map_or(Self::CONTEXT, |(_, reads)| *reads))
    }

    fn of_variable(name: &str) -> Self {
        match name {
            "action" => Self::ACTION,
            "context" => Self::CONTEXT,
            "resource" => Self::RESOURCE,
            _ => Self::default(),
        }
    }

    /// Both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `facts` is among them.
    pub(super) const fn any(self, facts: Self) -> bool {
        self.0 & facts.0 != 0
    }

    /// Names of those that stand in the context.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::MEMBERS.into_iter().filter(move |(_, member)| self.any(*member)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::Reads;

    #[test]
    fn what_a_policy_reads_is_found_wherever_it_stands() {
        let none = Reads::default();
        for (condition, reads) in [
            ("true", none),
            ("principal.tenant has tier", none),
            ("context.mtls", Reads::MTLS),
            ("context has payload && context.payload.bytes > 3", Reads::PAYLOAD),
            ("[1, 2].contains(if context.hour > 3 then 1 else 2)", Reads::HOUR),
            (
                "context.ip.isInRange(ip(\"10.0.0.0/8\")) || context.scopes.contains(\"a\")",
                Reads::IP.and(Reads::SCOPES),
            ),
            ("{a: {b: context.cost}} == {a: {b: 1}}", Reads::COST),
            ("context == {}", Reads::CONTEXT),
            ("{x: context}.x.region == \"eu\"", Reads::CONTEXT),
            ("context.unheard_of", Reads::CONTEXT),
            ("resource is Model && action == Action::\"list\"", Reads::RESOURCE.and(Reads::ACTION)),
            ("context[\"route\"] == Route::\"context\"", Reads::ROUTE),
            ("\"Var\" like \"context\"", none),
            ("{\"Var\": \"context\", \".\": 1, \"Value\": context.models}[\"Var\"] == \"a\"", Reads::MODELS),
        ] {
            let policy = Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};"));
            let policy = policy.unwrap_or_else(|error| panic!("{condition}: {error}"));
            assert_eq!(Reads::of(&policy), reads, "{condition}");
        }
    }
}
