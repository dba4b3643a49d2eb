//! What is asked of Vault once we are in: fields, and the life of leases.

use std::collections::BTreeMap;

use serde_json::json;
use tollgate_core::secret::Secret;

use super::answer::{Fields, Plain, Versioned, read};
use super::config::Engine;
use super::term::Term;
use super::wire::{Question, ask};
use super::{Line, Trouble};

/// What was read at a path.
pub(super) struct Got {
    pub(super) fields: BTreeMap<String, Secret>,
    pub(super) lease: Option<Lease>,
}

/// A lease.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) term: Term,
}

impl Line {
    /// Reads a path; a dynamic engine makes new credentials for that.
    pub(super) async fn read(&self, path: &str, token: &Secret) -> Result<Got, Trouble> {
        let (engine, place) = self.plan.place(path);
        let answer = ask(&self.plan, Question::get(&place).with(token)).await?;
        match engine {
            // A version that was deleted has no data.
            Engine::Kv2 => got(read::<Versioned>(&answer)?.data.data, None),
            Engine::Kv1 => got(read::<Plain>(&answer)?.data, None),
            Engine::Dynamic => {
                let Plain { lease_id, lease_duration, renewable, data } = read(&answer)?;
                let term = Term::new(self.clock.now(), lease_duration, renewable);
                got(data, (!lease_id.is_empty()).then_some(Lease { id: lease_id, term }))
            }
        }
    }

    /// Renews a lease.
    pub(super) async fn renew(&self, lease: &Lease, token: &Secret) -> Result<Lease, Trouble> {
        let question = Question::post("sys/leases/renew", &json!({ "lease_id": lease.id })).with(token);
        let answer: Plain = read(&ask(&self.plan, question).await?)?;
        let term = lease.term.renewed(self.clock.now(), answer.lease_duration, answer.renewable);
        Ok(Lease { id: lease.id.clone(), term })
    }

    /// Gives a lease back.
    pub(super) async fn revoke(&self, lease: &str, token: &Secret) -> Result<(), Trouble> {
        let question = Question::post("sys/leases/revoke", &json!({ "lease_id": lease })).with(token);
        ask(&self.plan, question).await.map(drop)
    }

    /// Gives our token back.
    pub(super) async fn revoke_self(&self, token: &Secret) -> Result<(), Trouble> {
        ask(&self.plan, Question::post("auth/token/revoke-self", &json!({})).with(token)).await.map(drop)
    }
}

fn got(fields: Option<Fields>, lease: Option<Lease>) -> Result<Got, Trouble> {
    let fields = fields.ok_or(Trouble::Missing)?;
    let fields = fields.into_iter().filter_map(|(name, field)| Some((name, field.0?)));
    Ok(Got { fields: fields.collect(), lease })
}
