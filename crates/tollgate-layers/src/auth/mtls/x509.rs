//! What of a certificate and of a revocation list we decide by. Reads; verifies nothing.

use aws_lc_rs::digest::{Context, SHA256, digest};
use tollgate_core::identity::Certificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

/// The most alternative names of a certificate, and the longest of them.
const MOST_NAMES: usize = 64;
const LONGEST_NAME: usize = 2048;
/// The most certificates above a leaf: as many as a chain that is verified may have.
const MOST_ABOVE: usize = 8;

/// Why a certificate or a list cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// A name is no visible ASCII, too long, or of a form that nobody can compare.
    #[error("an alternative name is malformed")]
    BadName,
    /// Bytes that are no such structure, or more than it.
    #[error("it is malformed")]
    Malformed,
    /// More names or certificates than anybody needs.
    #[error("it is too large")]
    TooMany,
}

/// Reads a leaf, and of the certificates above it what revocation lists name them by. `trust` stays empty.
///
/// # Errors
/// Where it is malformed, or names are.
pub fn read_certificate<'a>(leaf: &[u8], above: impl Iterator<Item = &'a [u8]>) -> Result<Certificate, Unreadable> {
    let parsed = parse(leaf)?;
    let mut found = Certificate {
        sha256: hash(&[leaf]),
        serial: hexadecimal(parsed.raw_serial()),
        not_before_ms: milliseconds(parsed.validity().not_before.timestamp()),
        not_after_ms: milliseconds(parsed.validity().not_after.timestamp()),
        lineage: vec![name(parsed.issuer().as_raw(), parsed.raw_serial())],
        ..Certificate::default()
    };
    for der in above {
        if found.lineage.len() > MOST_ABOVE {
            return Err(Unreadable::TooMany);
        }
        let parsed = parse(der)?;
        found.lineage.push(name(parsed.issuer().as_raw(), parsed.raw_serial()));
    }
    let names = parsed.subject_alternative_name().map_err(|_| Unreadable::Malformed)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    if names.len() > MOST_NAMES {
        return Err(Unreadable::TooMany);
    }
    for one in names {
        match one {
            GeneralName::DNSName(text) => found.dns.push(visible(text)?.to_ascii_lowercase().into()),
            GeneralName::Invalid(..) => return Err(Unreadable::BadName),
            GeneralName::RFC822Name(text) => found.emails.push(visible(text)?.into()),
            GeneralName::URI(text) => found.uris.push(visible(text)?.into()),
            // Addresses, directory names and the rest name nobody here.
            _ => {}
        }
    }
    Ok(found)
}

/// A revocation list.
#[derive(Debug)]
pub struct RevocationList {
    /// What it revokes, in the form that [`Certificate::lineage`] has.
    pub certificates: Vec<[u8; 32]>,
    /// When it ends, milliseconds since the Unix epoch.
    pub ends_ms: Option<u64>,
}

/// Reads a revocation list.
///
/// # Errors
/// Where it is malformed.
pub fn read_revoked(list: &[u8]) -> Result<RevocationList, Unreadable> {
    let (rest, list) = CertificateRevocationList::from_der(list).map_err(|_| Unreadable::Malformed)?;
    if !rest.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let issuer = list.issuer().as_raw();
    let certificates = list.iter_revoked_certificates().map(|one| name(issuer, one.raw_serial())).collect();
    let ends_ms = list.next_update().map(|ends| milliseconds(ends.timestamp()));
    Ok(RevocationList { certificates, ends_ms })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Unreadable> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(Unreadable::Malformed),
    }
}

/// A name without control signs, spaces or anything beyond ASCII: what two readers could take for two names.
fn visible(text: &str) -> Result<&str, Unreadable> {
    let fits = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text) } else { Err(Unreadable::BadName) }
}

/// What issuer and serial number name: one certificate (RFC 5280 § 4.1.2.2).
fn name(issuer: &[u8], serial: &[u8]) -> [u8; 32] {
    let mut serial = serial;
    while let [0, rest @ ..] = serial {
        serial = rest;
    }
    let length = u64::try_from(issuer.len()).unwrap_or(u64::MAX).to_le_bytes();
    hash(&[&length, issuer, serial])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let [one] = parts else {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        return context.finish().as_ref().try_into().unwrap_or_default();
    };
    digest(&SHA256, one).as_ref().try_into().unwrap_or_default()
}

fn hexadecimal(bytes: &[u8]) -> Box<str> {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn milliseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}
