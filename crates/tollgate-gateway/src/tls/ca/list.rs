//! Revocation, and the lists that tell of it.

use std::time::Duration;

use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};

use super::{Authority, CaError, Entry, LISTS, ROOT_LIST, Record, files, instant, milliseconds};

/// How long a list holds. It is signed anew each hour, so that a day without us refuses nobody.
pub(super) const VALID: Duration = Duration::from_hours(24);

/// How long a certificate stays in the list after its end.
const SPARE: Duration = Duration::from_hours(24);

impl Authority {
    /// Revokes a certificate and everything that renewed it, and publishes that. Gives the serial numbers.
    ///
    /// # Errors
    /// Where it was never issued, or what the system says.
    pub fn revoke(&mut self, serial: &str, reason: &str, now_ms: u64) -> Result<Vec<String>, CaError> {
        let serial = serial.to_ascii_lowercase();
        if !self.entries.iter().any(|entry| entry.serial == serial) {
            return Err(CaError::Refused(format!("no certificate has the serial number `{serial}`")));
        }
        // Whoever stole a key may have renewed it, and those who did so after them.
        let mut line = vec![serial];
        for entry in &self.entries {
            if entry.renews.as_ref().is_some_and(|renews| line.contains(renews)) {
                line.push(entry.serial.clone());
            }
        }
        let live =
            |serial: &String| self.entries.iter().any(|entry| entry.serial == *serial && entry.revoked_ms.is_none());
        line.retain(live);
        for serial in &line {
            let record = Record::Revoked { serial: serial.clone(), at_ms: now_ms, reason: reason.to_owned() };
            self.note(&record)?;
        }
        self.publish(now_ms)?;
        Ok(line)
    }

    /// Signs a list of what is revoked and has not ended, and puts it beside that of the root.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(&mut self, now_ms: u64) -> Result<(), CaError> {
        // The number is the time in milliseconds, and always more than the last: RFC 5280, 5.2.3 wants it to grow.
        let number = self.number.saturating_add(1).max(now_ms);
        let revoked: Vec<&Entry> = self.entries.iter().filter(|entry| entry.revoked_ms.is_some()).collect();
        // Whose clock is late may still take one that has ended.
        let ended = |entry: &&Entry| entry.ends_ms.saturating_add(milliseconds(SPARE)) <= now_ms;
        let alive: Vec<&Entry> = revoked.into_iter().filter(|entry| !ended(entry)).collect();
        let ends = now_ms.saturating_add(milliseconds(VALID));
        let list = signed(&self.issuer, &alive, number, (now_ms, ends))?;
        // Noted first: a number is never used twice.
        self.note(&Record::Listed { number, at_ms: now_ms })?;
        let root = files::read(&self.directory.join(ROOT_LIST))?;
        files::replace(&self.directory.join(LISTS), format!("{list}{root}").as_bytes())
    }
}

/// A list, as PEM.
pub(super) fn signed(
    issuer: &Issuer<'_, KeyPair>,
    revoked: &[&Entry],
    number: u64,
    (from_ms, to_ms): (u64, u64),
) -> Result<String, CaError> {
    let one = |entry: &&Entry| {
        Some(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&bytes(&entry.serial)?),
            revocation_time: instant(entry.revoked_ms?),
            reason_code: None,
            invalidity_date: None,
        })
    };
    let params = CertificateRevocationListParams {
        this_update: instant(from_ms),
        next_update: instant(to_ms),
        crl_number: SerialNumber::from_slice(&positive(number)),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().filter_map(one).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?.pem()?)
}

/// A number that DER does not take for a negative one.
fn positive(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    bytes.iter().skip(start).copied().collect()
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}
