//! What the fuzz target `token` drives: an issuer whose key nobody has.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::Method;
use serde_json::json;
use tollgate_core::check::Checker;
use tollgate_core::identity::Peer;

use super::dpop::Asked;
use super::{IssuerConfig, KeyRoom, KeySet, Proof, Shown, TokenNames, Tokens};
use crate::auth::IdKey;
use crate::authz::TenantConfig;

/// When it is, in seconds since the Unix epoch.
const NOW: u64 = 1_800_000_000;

/// Issuers that have accepted nobody yet, and never will.
#[derive(Debug)]
pub struct FuzzedTokens(Tokens);

impl Default for FuzzedTokens {
    fn default() -> Self {
        let set = json!({ "keys": [{
            // The example of RFC 8037: its private half is known to everybody, but not to a fuzzer.
            "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }] });
        let room = Arc::new(KeyRoom::default());
        let set = KeySet::parse(set.to_string().as_bytes(), u64::MAX).expect("a key set");
        room.put(set.0);
        let issuer: IssuerConfig = serde_json::from_value(json!({
            "issuer": "https://id.test/", "audience": ["https://api.test"], "jwks": { "file": "x" }, "tenant": "acme",
        }))
        .expect("an issuer");
        let tenants = BTreeMap::from([("acme".to_owned(), TenantConfig::default())]);
        let (replays, resource) = (Arc::default(), Some("https://api.test"));
        let names = TokenNames {
            tenants: &tenants,
            ids: IdKey::new([1; 16]),
            room: &|_| (Arc::clone(&room), None),
            seed: [2; 16],
            resource,
            dpop: true,
            replays: &replays,
        };
        let issuers = BTreeMap::from([("corp".to_owned(), issuer)]);
        Self(Tokens::compile(&issuers, &mut Checker::default(), &names))
    }
}

impl FuzzedTokens {
    /// Reads `text` as a token and as a proof, at once and without accepting either.
    ///
    /// # Panics
    /// If a token is accepted, or has to wait.
    pub fn refuse(&self, text: &[u8]) {
        let ip = [192, 0, 2, 1].into();
        let peer =
            Peer { ip, port: 1, local: (ip, 443), listener: "x".into(), sni: None, tls: true, certificate: None };
        let (method, path) = (&Method::POST, "/predict");
        let shown = Shown { text, proof: Some(text), method, path, peer: &peer, from: peer.ip, unix_ms: NOW * 1000 };
        match pin!(self.0.identify(shown)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(who)) => panic!("`{}` was let in", who.principal),
            Poll::Pending => panic!("it waits"),
        }
        let asked = Asked { method, origin: "https://api.test", path, token: b"a token" };
        // A proof may well hold: whoever makes it brings the key along.
        drop(Proof::check(text, &asked, NOW));
    }
}
