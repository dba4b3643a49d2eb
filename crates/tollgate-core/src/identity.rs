//! Who is asking, from where, and in which exchange.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::time::Tick;

/// Number of one exchange, unique within a run of the gateway: written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ExchangeId(pub u128);

impl ExchangeId {
    /// Its 32 digits, without going through a formatter: every exchange needs them.
    #[must_use]
    pub fn digits(self) -> [u8; 32] {
        hexadecimal(self.0)
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).expect("hexadecimal digits are ASCII"))
    }
}

/// The lowest `N` hexadecimal digits of a number.
#[must_use]
pub fn hexadecimal<const N: usize>(number: u128) -> [u8; N] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut digits = [b'0'; N];
    // Byte by byte: shifting 128 bits once for each digit is several times dearer.
    for (pair, byte) in digits.rchunks_mut(2).zip(number.to_le_bytes()) {
        let [high, low] = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        match pair {
            [first, second] => (*first, *second) = (high, low),
            [only] => *only = low,
            _ => {}
        }
    }
    digits
}

/// The other end of a connection. Made once at accept and shared by its exchanges.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the socket, IPv4-mapped IPv6 already unmapped.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Our end of the connection.
    pub local: (IpAddr, u16),
    /// Name of our listener.
    pub listener: Arc<str>,
    /// Server name of the TLS handshake.
    pub sni: Option<Arc<str>>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The certificate that it showed, verified in the handshake.
    pub certificate: Option<Arc<Certificate>>,
}

/// A client certificate that was verified, and what it says of its owner. The subject's common name is never used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Certificate {
    /// SHA-256 of its DER form: what `x5t#S256` of RFC 8705 means.
    pub sha256: [u8; 32],
    /// Subject alternative names that are URIs, such as a SPIFFE id.
    pub uris: Vec<Box<str>>,
    /// Those that are DNS names, in lower case.
    pub dns: Vec<Box<str>>,
    /// Those that are mail addresses.
    pub emails: Vec<Box<str>>,
    /// Its serial number, in hexadecimal digits.
    pub serial: Box<str>,
    /// When it begins, milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// When it ends, likewise.
    pub not_after_ms: u64,
    /// Name of the trust whose bundle it was verified against.
    pub trust: Box<str>,
    /// SHA-256 of issuer and serial number of each certificate that was shown: what revocation lists speak of.
    pub lineage: Vec<[u8; 32]>,
}

/// What is known of an exchange before its head is read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its number.
    pub id: ExchangeId,
    /// The other end.
    pub peer: Arc<Peer>,
    /// When it began, monotonic.
    pub started: Tick,
    /// When it began, milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Method {
    /// A key.
    ApiKey,
    /// A client certificate.
    Certificate,
    /// Not at all: the route asks for nothing.
    #[default]
    None,
    /// An access token.
    Token,
}

impl Method {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Certificate => "certificate",
            Self::None => "none",
            Self::Token => "token",
        }
    }
}

/// Everything that is known of a caller. Counters use the keyed 64-bit ids and never see a name.
#[derive(Debug, Default)]
pub struct Person {
    /// Who: the key's id, later a subject or a SPIFFE id.
    pub principal: Box<str>,
    /// On whose behalf and bill.
    pub tenant: Box<str>,
    /// What the credential was made for; empty means everything that the tenant may do.
    pub scopes: Vec<Box<str>>,
    /// Models that the credential is held to; empty means all of the tenant's.
    pub models: Vec<Box<str>>,
    /// How they proved it.
    pub method: Method,
    /// Keyed hash of the principal.
    pub principal_id: u64,
    /// Keyed hash of the tenant.
    pub tenant_id: u64,
    /// Id of the credential, where the principal has another name.
    pub credential: Option<Box<str>>,
    /// When the credential ends, milliseconds since the Unix epoch, if its user must hear of it.
    pub retires_ms: Option<u64>,
}

/// Who is asking: cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    person: Arc<Person>,
    /// Whether a client certificate was verified beside what proves who it is, or is what proves it.
    pub mtls: bool,
}

impl Identity {
    /// The identity of a person.
    #[must_use]
    pub fn new(person: Person) -> Self {
        let mtls = person.method == Method::Certificate;
        Self { person: Arc::new(person), mtls }
    }

    /// The same, with or without a certificate beside it.
    #[must_use]
    pub fn over(self, mtls: bool) -> Self {
        Self { mtls, ..self }
    }

    /// Nobody in particular, on a route that asks for no credential.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(Person { principal: "anonymous".into(), tenant: "anonymous".into(), ..Person::default() })
    }

    /// Whether nobody in particular is asking.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.method == Method::None
    }
}

impl Deref for Identity {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.person
    }
}
