//! SPIFFE ids: `spiffe://trust.domain/path`, exactly as the standard writes them.

/// The longest id, and the longest name of a trust domain, in bytes.
const MOST: usize = 2048;
const MOST_DOMAIN: usize = 255;

/// A SPIFFE id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpiffeId<'a> {
    /// The trust domain.
    pub domain: &'a str,
    /// Empty, or a slash and segments.
    pub path: &'a str,
}

impl<'a> SpiffeId<'a> {
    /// Reads an id. There is one way to write each: lower-case scheme and domain, no port, no user, no query, no
    /// fragment, no escape, no empty or dotted segment, no slash at the end.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("spiffe://").filter(|_| text.len() <= MOST)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (domain, path) = rest.split_at_checked(end)?;
        let segments = path.strip_prefix('/').map(|path| path.split('/').all(is_segment));
        (is_domain(domain) && segments != Some(false)).then_some(Self { domain, path })
    }

    /// Whether a URI claims to be such an id, well written or not.
    #[must_use]
    pub fn is_claimed(uri: &str) -> bool {
        uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
    }

    /// Whether this is `of`, or stands below it; `of` is an id, too.
    #[must_use]
    pub fn is_within(&self, of: &str) -> bool {
        let rest = of.strip_prefix("spiffe://").and_then(|of| of.strip_prefix(self.domain));
        let below = rest.and_then(|of| self.path.strip_prefix(of));
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}

/// Whether this is the name of a trust domain.
pub(super) fn is_domain(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MOST_DOMAIN).contains(&text.len()) && text.bytes().all(fit)
}

fn is_segment(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(fit)
}
