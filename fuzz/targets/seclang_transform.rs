//! Any bytes through any chain of transformations: bounded growth, and what the charset proof says of them holds.

use std::borrow::Cow;

use seclang::charset::ByteSet;
use seclang::transforms::{Tables, Transform};

/// The first byte says how many transformations follow, one byte each; the rest is the value.
pub(crate) fn run(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let Some((chain, value)) = rest.split_at_checked(usize::from(count % 4) + 1) else { return };
    let tables = Tables::default();
    let mut value = Cow::Borrowed(value);
    for byte in chain {
        let Some(transform) = Transform::ALL.get(usize::from(*byte) % Transform::ALL.len()).copied() else { return };
        assert_eq!(Transform::from_name(transform.name()), Some(transform), "names are told apart");
        let (before, written) = (ByteSet::of(&value), transform.apply(&value, &tables));
        let name = transform.name();
        assert!(written.len() <= 3 * value.len() + 40, "{name}: {} bytes of {}", written.len(), value.len());
        assert!(ByteSet::of(&written).is_subset(&transform.transfer(before)), "{name} writes what the proof excludes");
        if transform.triggers().is_some_and(|triggers| triggers.is_disjoint(&before)) {
            assert_eq!(written, value, "{name} changes what holds nothing for it");
        }
        value = Cow::Owned(written.into_owned());
    }
}
