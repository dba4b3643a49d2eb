//! Key sets.

use serde_json::{Value, json};

use super::super::corpus::{Signers, b64};
use super::super::{BadKey, BadSet, KeySet};

fn left_out(key: &Value) -> BadKey {
    let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([9; 32]) });
    let set = json!({ "keys": [good, key] }).to_string();
    let (_, left_out) = KeySet::parse(set.as_bytes(), 0).expect("one key is good");
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    left_out[0].1
}

#[test]
fn keys_that_must_not_be_used_are_left_out() {
    let set: Value = serde_json::from_str(&Signers::new().jwks()).expect("JSON");
    let (ec, rsa) = (set["keys"][0].clone(), set["keys"][3].clone());
    let changed = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    for (key, why) in [
        (changed(&ec, "d", json!("AAAA")), BadKey::Private),
        (changed(&ec, "use", json!("enc")), BadKey::OtherUse),
        (changed(&ec, "key_ops", json!(["sign"])), BadKey::OtherUse),
        (changed(&ec, "alg", json!("HS256")), BadKey::OtherUse),
        (changed(&ec, "alg", json!("ES384")), BadKey::OtherUse),
        (changed(&ec, "crv", json!("secp256k1")), BadKey::OtherUse),
        (changed(&ec, "kid", json!("a b")), BadKey::Malformed),
        (changed(&ec, "y", json!(b64([1; 32]))), BadKey::Malformed),
        (changed(&ec, "x", json!(b64([1; 31]))), BadKey::Malformed),
        (changed(&ec, "x", json!("====")), BadKey::Malformed),
        (changed(&rsa, "n", json!(b64([0xff; 128]))), BadKey::Size),
        (changed(&rsa, "n", json!(b64([0xff; 1024]))), BadKey::Size),
        (changed(&rsa, "e", json!(b64([2]))), BadKey::Size),
        (changed(&rsa, "e", json!(b64([1]))), BadKey::Size),
        (changed(&rsa, "e", json!(b64([0xff; 9]))), BadKey::Size),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }), BadKey::Private),
        (json!({ "crv": "P-256" }), BadKey::Malformed),
        (json!("key"), BadKey::Malformed),
    ] {
        assert_eq!(left_out(&key), why, "{key}");
    }
}

#[test]
fn texts_that_are_no_key_sets_are_refused() {
    let many = json!({ "keys": vec![json!({}); 101] }).to_string();
    for (text, why) in [
        ("", BadSet::Malformed),
        ("[]", BadSet::Malformed),
        ("{\"keys\":{}}", BadSet::Malformed),
        ("{\"keys\":[],\"keys\":[]}", BadSet::Malformed),
        ("{\"keys\":[]}", BadSet::Empty),
        (many.as_str(), BadSet::Many),
        (&" ".repeat(512 * 1024 + 1), BadSet::Large),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes(), 0).err(), Some(why));
    }
}
