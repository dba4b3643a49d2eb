//! The guarded way out for what the gateway asks on its own behalf of servers that are no model servers: keys of issuers,
//! introspection, tokens. HTTPS alone, through the one connector, bounded in time and size, without redirects.
//!
//! A name may lead to public addresses only, unless the configuration says that it is a private one: otherwise a document of
//! an issuer could send us to whatever stands in our own network. A literal address declares itself.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_core::identity::hexadecimal;
use zeroize::Zeroizing;

use crate::tls::{Speaks, client_config};
use crate::upstream::{Address, Reach, Wire, reach};

/// How long one question may take, from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// How servers of one kind are reached: whom they must prove to be, and where they may be.
#[derive(Clone, Debug)]
pub struct Egress {
    /// The roots that are trusted.
    pub tls: Arc<ClientConfig>,
    /// Where names may lead.
    pub reach: Reach,
    /// What tells other roots apart: their digest, where they are not the web's.
    pub roots: Option<[u8; 32]>,
}

/// A question.
#[derive(Debug)]
pub struct Question<'a> {
    /// Method.
    pub method: Method,
    /// Address, beginning with `https://`.
    pub url: &'a str,
    /// Fields beside `Host`, `Accept` and `Content-Type`.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// A form, where something is posted.
    pub form: Option<String>,
    /// The largest answer.
    pub most: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Egress {
    /// With the web's roots or those of `ca` (PEM); to names of private addresses too, if they are allowed.
    ///
    /// # Errors
    /// What is wrong with `ca`.
    pub fn new(ca: Option<&[u8]>, allow_private: bool) -> Result<Self, String> {
        let reach = if allow_private { Reach::Private } else { Reach::Public };
        let roots = ca.and_then(|ca| digest(&SHA256, ca).as_ref().first_chunk().copied());
        Ok(Self { tls: client_config(ca, Speaks::H1)?, reach, roots })
    }

    /// Whether servers are reached in the same way, and must prove the same.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (self.reach, self.roots) == (other.reach, other.roots)
    }

    /// Asks. The words of an error are for operators, and hold nothing of the question but the name of the host.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, String> {
        let asking = self.answer(question);
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_late| Err("it took too long".to_owned()))
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// Why there is no answer, or none that is a success.
    pub async fn get(&self, url: &str, most: usize) -> Result<Answer, String> {
        let question = Question { method: Method::GET, url, fields: Vec::new(), form: None, most };
        let answer = self.ask(question).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answered(answer.status)) }
    }

    /// Whether a document of `issuer` may send us to `url`: a name is held to `reach` when it is looked up, an address is where
    /// the operator did not write it.
    ///
    /// # Errors
    /// It is an address that may not be asked.
    pub fn may_follow(&self, url: &str, issuer: &str) -> Result<(), String> {
        let (found, written) = (self.address(url)?.0.host, self.address(issuer).map(|(address, _)| address.host));
        let may = found.parse().map_or(true, |ip| self.reach.may(ip)) || written.is_ok_and(|written| written == found);
        if may { Ok(()) } else { Err(format!("its metadata sends us to `{found}`, which nobody declared")) }
    }

    async fn answer(&self, question: Question<'_>) -> Result<Answer, String> {
        let (address, target) = self.address(question.url)?;
        let host = address.host_field.clone();
        let wire = reach(&address, self.reach).await.map_err(|error| format!("cannot connect: {error}"))?;
        let mut request = Request::new(Full::new(Bytes::from(question.form.unwrap_or_default())));
        *request.method_mut() = question.method;
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if request.method() == Method::POST {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form);
        }
        request.headers_mut().extend(question.fields);
        match wire {
            Wire::Plain(_) => Err("the connection is not encrypted".to_owned()),
            Wire::Tls(stream) => exchange(*stream, request, question.most).await,
        }
    }

    /// Where a question goes, and the target of its request.
    fn address(&self, url: &str) -> Result<(Address, Uri), String> {
        let uri: Uri = url.parse().map_err(|_| "the address is none".to_owned())?;
        let authority = uri.authority().ok_or("the address has no host")?;
        if uri.scheme_str() != Some("https") {
            return Err("the address does not begin with `https://`".to_owned());
        }
        if authority.as_str().contains('@') {
            return Err("the address holds credentials".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        let address = Address::new(host, port, Some(Arc::clone(&self.tls))).ok_or("the address has no usable host")?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = target.parse().map_err(|_| "the address has no usable path".to_owned())?;
        Ok((address, target))
    }
}

/// Says what came instead of what was asked for.
#[must_use]
pub fn answered(status: StatusCode) -> String {
    if status.is_redirection() {
        return format!("it sends on ({status}), which is not followed");
    }
    format!("it answered {status}")
}

/// `Basic` as OAuth writes it: both parts escaped like a form (RFC 6749 § 2.3.1).
#[must_use]
pub fn basic(name: &[u8], secret: &[u8]) -> HeaderValue {
    let pair = Zeroizing::new(format!("{}:{}", escaped(name), escaped(secret)));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&text).expect("base64 can stand in a header");
    value.set_sensitive(true);
    value
}

