//! Tokens that are bound to a key.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Code, Ruling, Stop};

use super::super::corpus::{Signers, b64, with};
use super::{CONFIG, NOW, Scene, reason, scene};
use crate::auth::Asking;
use crate::auth::tests::{at_once, head, peer};
use crate::routes::AuthNeed;

fn jwk(key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) })
}

fn thumbprint(key: &Value) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, key["x"], key["y"]);
    b64(digest(&SHA256, canonical.as_bytes()))
}

/// A proof for `POST /predict` with a token, changed in its header and its claims.
fn proof(key: &EcdsaKeyPair, token: &str, header: Value, claims: Value) -> String {
    let ath = b64(digest(&SHA256, token.as_bytes()));
    let base = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(key) });
    let said = json!({ "htm": "POST", "htu": "https://api.test/predict", "iat": NOW, "jti": "one", "ath": ath });
    let signed = format!("{}.{}", b64(with(&base, header).to_string()), b64(with(&said, claims).to_string()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("it signs");
    format!("{signed}.{}", b64(signature))
}

fn ask(scene: &Scene, scheme: &str, token: &str, proofs: &[&str]) -> Ruling<Identity> {
    let mut headers = vec![("authorization".to_owned(), format!("{scheme} {token}"))];
    headers.extend(proofs.iter().map(|proof| ("dpop".to_owned(), (*proof).to_owned())));
    let (head, peer) = (head("/predict?x=1", &headers), peer());
    let unix_ms = NOW * 1000;
    at_once(scene.auth.identify(&Asking {
        head: &head,
        peer: &peer,
        from: peer.ip,
        at: tollgate_core::time::Tick(0),
        unix_ms,
        need: AuthNeed::Required,
    }))
}

fn bound() -> (Scene, String) {
    let scene = scene(CONFIG);
    let token = scene.token(json!({ "cnf": { "jkt": thumbprint(&jwk(&scene.signers.stranger)) } }));
    (scene, token)
}

#[test]
fn a_proof_of_its_key_opens_a_bound_token_once() {
    let (scene, token) = bound();
    let key = &scene.signers.stranger;
    let first = proof(key, &token, json!({}), json!({}));
    assert!(ask(&scene, "DPoP", &token, &[&first]).is_ok());
    assert_eq!(reason(ask(&scene, "DPoP", &token, &[&first])), "its proof was used before");
    let second = proof(key, &token, json!({}), json!({ "jti": "two", "htu": "https://API.test:443/predict" }));
    assert!(ask(&scene, "dpop", &token, &[&second]).is_ok());
}

#[test]
fn proofs_that_prove_nothing_are_refused_each_for_its_own_reason() {
    let (scene, token) = bound();
    let key = &scene.signers.stranger;
    let none = "its proof is none";
    let other = "its proof is for another request or another token";
    let time = "its proof is not of now";
    let private = with(&jwk(key), json!({ "d": "AAAA" }));
    for (header, claims, why) in [
        (json!({}), json!({ "htm": "GET" }), other),
        (json!({}), json!({ "htm": "post" }), other),
        (json!({}), json!({ "htu": "https://api.test/other" }), other),
        (json!({}), json!({ "htu": "http://api.test/predict" }), other),
        (json!({}), json!({ "htu": "https://evil.test/predict" }), other),
        (json!({}), json!({ "htu": null }), other),
        (json!({}), json!({ "ath": b64([0; 32]) }), other),
        (json!({}), json!({ "ath": null }), other),
        (json!({}), json!({ "iat": NOW - 61 }), time),
        (json!({}), json!({ "iat": NOW + 61 }), time),
        (json!({}), json!({ "iat": NOW.to_string() }), none),
        (json!({}), json!({ "iat": null }), none),
        (json!({}), json!({ "jti": null }), none),
        (json!({}), json!({ "jti": "" }), none),
        (json!({}), json!({ "jti": "j".repeat(257) }), none),
        (json!({ "typ": "JWT" }), json!({}), none),
        (json!({ "typ": null }), json!({}), none),
        (json!({ "alg": "none" }), json!({}), none),
        (json!({ "alg": "HS256" }), json!({}), none),
        (json!({ "alg": "ES384" }), json!({}), none),
        (json!({ "jwk": null }), json!({}), none),
        (json!({ "jwk": private }), json!({}), none),
        (json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), json!({}), none),
        (json!({ "jwk": jwk(&scene.signers.es256) }), json!({}), none),
        (json!({ "crit": ["x"] }), json!({}), none),
    ] {
        let proof = proof(key, &token, header.clone(), claims.clone());
        assert_eq!(reason(ask(&scene, "DPoP", &token, &[&proof])), why, "{header} {claims}");
    }
    let stranger = proof(&scene.signers.es256, &token, json!({}), json!({}));
    assert_eq!(reason(ask(&scene, "DPoP", &token, &[&stranger])), "it is not bound to the key of its proof");
    for text in ["", "x", "a.b.c", &"A".repeat(5_000)] {
        assert_eq!(reason(ask(&scene, "DPoP", &token, &[text])), none);
    }
    // None of these used the good one up.
    assert!(ask(&scene, "DPoP", &token, &[&proof(key, &token, json!({}), json!({}))]).is_ok());
}

#[test]
fn the_scheme_says_whether_a_proof_is_needed() {
    let (scene, token) = bound();
    let good = proof(&scene.signers.stranger, &token, json!({}), json!({}));
    let lacks = "it is bound to a key, and no proof of that came with it";
    assert_eq!(reason(ask(&scene, "Bearer", &token, &[&good])), lacks);
    assert_eq!(reason(ask(&scene, "DPoP", &token, &[])), lacks);
    let plain = scene.token(json!({}));
    let for_plain = proof(&scene.signers.stranger, &plain, json!({}), json!({}));
    assert_eq!(reason(ask(&scene, "DPoP", &plain, &[&for_plain])), "it is not bound to the key of its proof");
    match ask(&scene, "DPoP", &token, &[&good, &good]) {
        Err(stop @ Stop::Refuse(_)) => assert_eq!(stop.denial().code, Code::BadRequest),
        other => panic!("{other:?}"),
    }
    assert!(ask(&scene, "DPoP", &token, &[&good]).is_ok());
}

#[test]
fn signers_differ() {
    let (one, other) = (Signers::new(), Signers::new());
    assert_ne!(jwk(&one.stranger), jwk(&other.stranger));
}
