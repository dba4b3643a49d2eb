//! Rule files that ship with the gateway: its base configuration and the pack for model endpoints.

/// What names of shipped files begin with: no file of the disk is called so.
pub(super) const SHIPPED: &str = "tollgate:/";

/// What takes the place of a `modsecurity.conf`: body readers and what becomes of bodies that cannot be read.
pub(super) const BASE: &str = "tollgate:/base.conf";

/// Every shipped file, by name.
pub(super) const FILES: &[(&str, &str)] = &[("tollgate:/base.conf", "")];

/// The rules of the pack, in the order of loading.
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name).filter(|name| *name != BASE && name.ends_with(".conf"))
}
