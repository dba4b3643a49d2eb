//! Persistent collections: IP, GLOBAL, SESSION, USER, RESOURCE. They outlive the transaction only where the embedder
//! gave a store.

use std::sync::Arc;

use crate::engine::Store;
use crate::parse::ast::Variable;

/// The collections that rules have opened.
#[derive(Default)]
pub(crate) struct Collections {
    open: Vec<Open>,
    store: Option<Arc<dyn Store>>,
}

struct Open {
    collection: Variable,
    key: Vec<u8>,
    vars: Vec<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Collections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collections").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

/// Most variables of one collection that a transaction sees.
const MOST: usize = 10_000;

impl Collections {
    pub(crate) fn with_store(store: Arc<dyn Store>) -> Self {
        Self { open: Vec::new(), store: Some(store) }
    }

    /// Opens a collection under a key. The first key of a transaction stays.
    pub(crate) fn open(&mut self, collection: Variable, key: &[u8]) {
        if self.find(collection).is_some() {
            return;
        }
        let mut vars = self.store.as_ref().map(|store| store.load(collection.name(), key)).unwrap_or_default();
        vars.truncate(MOST);
        self.open.push(Open { collection, key: key.to_vec(), vars });
    }

    /// A variable's value.
    pub(crate) fn get(&self, collection: Variable, name: &[u8]) -> Option<&[u8]> {
        let open = self.find(collection)?;
        open.vars.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// All variables of a collection.
    pub(crate) fn all(&self, collection: Variable) -> &[(Vec<u8>, Vec<u8>)] {
        self.find(collection).map_or(&[], |open| &open.vars)
    }

    /// Sets or, without a value, deletes a variable of an open collection.
    pub(crate) fn set(&mut self, collection: Variable, name: &[u8], value: Option<&[u8]>, seconds: u64) {
        let Some(open) = self.open.iter_mut().find(|open| open.collection == collection) else { return };
        let at = open.vars.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        match (at, value) {
            (Some(at), Some(value)) => {
                if let Some((_, old)) = open.vars.get_mut(at) {
                    value.clone_into(old);
                }
            }
            (Some(at), None) => drop(open.vars.swap_remove(at)),
            (None, Some(value)) if open.vars.len() < MOST => open.vars.push((name.to_vec(), value.to_vec())),
            (None, _) => {}
        }
        if let Some(store) = &self.store {
            store.save(collection.name(), &open.key, name, value, seconds);
        }
    }

    /// Says when a variable goes.
    pub(crate) fn expire(&mut self, collection: Variable, name: &[u8], seconds: u64) {
        let Some(value) = self.get(collection, name).map(<[u8]>::to_vec) else { return };
        self.set(collection, name, Some(&value), seconds);
    }

    fn find(&self, collection: Variable) -> Option<&Open> {
        self.open.iter().find(|open| open.collection == collection)
    }
}
