//! Client certificates of the configuration: bundles and revocation lists are read, and each listener is told whom to ask.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tollgate_core::check::Checker;
use tollgate_layers::auth::{ClientAuth, Door, KeyNames, Surroundings, TrustConfig, read_revoked};

use super::Desk;
use crate::config::disk;
use crate::config::document::{ListenerConfig, Serves};
use crate::config::tls::TlsVersion;
use crate::tls::{Reception, Roots, Trusts};

/// The most bytes of a bundle and of a file of revocation lists.
const MOST_BUNDLE: u64 = 4 << 20;
const MOST_LISTS: u64 = 32 << 20;

/// What comes of `tls.client_auth`.
pub(super) struct Asking {
    /// What layer `auth` knows.
    pub(super) layer: ClientAuth,
    /// How listeners ask, by name.
    pub(super) receptions: HashMap<String, Arc<Reception>>,
}

impl Desk<'_> {
    /// Reports every mistake, then makes ready what asks for certificates.
    pub(super) fn client_auth(&self, base: &Path, check: &mut Checker) -> Asking {
        let config = self.config;
        let doors: HashMap<Box<str>, Door> = check.within("listeners", |check| {
            let listeners = config.listeners.iter();
            let door = |(name, listener): (&String, &ListenerConfig)| {
                let door = check.within(name.as_str(), |check| self.door(listener, check));
                Some((name.as_str().into(), door?))
            };
            listeners.filter_map(door).collect()
        });
        check.within("tls", |check| {
            check.within("client_auth", |check| {
                let (mut trusts, mut revoked) = (Trusts::default(), HashSet::new());
                check.within("trust", |check| {
                    for (i, trust) in config.tls.client_auth.trust.iter().enumerate() {
                        check.within(i, |check| self.trust(trust, base, (&mut trusts, &mut revoked), check));
                    }
                });
                let receptions = self.receptions(&doors, trusts, check);
                let names = KeyNames { tenants: &config.tenants, models: &self.models, ids: self.state.id_key };
                let around = Surroundings { doors, proxies: config.network.proxies(), revoked };
                Asking { layer: config.tls.client_auth.compile(check, &names, around), receptions }
            })
        })
    }

    /// What a listener with TLS asks for.
    fn door(&self, listener: &ListenerConfig, check: &mut Checker) -> Option<Door> {
        let tls = listener.tls.as_ref()?;
        let own = tls.client_auth.as_ref();
        if listener.serves == Serves::Admin {
            let lone = own.is_none();
            check.within("tls", |check| {
                check.require(
                    lone,
                    "client_auth",
                    "a listener that serves `admin` asks for a key, not for certificates",
                );
            });
            return None;
        }
        let names = check.within("tls", |check| {
            check.within("client_auth", |check| {
                check.within("names", |check| {
                    let names = own.map(|own| own.names.iter()).into_iter().flatten();
                    names.filter_map(|(name, asks)| Some((host(name, check)?, *asks))).collect()
                })
            })
        });
        let default = own.and_then(|own| own.mode).unwrap_or(self.config.tls.client_auth.mode);
        Some(Door { default, names })
    }

    fn trust(
        &self,
        trust: &TrustConfig,
        base: &Path,
        (trusts, revoked): (&mut Trusts, &mut HashSet<[u8; 32]>),
        check: &mut Checker,
    ) {
        let store = roots(&trust.bundle, base).map_err(|why| check.problem("bundle", why));
        let lists = match &trust.crl {
            None => Ok(Vec::new()),
            Some(file) => lists(file, base).map_err(|why| check.problem("crl", why)),
        };
        let (Ok(store), Ok(lists), Some(kind)) = (store, lists, trust.kind()) else { return };
        for list in &lists {
            match read_revoked(list) {
                Ok(read) => {
                    if read.ends_ms.is_some_and(|ends| ends <= self.state.clock.unix_ms()) {
                        let why = "a list in it has ended: every certificate that it speaks of is refused";
                        check.warn("crl", why);
                    }
                    revoked.extend(read.certificates);
                }
                Err(why) => check.problem("crl", format!("a list cannot be read: {why}")),
            }
        }
        if let Err(why) = trusts.add(kind, Roots { store, lists, depth: trust.revocation }) {
            check.problem("bundle", why);
        }
    }

    fn receptions(
        &self,
        doors: &HashMap<Box<str>, Door>,
        trusts: Trusts,
        check: &mut Checker,
    ) -> HashMap<String, Arc<Reception>> {
        let trusts = Arc::new(trusts);
        let mut receptions = HashMap::new();
        for (name, door) in doors.iter().filter(|(_, door)| door.asks_anybody()) {
            let tls = self.config.listeners.get(&**name).and_then(|listener| listener.tls.as_ref());
            let min = tls.and_then(|tls| tls.min_version).unwrap_or(TlsVersion::V13);
            match Reception::new((&self.state.certs, name), min, door.clone(), &trusts) {
                Ok(reception) => drop(receptions.insert(name.to_string(), Arc::new(reception))),
                Err(error) => check.problem_here(format!("the provider of TLS says: {error}")),
            }
        }
        receptions
    }
}

/// A host as [`Door`] has it.
fn host(name: &str, check: &mut Checker) -> Option<Box<str>> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fit)
    };
    if plain.len() > 253 || !plain.split('.').all(label) {
        check.problem(name, format!("`{name}` is not a host such as `api.example.com` or `*.example.com`"));
        return None;
    }
    let kept = name.strip_prefix('*').unwrap_or(name);
    Some(kept.to_ascii_lowercase().into())
}

fn roots(file: &str, base: &Path) -> Result<RootCertStore, String> {
    let pem = read(file, base, MOST_BUNDLE)?;
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&pem) {
        let root = root.map_err(|_| format!("`{file}` is not PEM"))?;
        store.add(root).map_err(|error| format!("a root of `{file}` cannot be used: {error}"))?;
    }
    if store.is_empty() { Err(format!("`{file}` holds no certificate")) } else { Ok(store) }
}

fn lists(file: &str, base: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let pem = read(file, base, MOST_LISTS)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let lists = lists.map_err(|_| format!("`{file}` is not PEM"))?;
    // An empty file would switch revocation off without a word.
    if lists.is_empty() { Err(format!("`{file}` holds no revocation list")) } else { Ok(lists) }
}

fn read(file: &str, base: &Path, most: u64) -> Result<Vec<u8>, String> {
    disk::read_up_to(&base.join(file), most).map_err(|error| format!("`{file}` cannot be read: {error}"))
}
