//! `Client-Cert` of RFC 9440: the certificate that a proxy saw in its own handshake.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::Refused;

/// The longest field, in bytes: twice what the largest certificates of practice take.
const MOST: usize = 16_384;

/// The certificate of the one `Client-Cert`, as DER. What `Client-Cert-Chain` says is not needed: the proxy verified it.
pub(super) fn leaf(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refused> {
    let mut values = headers.get_all("client-cert").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > MOST {
        return Err(Refused::Malformed);
    }
    // A byte sequence of RFC 8941 § 3.3.5, without parameters: RFC 9440 defines none.
    let inner = value.as_bytes().strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    let der = inner.and_then(|text| STANDARD.decode(text).ok()).filter(|der| !der.is_empty());
    der.map(Some).ok_or(Refused::Malformed)
}
