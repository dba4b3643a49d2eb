//! Releases of the Core Rule Set that this program knows, by the SHA-256 that GitHub publishes for the archive
//! `coreruleset-VERSION-minimal.tar.gz`.

/// Versions and digests, oldest first.
pub(super) const KNOWN: [(&str, &str); 3] = [
    ("4.28.0", "fca67fe46adafeeee61b9d1a03f38c25b9b2a799577df03fa51d99589e6d03b9"),
    ("4.29.0", "1aa1c5c8fc29e532d35293bcea36bf72de61db8f6ed4716a0f91ab14552b7fed"),
    ("4.30.0", "3d678a41fd5aade34760127fef5dd64fd7a77848913fc0f70dde0cf467c94427"),
];

/// Hosts that a download from the usual place may be sent on to; a leading dot stands for every name below.
pub(super) const HOSTS: [&str; 2] = ["github.com", ".githubusercontent.com"];

/// Where the archive of a release is.
pub(super) fn url(version: &str) -> String {
    let base = "https://github.com/coreruleset/coreruleset/releases/download";
    format!("{base}/v{version}/coreruleset-{version}-minimal.tar.gz")
}

/// The digest of a release, if it is known.
pub(super) fn sha256(version: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == version).map(|(_, sha256)| *sha256)
}

/// Whether `text` is a version: it becomes part of an address and of a name of a directory.
pub(super) fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
}

/// A SHA-256 in hexadecimal as bytes.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_release_has_a_version_and_a_digest() {
        for (version, sha256) in KNOWN {
            assert!(is_version(version), "{version}");
            assert_eq!(hex(&digest(sha256).expect("a digest")), sha256);
        }
    }

    #[test]
    fn a_version_is_never_a_path() {
        for text in ["", "4", "4.29", "4.29.0-rc1", "4.29.0/..", "../4.2.9", "4..0", "4.29.0 "] {
            assert!(!is_version(text), "{text}");
        }
    }
}
