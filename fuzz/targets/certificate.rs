//! Any bytes as a certificate and as a revocation list.

use tollgate_layers::auth::{SpiffeId, read_certificate, read_revoked};

/// Names that are taken are visible ASCII, few and short; what is read twice is the same.
pub(crate) fn run(data: &[u8]) {
    let _ = read_revoked(data);
    let Ok(found) = read_certificate(data, std::iter::once(data)) else { return };
    assert_eq!(read_certificate(data, std::iter::once(data)).as_ref(), Ok(&found));
    assert_eq!(found.lineage.len(), 2, "the leaf and the one above it");
    assert_eq!(found.lineage.first(), found.lineage.last(), "which are the same here");
    let names: Vec<_> = found.uris.iter().chain(&found.dns).chain(&found.emails).collect();
    assert!(names.len() <= 64);
    for name in names {
        assert!((1..=2048).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    for id in found.uris.iter().filter_map(|uri| SpiffeId::parse(uri)) {
        assert!(!id.domain.contains(['/', ':', '@']) && !id.path.ends_with('/'));
    }
}
