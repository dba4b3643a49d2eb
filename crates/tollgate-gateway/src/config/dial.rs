//! How a store is reached, of whatever section.

use std::path::PathBuf;

use tollgate_core::check::Checker;
use tollgate_core::secret::SecretRef;

use super::disk::read_up_to;
use crate::secrets::Opener;
use crate::store::Dial;

/// What a section says of its store.
pub(crate) struct Address<'a> {
    /// The address, which holds a password.
    pub(crate) url: &'a SecretRef,
    /// The only authorities.
    pub(crate) ca: Option<PathBuf>,
    /// Whether it is a cluster.
    pub(crate) cluster: bool,
    /// What the names in it begin with.
    pub(crate) namespace: &'a str,
}

/// How it is reached, or what is wrong with that. `check` stands at the section.
pub(crate) fn dial(address: &Address<'_>, opener: &mut Opener<'_>, check: &mut Checker) -> Option<Dial> {
    let url = opener.open(address.url, "url", check)?;
    let ca = address.ca.as_ref().map(|ca| read_up_to(ca, 1 << 20));
    let ca = ca.transpose().map_err(|error| check.problem("ca", format!("cannot be read: {error}"))).ok()?;
    let dial = Dial::new(&url, ca, address.cluster, address.namespace);
    dial.map_err(|why| check.problem("url", format!("what it refers to {why}"))).ok()
}
