//! What an authority issues is verified by the verifier of the listeners, and what it revokes is not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use tollgate_core::identity::Certificate;
use tollgate_layers::auth::{Revocation, TrustKind, read_revoked};

use super::{Authority, BUNDLE, CaError, LISTS, LONGEST, Request, USUAL};
use crate::tls::{Roots, Trusts};

/// 2027-01-01.
const NOW: u64 = 1_798_761_600_000;
const HOUR: u64 = 3_600_000;
const ID: &str = "spiffe://prod.example/ns/ml/sa/job";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that is gone with its test.
struct Place(PathBuf);

impl Place {
    fn fresh() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tollgate-ca-{}-{number}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }

    fn begun() -> (Self, Authority) {
        let place = Self::fresh();
        Authority::init(&place.0, "prod.example", &[], NOW).expect("an authority");
        let authority = Authority::open(&place.0).expect("an authority");
        (place, authority)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn request() -> Request {
    Request { id: ID.to_owned(), dns: Vec::new(), server: false, life: USUAL }
}

fn csr() -> String {
    let key = KeyPair::generate().expect("a key");
    CertificateParams::default().serialize_request(&key).expect("a request").pem().expect("a request")
}

fn verified(place: &Path, chain: &str, at_ms: u64) -> Result<Certificate, Error> {
    let read = |name: &str| std::fs::read(place.join(name)).expect("a file");
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&read(BUNDLE)) {
        store.add(root.expect("PEM")).expect("a root");
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&read(LISTS)).map(|list| list.expect("PEM")).collect();
    let mut trusts = Trusts::default();
    let roots = Roots { store, lists, depth: Revocation::Chain };
    trusts.add(TrustKind::Domain("prod.example"), roots).expect("a trust");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|one| one.expect("PEM")).collect();
    trusts.judge(&chain, UnixTime::since_unix_epoch(Duration::from_millis(at_ms)))
}

fn refusal(done: Result<impl Sized, CaError>) -> String {
    match done {
        Err(CaError::Refused(why)) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was done"),
    }
}

