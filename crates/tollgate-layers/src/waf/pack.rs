//! Rule files that ship with the gateway: its base configuration and the pack for model endpoints.

/// What names of shipped files begin with: no file of the disk is called so.
pub(super) const SHIPPED: &str = "tollgate:/";

/// A file of `rules/`, with its name.
macro_rules! shipped {
    ($name:literal) => {
        (concat!("tollgate:/", $name), include_str!(concat!("../../../../rules/", $name)))
    };
}

/// What takes the place of a `modsecurity.conf`: body readers and what becomes of bodies that cannot be read.
pub(super) const BASE: &str = "tollgate:/base.conf";

/// Every shipped file, by name.
pub(super) const FILES: &[(&str, &str)] = &[
    shipped!("base.conf"),
    shipped!("ml/10-init.conf"),
    shipped!("ml/20-shape.conf"),
    shipped!("ml/30-admin.conf"),
    shipped!("ml/40-urls.conf"),
    shipped!("ml/50-payloads.conf"),
    shipped!("ml/60-names.conf"),
    shipped!("ml/70-clients.conf"),
    shipped!("ml/80-advisories.conf"),
    shipped!("ml/90-evaluate.conf"),
    shipped!("ml/scanners.data"),
];

/// The rules of the pack, in the order of loading.
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name).filter(|name| *name != BASE && name.ends_with(".conf"))
}
