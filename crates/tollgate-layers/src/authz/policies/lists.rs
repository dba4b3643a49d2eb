//! The allow lists as policies: what they mean, written out. They are decided by tables, which says the same in nanoseconds;
//! a test holds the two against each other.

use std::fmt::Write as _;

use crate::authz::{Authz, Scope};
use crate::routes::{AuthNeed, Route};

/// The actions of each scope, and the scope.
const ACTIONS: [(&str, &str, Scope); 3] = [
    ("calls", "action in [Action::\"infer\", Action::\"embed\", Action::\"stream\"]", Scope::Infer),
    ("list", "action == Action::\"list\"", Scope::List),
    ("admin", "action == Action::\"admin\"", Scope::Admin),
];

impl Authz {
    /// The allow lists of all tenants and what holds for every credential, as policies in Cedar.
    #[must_use]
    pub fn lists_as_policies<'a>(&self, routes: &(impl Iterator<Item = &'a Route> + Clone)) -> String {
        let mut out = String::new();
        for (what, actions, scope) in ACTIONS {
            let scope = scope.name();
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "// Scopes are held to, whatever permits it.\n@id(\"scopes.{what}\")\n\
                 forbid (principal, {actions}, resource)\nunless {{ context.scopes.contains(\"{scope}\") }};\n"
            );
        }
        let _ = writeln!(
            out,
            "// A credential for some models is for no others.\n@id(\"credential.models\")\n\
             forbid (principal, action, resource is Model)\n\
             when {{ context has models && !context.models.contains(resource) }};\n"
        );
        let open = set("Route", routes.clone().filter(|route| route.auth == AuthNeed::None).map(|route| &*route.name));
        if let Some(open) = open {
            let _ = writeln!(
                out,
                "// Routes that ask for no credential.\n@id(\"routes.open\")\n\
                 permit (principal in Tenant::\"anonymous\", action, resource)\nwhen {{ {open}.contains(context.route) }};\n"
            );
        }
        let mut tenants: Vec<_> = self.tenants.iter().collect();
        tenants.sort_unstable_by_key(|(name, _)| *name);
        for (name, tenant) in tenants {
            let listed = routes.clone().filter(|route| tenant.lists_route(route.index));
            let Some(listed) = set("Route", listed.map(|route| &*route.name)) else { continue };
            let models = set("Model", tenant.models.iter().map(|model| self.model_name(*model)));
            let models = models.map(|models| format!(" || {models}.contains(resource)")).unwrap_or_default();
            let _ = writeln!(
                out,
                "@id(\"tenants.{name}\")\npermit (principal in Tenant::\"{name}\", action, resource)\n\
                 when {{ {listed}.contains(context.route) && (resource is Route{models}) }};\n"
            );
        }
        out
    }
}

/// A set of things of one type; `None` if it were empty, which Cedar does not type.
fn set<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.map(|name| format!("{kind}::\"{}\"", name.escape_debug())).collect();
    (!names.is_empty()).then(|| format!("[{}]", names.join(", ")))
}
