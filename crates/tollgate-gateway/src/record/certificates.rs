//! Counters of handshakes that ended because of the client's certificate, by reason. Who showed it is in no label.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CertificateError, Error};

use super::metrics::{head, row};

const REASONS: [&str; 7] = ["expired", "malformed", "missing", "not_yet", "other", "revoked", "untrusted"];

/// The counters.
#[derive(Debug, Default)]
pub struct CertificateMeters([AtomicU64; REASONS.len()]);

impl CertificateMeters {
    /// Counts a handshake that failed, if it did so for its certificate.
    pub fn count(&self, error: &io::Error) {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else { return };
        let Some(reason) = reason(error) else { return };
        let place = REASONS.iter().position(|known| *known == reason);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes them down.
    pub fn render(&self, out: &mut String) {
        let name = "tollgate_tls_client_certificates_refused_total";
        head(
            out,
            name,
            "counter",
            "Handshakes refused for the client's certificate, by reason: expired, malformed, missing, not_yet, other, revoked, untrusted.",
        );
        for (reason, counter) in REASONS.iter().zip(&self.0) {
            row(out, name, &[("reason", reason)], counter.load(Ordering::Relaxed));
        }
    }
}

fn reason(error: &Error) -> Option<&'static str> {
    use CertificateError as Bad;
    let bad = match error {
        Error::InvalidCertificate(bad) => bad,
        Error::NoCertificatesPresented => return Some("missing"),
        _ => return None,
    };
    Some(match bad {
        Bad::BadEncoding => "malformed",
        Bad::Expired | Bad::ExpiredContext { .. } => "expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "not_yet",
        Bad::Revoked => "revoked",
        Bad::UnknownIssuer => "untrusted",
        _ => "other",
    })
}
