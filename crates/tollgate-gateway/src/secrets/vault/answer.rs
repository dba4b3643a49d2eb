//! What Vault answers, as far as it is of use: a token, fields, a lease. Texts become secrets as they are read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tollgate_core::secret::Secret;

use super::Trouble;

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(body: &Secret) -> Result<T, Trouble> {
    // What the parser says may repeat a part of the answer.
    serde_json::from_slice(body.expose())
        .map_err(|_| Trouble::Away("answers something else than Vault does".to_owned()))
}

/// An answer to a login or to the renewal of a token.
#[derive(Deserialize)]
pub(super) struct LoggedIn {
    pub(super) auth: Auth,
}

/// A token.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Field,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What is known of our own token.
#[derive(Deserialize)]
pub(super) struct LookedUp {
    pub(super) data: OwnToken,
}

#[derive(Deserialize)]
pub(super) struct OwnToken {
    #[serde(default)]
    pub(super) ttl: u64,
}

/// What wraps something.
#[derive(Deserialize)]
pub(super) struct Wrapping {
    pub(super) data: WrappingData,
}

#[derive(Deserialize)]
pub(super) struct WrappingData {
    pub(super) creation_path: String,
}

/// Fields, and a lease where they are made for us.
#[derive(Deserialize)]
pub(super) struct Plain {
    #[serde(default)]
    pub(super) lease_id: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    pub(super) data: Option<Fields>,
}

/// The newest version of fields.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) data: Version,
}

#[derive(Deserialize)]
pub(super) struct Version {
    /// None where that version was deleted.
    pub(super) data: Option<Fields>,
}

/// Fields by name.
pub(super) type Fields = BTreeMap<String, Field>;

/// The value of a field, if it is a text, a number or a boolean.
pub(super) struct Field(pub(super) Option<Secret>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Value)
    }
}

struct Value;

impl<'de> Visitor<'de> for Value {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field(Some(Secret::new(text.as_bytes().to_vec()))))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Field, E> {
        Ok(Field(Some(Secret::new(text.into_bytes()))))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Field, E> {
        self.visit_string(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Field, E> {
        self.visit_string(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Field, E> {
        self.visit_string(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Field, E> {
        self.visit_string(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field(None))
    }
}