/// A value of a form: everything but letters, digits and `-._` is escaped.
#[must_use]
pub fn escaped(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let [high, low] = hexadecimal::<2>(u128::from(*byte)).map(|digit| char::from(digit.to_ascii_uppercase()));
            out.extend(['%', high, low]);
        }
    }
    out
}

async fn exchange<I>(io: I, request: Request<Full<Bytes>>, most: usize) -> Result<Answer, String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broke = |error: hyper::Error| format!("the connection broke: {error}");
    let mut builder = http1::Builder::new();
    let (mut sender, connection) = builder.max_headers(64).handshake(TokioIo::new(io)).await.map_err(broke)?;
    let asking = async move {
        let response = sender.send_request(request).await.map_err(broke)?;
        let (parts, mut body) = response.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(broke)?.into_data().unwrap_or_default();
            if whole.len() + data.len() > most {
                return Err(format!("the answer is larger than {most} bytes"));
            }
            whole.extend_from_slice(&data);
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body: whole.freeze() })
    };
    let mut asking = std::pin::pin!(asking);
    // The connection is driven here and not by a task of its own: what nobody waits for is closed.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        ended = connection => match ended {
            Ok(()) => asking.await,
            Err(error) => Err(broke(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_as_rfc_6749_says() {
        assert_eq!(escaped("a b:c/\u{e9}~".as_bytes()), "a%20b%3Ac%2F%C3%A9%7E");
        let value = basic(b"a:b", b"c d");
        assert!(value.is_sensitive());
        assert_eq!(value, format!("Basic {}", STANDARD.encode("a%3Ab:c%20d")));
    }

    #[test]
    fn a_document_sends_us_to_no_address_that_nobody_declared() {
        let egress = Egress::new(None, false).expect("public roots");
        let may = |url: &str| egress.may_follow(url, "https://127.0.0.1:8443/").is_ok();
        assert!(may("https://keys.test/jwks") && may("https://127.0.0.1:9443/jwks") && may("https://8.8.8.8/"));
        for url in [
            "https://10.0.0.5:6443/x",
            "https://169.254.169.254/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "http://keys.test/",
        ] {
            assert!(!may(url), "{url}");
        }
    }

    #[test]
    fn only_plain_addresses_of_https_are_asked() {
        let egress = Egress::new(None, false).expect("public roots");
        let place =
            |url: &str| egress.address(url).map(|(address, target)| (address.host, address.port, target.to_string()));
        assert_eq!(place("https://id.test/a?b=c"), Ok(("id.test".into(), 443, "/a?b=c".into())));
        assert_eq!(place("https://[::1]:8443"), Ok(("::1".into(), 8443, "/".into())));
        for url in
            ["http://id.test/", "https://a:b@id.test/", "/a", "", "https:///a", "file:///etc/passwd", "id.test:443"]
        {
            assert!(place(url).is_err(), "{url}");
        }
    }
}
