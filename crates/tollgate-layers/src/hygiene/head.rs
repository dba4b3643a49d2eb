//! A request head that passed hygiene: the only form in which later layers see one.

use http::{HeaderMap, Method, Uri, Version};

/// A clean request head. Hop-by-hop fields are still there: they are dropped when the request is forwarded, after
/// credentials were read.
#[derive(Clone, Debug)]
pub struct Head {
    /// Method.
    pub method: Method,
    /// Target, in origin form; `path()` starts with `/` and holds no dot segment, raw or encoded.
    pub uri: Uri,
    /// Version.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// Host name without port, lower case.
    pub host: Box<str>,
}

impl Head {
    /// The path of the target.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The value of the only field of that name, if it is visible ASCII; `None` if there is none or more than one.
    #[must_use]
    pub fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }
}
