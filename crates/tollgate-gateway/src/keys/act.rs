//! What is done with keys, whoever asks for it: `tollgate keys` on the key file itself, or an operator over the admin
//! listener. Made in memory; [`KeyDesk::save`] is what makes it so.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{
    IssuedKey, KeyFileError, KeyKind, KeyRecord, NewKey, PepperValue, Revoked, Rotation, Timestamp,
};

use crate::config::KeyDesk;

/// What is asked for.
#[derive(Debug)]
pub enum KeyAct {
    /// Take over a key that exists already.
    Import {
        /// What it may do.
        request: NewKey,
        /// The key.
        key: Secret,
    },
    /// Make a key.
    Issue(NewKey),
    /// Drop records of keys that were revoked or ended so long ago.
    Prune(Duration),
    /// Refuse a key, for ever.
    Revoke(String),
    /// Make a key that follows another one.
    Rotate {
        /// The key that it follows.
        id: String,
        /// How.
        rotation: Rotation,
    },
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Its name in records.
    pub act: &'static str,
    /// The keys that it was done to.
    pub ids: Vec<String>,
    /// The key that was made, to be shown once.
    pub issued: Option<IssuedKey>,
    /// The record that was added.
    pub record: Option<KeyRecord>,
    /// Of a key of another system: it is worth so many bits, which is little.
    pub weak: Option<u32>,
    /// Whether there is anything to save.
    pub changed: bool,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The key file says no.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A model that the configuration does not have.
    #[error("`{0}` is not a model")]
    Model(String),
    /// Keys of other systems are not accepted.
    #[error("keys of other systems are not accepted: `auth.keys.opaque` is not set")]
    Opaque,
    /// A pepper that the configuration does not have.
    #[error("no pepper is called `{0}`")]
    Pepper(String),
    /// A tenant that the configuration does not have.
    #[error("`{asked}` is not one of the tenants: {known}")]
    Tenant {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
}

impl KeyDesk {
    /// Does it, in memory. New keys are sealed with the pepper of that name, or else the last by name.
    ///
    /// # Errors
    /// Why not; the keys are then as before.
    pub fn act(&mut self, act: KeyAct, pepper: Option<&str>, now: Timestamp) -> Result<Done, ActError> {
        match act {
            KeyAct::Import { request, key } => self.import(request, &key, pepper, now),
            KeyAct::Issue(request) => {
                self.check(&request)?;
                let (id, value) = self.pepper(pepper)?;
                let issued = self.keys.issue(request, PepperValue { id: &id, value: &value }, &mut draw, now)?;
                Ok(Done::made("keys.new", vec![], issued))
            }
            KeyAct::Prune(kept) => {
                let ids = self.keys.prune(kept, now);
                Ok(Done { act: "keys.prune", changed: !ids.is_empty(), ids, ..Done::default() })
            }
            KeyAct::Revoke(id) => {
                let changed = self.keys.revoke(&id, now)? == Revoked::Now;
                Ok(Done { act: "keys.revoke", changed, ids: vec![id], ..Done::default() })
            }
            KeyAct::Rotate { id, rotation } => {
                let (name, value) = self.pepper(pepper)?;
                let with = PepperValue { id: &name, value: &value };
                let issued = self.keys.rotate(&id, rotation, (with, &mut draw), now)?;
                Ok(Done::made("keys.rotate", vec![id], issued))
            }
        }
    }

    fn import(
        &mut self,
        request: NewKey,
        key: &Secret,
        pepper: Option<&str>,
        now: Timestamp,
    ) -> Result<Done, ActError> {
        self.check(&request)?;
        let (id, value) = self.pepper(pepper)?;
        let with = PepperValue { id: &id, value: &value };
        let imported = self.keys.import(request, key, (with, &mut draw), now)?;
        if imported.record.kind == KeyKind::Opaque && !self.opaque {
            self.keys.keys.pop();
            return Err(ActError::Opaque);
        }
        let ids = vec![imported.record.id.clone()];
        let (record, weak) = (Some(imported.record), imported.weak);
        Ok(Done { act: "keys.import", ids, record, weak, changed: true, issued: None })
    }

    /// What the gateway would refuse the whole file for.
    fn check(&self, request: &NewKey) -> Result<(), ActError> {
        if !self.tenants.contains(&request.tenant) {
            return Err(ActError::Tenant { asked: request.tenant.clone(), known: self.tenants.join(", ") });
        }
        match request.models.iter().find(|model| !self.models.contains(*model)) {
            Some(model) => Err(ActError::Model(model.clone())),
            None => Ok(()),
        }
    }

    fn pepper(&self, name: Option<&str>) -> Result<(String, Secret), ActError> {
        let found = match name {
            Some(name) => self.peppers.get_key_value(name),
            None => self.peppers.last_key_value(),
        };
        let (name, value) = found.ok_or_else(|| ActError::Pepper(name.unwrap_or_default().to_owned()))?;
        Ok((name.clone(), value.clone()))
    }
}

impl Done {
    fn made(act: &'static str, mut ids: Vec<String>, issued: IssuedKey) -> Self {
        ids.push(issued.record.id.clone());
        let record = Some(issued.record.clone());
        Self { act, ids, record, issued: Some(issued), weak: None, changed: true }
    }

    /// What the record of the act says: ids and names, never a key and never a seal.
    #[must_use]
    pub fn told(&self) -> Value {
        let record = self.record.as_ref().map(|record| {
            json!({
                "tenant": record.tenant, "client": record.client, "purpose": record.purpose, "scopes": record.scopes,
                "models": record.models, "cidrs": record.cidrs, "expires_at": record.expires_at, "note": record.note,
            })
        });
        json!({ "keys": self.ids, "record": record })
    }
}

fn draw(bytes: &mut [u8]) {
    if aws_lc_rs::rand::fill(bytes).is_err() {
        // Drawing rejects these bytes, and then says that the source is broken.
        bytes.fill(u8::MAX);
    }
}