#[test]
fn what_is_issued_is_verified_for_its_life_and_no_longer() {
    let (place, mut authority) = Place::begun();
    let (issued, key) = authority.issue(&request(), NOW).expect("a certificate");
    assert!(key.contains("PRIVATE KEY"));
    let found = verified(&place.0, &issued.chain, NOW).expect("it is good");
    assert_eq!(
        (found.uris.as_slice(), &*found.trust, &*found.serial),
        (&[ID.into()][..], "prod.example", &*issued.entry.serial)
    );
    assert_eq!(found.not_after_ms, NOW + 24 * HOUR);
    assert!(verified(&place.0, &issued.chain, NOW + 23 * HOUR).is_ok());
    let late = verified(&place.0, &issued.chain, NOW + 25 * HOUR).expect_err("it has ended");
    assert!(matches!(late, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{late:?}");
}

#[test]
fn what_is_revoked_is_refused_with_all_that_renewed_it() {
    let (place, mut authority) = Place::begun();
    let (first, _) = authority.issue(&request(), NOW).expect("a certificate");
    let (other, _) = authority.issue(&request(), NOW).expect("a certificate");
    let second = authority.renew(&first.entry.serial, csr().as_bytes(), NOW + 16 * HOUR).expect("a renewal");
    let third = authority.renew(&second.entry.serial, csr().as_bytes(), NOW + 17 * HOUR).expect("a renewal");
    let gone = authority.revoke(&first.entry.serial, "stolen", NOW + 18 * HOUR).expect("it is revoked");
    assert_eq!(gone, [&first, &second, &third].map(|issued| issued.entry.serial.clone()));
    for issued in [&first, &second, &third] {
        let why = verified(&place.0, &issued.chain, NOW + 18 * HOUR).expect_err("it is revoked");
        assert_eq!(why, Error::InvalidCertificate(CertificateError::Revoked));
    }
    assert!(verified(&place.0, &other.chain, NOW + 18 * HOUR).is_ok());
    let why = refusal(authority.renew(&third.entry.serial, csr().as_bytes(), NOW + 18 * HOUR));
    assert!(why.ends_with("is revoked"), "{why}");
    assert!(refusal(authority.revoke("00ff", "", NOW)).starts_with("no certificate has"));
}

#[test]
fn a_list_that_has_ended_refuses_and_a_new_one_has_a_higher_number() {
    let (place, mut authority) = Place::begun();
    let long = Request { life: LONGEST, ..request() };
    let (issued, _) = authority.issue(&long, NOW).expect("a certificate");
    let after = NOW + 25 * HOUR;
    let why = verified(&place.0, &issued.chain, after).expect_err("the list has ended");
    assert!(
        matches!(&why, Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext { .. })),
        "{why:?}"
    );
    authority.publish(after).expect("a list");
    assert!(verified(&place.0, &issued.chain, after).is_ok());
    let before = authority.number;
    authority.publish(NOW).expect("a list, by a clock that went back");
    assert_eq!(authority.number, before + 1);
    drop(authority);
    assert_eq!(Authority::open(&place.0).expect("an authority").number, before + 1, "the index remembers it");
}

#[test]
fn revoked_certificates_are_named_as_their_own_lineage_names_them() {
    let (place, mut authority) = Place::begun();
    let (issued, _) = authority.issue(&request(), NOW).expect("a certificate");
    let found = verified(&place.0, &issued.chain, NOW).expect("it is good");
    authority.revoke(&issued.entry.serial, "", NOW).expect("it is revoked");
    let lists = authority.lists().expect("lists");
    let list = CertificateRevocationListDer::from_pem_slice(lists.as_bytes()).expect("PEM");
    let read = read_revoked(&list).expect("a list");
    assert_eq!(read.certificates, found.lineage[..1]);
    assert_eq!(read.ends_ms, Some(NOW + 24 * HOUR));
}

#[test]
fn names_of_others_lives_too_long_and_foreign_keys_are_refused() {
    let (_place, mut authority) = Place::begun();
    for (id, why) in [
        ("spiffe://other.example/x", "not of the trust domain"),
        ("spiffe://prod.example", "the domain itself"),
        ("spiffe://prod.example/../x", "is no SPIFFE id"),
        ("https://prod.example/x", "is no SPIFFE id"),
    ] {
        let found = refusal(authority.issue(&Request { id: id.to_owned(), ..request() }, NOW));
        assert!(found.contains(why), "{id}: {found}");
    }
    let long = Request { life: LONGEST + Duration::from_secs(1), ..request() };
    assert!(refusal(authority.issue(&long, NOW)).contains("seven days"));
    let host = Request { dns: vec!["*.prod.example".to_owned()], ..request() };
    assert!(refusal(authority.issue(&host, NOW)).contains("no DNS name"));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let csr = CertificateParams::default().serialize_request(&key).expect("a request").pem().expect("a request");
    assert!(refusal(authority.sign(csr.as_bytes(), &request(), NOW)).contains("P-256"));
    assert!(refusal(authority.sign(b"nonsense", &request(), NOW)).contains("cannot be read"));
    assert!(authority.entries().is_empty(), "what was refused is not in the index");
}

#[test]
fn hosts_outside_the_constraint_are_not_believed_though_they_were_signed() {
    let (place, mut authority) = Place::begun();
    let named = |name: &str| Request { dns: vec![name.to_owned()], ..request() };
    let (inside, _) = authority.issue(&named("job.prod.example"), NOW).expect("a certificate");
    assert!(verified(&place.0, &inside.chain, NOW).is_ok());
    let (outside, _) = authority.issue(&named("bank.example"), NOW).expect("a certificate");
    assert!(verified(&place.0, &outside.chain, NOW).is_err());
}

#[test]
fn an_authority_is_never_overwritten() {
    let (place, authority) = Place::begun();
    drop(authority);
    let before = std::fs::read(place.0.join(BUNDLE)).expect("a bundle");
    let why = refusal(Authority::init(&place.0, "prod.example", &[], NOW));
    assert!(why.contains("never overwritten"), "{why}");
    assert_eq!(std::fs::read(place.0.join(BUNDLE)).expect("a bundle"), before);
}

#[test]
fn keys_are_their_owners_alone_and_others_are_refused() {
    let (place, authority) = Place::begun();
    drop(authority);
    for name in ["root.key", "intermediate.key"] {
        let mode = std::fs::metadata(place.0.join(name)).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = place.0.join("intermediate.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("permissions");
    assert!(refusal(Authority::open(&place.0)).contains("can be read by others"));
}

#[test]
fn the_roots_key_may_be_taken_away() {
    let (place, authority) = Place::begun();
    drop(authority);
    std::fs::remove_file(place.0.join("root.key")).expect("a key");
    let mut authority = Authority::open(&place.0).expect("an authority");
    let (issued, _) = authority.issue(&request(), NOW).expect("a certificate");
    authority.revoke(&issued.entry.serial, "", NOW).expect("it is revoked");
}

#[test]
fn half_a_line_at_the_end_of_the_index_is_forgotten_and_damage_elsewhere_is_told() {
    let (place, mut authority) = Place::begun();
    let (issued, _) = authority.issue(&request(), NOW).expect("a certificate");
    drop(authority);
    let index = place.0.join("index.jsonl");
    let whole = std::fs::read_to_string(&index).expect("an index");
    std::fs::write(&index, format!("{whole}{{\"event\":\"issu")).expect("an index");
    let mut authority = Authority::open(&place.0).expect("an authority");
    assert_eq!(authority.entries().len(), 1);
    let (second, _) = authority.issue(&request(), NOW).expect("a certificate");
    assert_ne!(second.entry.serial, issued.entry.serial);
    drop(authority);
    assert_eq!(Authority::open(&place.0).expect("an authority").entries().len(), 2);
    std::fs::write(&index, whole.replacen("issued", "isued", 1)).expect("an index");
    assert!(matches!(Authority::open(&place.0), Err(CaError::Damaged(..))));
}
