//! Tokens to be refused, and a few to be accepted: made anew for each run, because they carry the time.
//!
//! Used by the tests of this layer and, by path, by those of the running gateway: it names nothing of ours.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// What tokens say in `iss`, and must say in `aud`.
pub(crate) const ISSUER: &str = "https://id.test/";
pub(crate) const AUDIENCE: &str = "https://api.test";

/// The keys of the issuer, and one that is not.
pub(crate) struct Signers {
    pub(crate) es256: EcdsaKeyPair,
    pub(crate) es384: EcdsaKeyPair,
    pub(crate) ed: Ed25519KeyPair,
    pub(crate) rsa: RsaKeyPair,
    pub(crate) stranger: EcdsaKeyPair,
}

/// A token that must be refused, and the reason that stands in the record.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) token: String,
    pub(crate) because: &'static str,
}

impl Signers {
    pub(crate) fn new() -> Self {
        let p256 = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self {
            es256: p256(),
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ed: Ed25519KeyPair::generate().expect("a key"),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            stranger: p256(),
        }
    }

    /// The key set that the issuer publishes.
    pub(crate) fn jwks(&self) -> String {
        json!({ "keys": [
            elliptic(&self.es256, "P-256", "es256"),
            elliptic(&self.es384, "P-384", "es384"),
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed.public_key()), "use": "sig" },
            { "kty": "RSA", "kid": "rsa", "n": b64(self.modulus()), "e": "AQAB", "use": "sig" },
            { "kty": "oct", "kid": "sealed", "use": "enc" },
        ] })
        .to_string()
    }

    /// The signature that `alg` asks for.
    pub(crate) fn sign(&self, alg: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding| {
            let mut signature = vec![0; 256];
            self.rsa.sign(encoding, &random, signed, &mut signature).expect("it signs");
            signature
        };
        match alg {
            "ES256" => self.es256.sign(&random, signed).expect("it signs").as_ref().to_vec(),
            "ES384" => self.es384.sign(&random, signed).expect("it signs").as_ref().to_vec(),
            "EdDSA" | "Ed25519" => self.ed.sign(signed).as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            _ => Vec::new(),
        }
    }

    /// A token of this header and these claims, signed as its header says.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(header["alg"].as_str().unwrap_or_default(), &header.to_string(), &claims.to_string())
    }

    /// A token of these texts.
    pub(crate) fn raw(&self, alg: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(alg, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    fn modulus(&self) -> Vec<u8> {
        // A DER sequence of two integers: four bytes of head, four of the modulus' head, a zero, 256 bytes.
        let der = self.rsa.public_key().as_ref().to_vec();
        der[9..9 + 256].to_vec()
    }

    fn rsa_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_der().expect("it has a form").as_ref().to_vec()
    }
}

fn elliptic(key: &EcdsaKeyPair, curve: &str, id: &str) -> Value {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "kid": id, "x": b64(x), "y": b64(y), "use": "sig" })
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The header of a good token.
pub(crate) fn header(alg: &str, kid: &str) -> Value {
    json!({ "alg": alg, "typ": "at+jwt", "kid": kid })
}

/// The claims of a good token.
pub(crate) fn claims(now: u64) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app", "jti": "1",
        "iat": now, "nbf": now, "exp": now + 300, "scope": "infer list",
    })
}

/// `base` with some members replaced; `null` removes one.
pub(crate) fn with(base: &Value, changes: Value) -> Value {
    let mut base: Map<String, Value> = base.as_object().cloned().unwrap_or_default();
    if let Value::Object(changes) = changes {
        for (name, value) in changes {
            if value.is_null() {
                base.remove(&name)
            } else {
                base.insert(name, value)
            };
        }
    }
    Value::Object(base)
}

/// Tokens that must be accepted.
pub(crate) fn good(signers: &Signers, now: u64) -> Vec<(&'static str, String)> {
    let (base, es256) = (claims(now), header("ES256", "es256"));
    vec![
        ("es256", signers.token(&es256, &base)),
        ("es384", signers.token(&header("ES384", "es384"), &base)),
        ("eddsa", signers.token(&header("EdDSA", "ed"), &base)),
        ("ed25519", signers.token(&header("Ed25519", "ed"), &base)),
        ("rs256", signers.token(&header("RS256", "rsa"), &base)),
        ("ps256", signers.token(&header("PS256", "rsa"), &base)),
        ("its type as a media type", signers.token(&with(&es256, json!({ "typ": "application/AT+jwt" })), &base)),
        ("no kid, and one key that fits", signers.token(&with(&es256, json!({ "kid": null })), &base)),
        ("several audiences", signers.token(&es256, &with(&base, json!({ "aud": ["https://other.test", AUDIENCE] })))),
        ("no nbf", signers.token(&es256, &with(&base, json!({ "nbf": null })))),
        ("expired within the leeway", signers.token(&es256, &with(&base, json!({ "exp": now - 5 })))),
        (
            "a clock that is ahead a little",
            signers.token(&es256, &with(&base, json!({ "iat": now + 30, "nbf": now + 20 }))),
        ),
        ("a client and no subject", signers.token(&es256, &with(&base, json!({ "sub": null })))),
        (
            "addresses of keys, which nobody follows",
            signers.token(&with(&es256, json!({ "jku": "https://evil.test/" })), &base),
        ),
    ]
}

/// Tokens that must be refused.
pub(crate) fn bad(signers: &Signers, now: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    algorithms(signers, now, &mut cases);
    headers(signers, now, &mut cases);
    forms(signers, now, &mut cases);
    signatures(signers, now, &mut cases);
    claims_of(signers, now, &mut cases);
    duplicates(signers, now, &mut cases);
    cases
}

const ALGORITHM: &str = "its algorithm is not allowed";
const BASE64: &str = "a segment is not strict base64url";
const JSON: &str = "its header or its claims are not strict JSON";
const KEY: &str = "its issuer has no such key";
const KEY_ID: &str = "its `kid` is no name of a key";
const SEGMENTS: &str = "it is not made of three segments";
const SIGNATURE: &str = "its signature is wrong";
const TYPE: &str = "its type is not that of an access token";

fn algorithms(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let base = claims(now);
    let mut add = |name, token, because| cases.push(Case { name, token, because });
    for (name, alg) in [
        ("alg none", "none"),
        ("alg None", "None"),
        ("alg NONE", "NONE"),
        ("alg nOnE", "nOnE"),
        ("alg empty", ""),
        ("alg in lower case", "es256"),
        ("alg HS256", "HS256"),
        ("alg HS384", "HS384"),
        ("alg HS512", "HS512"),
        ("alg ES256K", "ES256K"),
        ("alg ES512", "ES512"),
        ("alg RS1", "RS1"),
        ("alg RSA-OAEP", "RSA-OAEP"),
        ("alg dir", "dir"),
    ] {
        add(name, signers.token(&header(alg, "es256"), &base), ALGORITHM);
    }
    for (name, alg) in [("alg a number", json!(1)), ("alg a list", json!(["ES256"])), ("no alg", Value::Null)] {
        let header = with(&header("ES256", "es256"), json!({ "alg": alg }));
        add(name, signers.raw("ES256", &header.to_string(), &base.to_string()), ALGORITHM);
    }
    // The classic confusion: the public key, which everybody has, as a shared secret.
    for (name, secret) in [
        ("HS256 with the DER of the RSA key", signers.rsa_der()),
        ("HS256 with the modulus of the RSA key", signers.modulus()),
        ("HS256 with the PEM of the RSA key", pem(&signers.rsa_der())),
        ("HS256 with the point of the P-256 key", signers.es256.public_key().as_ref().to_vec()),
        ("HS256 with nothing", Vec::new()),
    ] {
        let signed = format!("{}.{}", b64(header("HS256", "rsa").to_string()), b64(base.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        add(name, format!("{signed}.{}", b64(tag)), ALGORITHM);
    }
    let mixed = |alg, kid| signers.token(&header(alg, kid), &base);
    add("ES256 with the name of an RSA key", mixed("ES256", "rsa"), KEY);
    add("ES256 with the name of a P-384 key", mixed("ES256", "es384"), KEY);
    add("ES384 with the name of a P-256 key", mixed("ES384", "es256"), KEY);
    add("RS256 with the name of a P-256 key", mixed("RS256", "es256"), KEY);
    add("EdDSA with the name of a P-256 key", mixed("EdDSA", "es256"), KEY);
    add("ES256 with the name of a key to seal with", mixed("ES256", "sealed"), KEY);
    let says = |says: &str, kid, signs| signers.raw(signs, &header(says, kid).to_string(), &base.to_string());
    add("says ES256 and is ES384", says("ES256", "es256", "ES384"), SIGNATURE);
    add("says PS256 and is RS256", says("PS256", "rsa", "RS256"), SIGNATURE);
    add("says RS256 and is PS256", says("RS256", "rsa", "PS256"), SIGNATURE);
}

fn headers(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let (base, es256) = (claims(now), header("ES256", "es256"));
    let mut add = |name, changes: Value, because| {
        let token = signers.raw("ES256", &with(&es256, changes).to_string(), &base.to_string());
        cases.push(Case { name, token, because });
    };
    for (name, kid, because) in [
        ("kid that climbs", json!("../../../dev/null"), KEY),
        ("kid that is a statement", json!("' OR 1=1 --"), KEY_ID),
        ("kid that is a command", json!("|cat /etc/passwd"), KEY_ID),
        ("kid that is an address", json!("https://evil.test/key"), KEY_ID),
        ("kid with a NUL", json!("es256\u{0}"), KEY_ID),
        ("kid with a line break", json!("es256\r\nx: y"), KEY_ID),
        ("kid that is empty", json!(""), KEY_ID),
        ("kid that is too long", json!("k".repeat(129)), KEY_ID),
        ("kid that is a number", json!(1), KEY_ID),
        ("kid that is a list", json!(["es256"]), KEY_ID),
        ("kid of nobody", json!("nobody"), KEY),
        ("kid in another case", json!("ES256"), KEY),
    ] {
        add(name, json!({ "kid": kid }), because);
    }
    let critical = "its header names extensions that are critical";
    add("crit that is unknown", json!({ "crit": ["exp"], "exp": 1 }), critical);
    add("crit that is empty", json!({ "crit": [] }), critical);
    add("b64 false", json!({ "b64": false, "crit": ["b64"] }), critical);
    add("b64 without crit", json!({ "b64": false }), critical);
    let sealed = "it is encrypted or nested";
    add("cty JWT", json!({ "cty": "JWT" }), sealed);
    add("enc in a signed token", json!({ "enc": "A256GCM" }), sealed);
    add("zip", json!({ "zip": "DEF" }), sealed);
    add("no type", json!({ "typ": null }), TYPE);
    add("the type of an ID token", json!({ "typ": "JWT" }), TYPE);
    add("the type of a logout token", json!({ "typ": "logout+jwt" }), TYPE);
    add("the type of a proof", json!({ "typ": "dpop+jwt" }), TYPE);
    add("the type a list", json!({ "typ": ["at+jwt"] }), JSON);
}

fn forms(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let good = signers.token(&header("ES256", "es256"), &claims(now));
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, tail] = parts[..] else { panic!("three segments") };
    let mut add = |name, token: String, because| cases.push(Case { name, token, because });
    add("one segment and a dot", format!("{head}."), SEGMENTS);
    add("two segments", format!("{head}.{body}"), SEGMENTS);
    add("four segments", format!("{good}.{tail}"), SEGMENTS);
    add("six segments", format!("{good}.{tail}.{tail}.{tail}"), SEGMENTS);
    add("five segments", format!("{head}.{body}.{tail}.{tail}.{tail}"), "it is encrypted or nested");
    add("a space at the end", format!("{good} "), BASE64);
    add("a space in a segment", format!("{head}.{}", good[head.len() + 1..].replacen('e', "e ", 1)), BASE64);
    add("padding", format!("{}.{body}.{tail}", URL_SAFE.encode(header("ES256", "es25").to_string())), BASE64);
    add("padding of the signature", format!("{good}=="), BASE64);
    add(
        "the other alphabet",
        format!("{head}.{}.{tail}", STANDARD.encode([b"{\"a\":\"".as_ref(), &[0xff; 9], b"\"}"].concat())),
        BASE64,
    );
    add("percent signs", format!("{head}.{body}.{tail}%3D"), BASE64);
    add("loose bits", format!("{head}.{body}.{}", loose(tail)), BASE64);
    add("no signature", format!("{head}.{body}."), SIGNATURE);
    add("a signature cut short", format!("{head}.{body}.{}", &tail[..84]), SIGNATURE);
    add("a signature too long", format!("{head}.{body}.{tail}AA"), SIGNATURE);
    add("the claims cut short", format!("{head}.{}.{tail}", &body[..body.len() / 4 * 4 - 8]), JSON);
    add("longer than 8 KiB", format!("{good}{}", "A".repeat(8193 - good.len())), "it is longer than 8 KiB");
    add("no claims", format!("{head}..{tail}"), JSON);
    add("claims that are a list", signers.raw("ES256", &header("ES256", "es256").to_string(), "[]"), JSON);
    add(
        "claims that are a token",
        signers.raw("ES256", &header("ES256", "es256").to_string(), &format!("\"{}\"", &good[..100])),
        JSON,
    );
    add("a header with a mark before it", format!("{}.{body}.{tail}", b64("{ \u{feff}\"alg\":\"ES256\"}")), JSON);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000));
    add("claims 2,000 deep", signers.raw("ES256", &header("ES256", "es256").to_string(), &deep), JSON);
    add(
        "claims that are no UTF-8",
        format!("{head}.{}.{tail}", b64([b"{\"a\":\"".as_ref(), &[0xff], b"\"}"].concat())),
        JSON,
    );
}

fn signatures(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let signed = format!("{}.{}", b64(header("ES256", "es256").to_string()), b64(claims(now).to_string()));
    let random = SystemRandom::new();
    let mut add = |name, signature: &[u8]| {
        cases.push(Case { name, token: format!("{signed}.{}", b64(signature)), because: SIGNATURE });
    };
    // CVE-2022-21449: zeros were once a signature of everything.
    add("the psychic signature", &[0; 64]);
    add("r of zero", &[[0; 32], [1; 32]].concat());
    add("s of zero", &[[1; 32], [0; 32]].concat());
    add("all ones", &[0xff; 64]);
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    add("r and s of the order", &[order, order].concat());
    let stranger = signers.stranger.sign(&random, signed.as_bytes()).expect("it signs");
    add("a stranger's signature", stranger.as_ref());
    let other = signers.sign("ES256", b"something else");
    add("a signature of something else", &other);
    let mut flipped = signers.sign("ES256", signed.as_bytes());
    flipped[63] ^= 1;
    add("one bit of the signature flipped", &flipped);
    let mut der = vec![0x30, 0x44, 2, 0x20];
    der.extend(&flipped[..32]);
    der.extend([2, 0x20]);
    der.extend(&flipped[32..]);
    add("a signature in DER", &der);
    // Keys that a token brings along are nobody's.
    let key = elliptic(&signers.stranger, "P-256", "es256");
    for (name, member, value) in [
        ("a key of its own", "jwk", key),
        ("a certificate of its own", "x5c", json!(["MIIB"])),
        ("the address of a key set", "jku", json!("https://evil.test/jwks")),
        ("the address of a certificate", "x5u", json!("https://evil.test/cert")),
    ] {
        let mut header = header("ES256", "es256");
        header[member] = value;
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims(now).to_string()));
        let signature = signers.stranger.sign(&random, signed.as_bytes()).expect("it signs");
        cases.push(Case { name, token: format!("{signed}.{}", b64(signature)), because: SIGNATURE });
    }
}

fn claims_of(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let (base, es256) = (claims(now), header("ES256", "es256"));
    let mut add = |name, changes: Value, because| {
        cases.push(Case { name, token: signers.token(&es256, &with(&base, changes)), because });
    };
    let (expired, future) = ("it has expired", "it is from the future");
    let (exp, life) = ("the claim `exp` is not what it must be", "it lives longer than 24 hours");
    add("no exp", json!({ "exp": null }), "the claim `exp` is missing");
    add("exp a string", json!({ "exp": (now + 300).to_string() }), exp);
    add("exp a float", json!({ "exp": now as f64 + 300.5 }), exp);
    add("exp negative", json!({ "exp": -1 }), exp);
    add("exp huge", json!({ "exp": u64::MAX }), exp);
    add("exp a list", json!({ "exp": [now + 300] }), exp);
    add("exp true", json!({ "exp": true }), exp);
    add("exp zero", json!({ "exp": 0 }), expired);
    add("exp just over", json!({ "exp": now - 31 }), expired);
    add("exp in milliseconds", json!({ "exp": (now + 300) * 1000 }), life);
    add("exp in a year", json!({ "exp": now + 31_536_000 }), life);
    add("exp in a year and no iat", json!({ "exp": now + 31_536_000, "iat": null }), life);
    add("issued long ago", json!({ "iat": now - 90_000 }), life);
    add("nbf a string", json!({ "nbf": now.to_string() }), "the claim `nbf` is not what it must be");
    add("nbf ahead", json!({ "nbf": now + 120 }), future);
    add("iat ahead", json!({ "iat": now + 90 }), future);
    add("iat a string", json!({ "iat": now.to_string() }), "the claim `iat` is not what it must be");
    let audience = "it is for another audience";
    add("another aud", json!({ "aud": "https://other.test" }), audience);
    add("aud with a slash more", json!({ "aud": format!("{AUDIENCE}/") }), audience);
    add("aud that only begins like ours", json!({ "aud": format!("{AUDIENCE}.evil.test") }), audience);
    add("no aud", json!({ "aud": null }), "the claim `aud` is missing");
    add("aud an empty list", json!({ "aud": [] }), "the claim `aud` is missing");
    add("aud a number", json!({ "aud": 1 }), "the claim `aud` is not what it must be");
    add("aud an object", json!({ "aud": { AUDIENCE: true } }), "the claim `aud` is not what it must be");
    add("aud of 33", json!({ "aud": vec![AUDIENCE; 33] }), "the claim `aud` is not what it must be");
    let issuer = "its issuer is not one of `auth.issuers`";
    add("another iss", json!({ "iss": "https://evil.test/" }), issuer);
    add("iss without its slash", json!({ "iss": "https://id.test" }), issuer);
    add("iss in another case", json!({ "iss": "https://ID.test/" }), issuer);
    add("no iss", json!({ "iss": null }), "the claim `iss` is missing");
    add("iss a list", json!({ "iss": [ISSUER] }), "the claim `iss` is not what it must be");
    add("nobody", json!({ "sub": null, "client_id": null }), "the claim `sub` is missing");
    add("sub a number", json!({ "sub": 1 }), "the claim `sub` is not what it must be");
    add("sub empty", json!({ "sub": "" }), "the claim `sub` is not what it must be");
    add("sub too long", json!({ "sub": "s".repeat(257) }), "the claim `sub` is not what it must be");
    add("sub with a line break", json!({ "sub": "alice\nroot" }), "the claim `sub` is not what it must be");
    add("scope a number", json!({ "scope": 1 }), "the claim `scope` is not what it must be");
    let cnf = "the claim `cnf` is not what it must be";
    add("cnf empty", json!({ "cnf": {} }), cnf);
    add("cnf that is not understood", json!({ "cnf": { "kid": "x" } }), cnf);
    add("cnf a string", json!({ "cnf": "x" }), cnf);
    add("cnf of a short print", json!({ "cnf": { "jkt": "AAAA" } }), cnf);
    add(
        "bound to a key",
        json!({ "cnf": { "jkt": b64([7; 32]) } }),
        "it is bound to a key, and no proof of that came with it",
    );
    add("bound to a certificate", json!({ "cnf": { "x5t#S256": b64([7; 32]) } }), "it is bound to another certificate");
}

/// The same member twice: a reader that takes the first and one that takes the last see two tokens.
fn duplicates(signers: &Signers, now: u64, cases: &mut Vec<Case>) {
    let (base, es256) = (claims(now).to_string(), header("ES256", "es256").to_string());
    let twice = |text: &str, more: &str| format!("{},{more}}}", text.trim_end_matches('}'));
    let mut add = |name, token, because| cases.push(Case { name, token, because });
    for (name, more) in [
        ("sub twice", r#""sub":"root""#),
        ("aud twice", r#""aud":"https://other.test""#),
        ("exp twice", r#""exp":99999999999"#),
        ("sub twice, once escaped", r#""\u0073ub":"root""#),
    ] {
        add(name, signers.raw("ES256", &es256, &twice(&base, more)), JSON);
    }
    add("alg twice", signers.raw("ES256", &twice(&es256, r#""alg":"none""#), &base), JSON);
    add("kid twice", signers.raw("ES256", &twice(&es256, r#""kid":"rsa""#), &base), JSON);
    add("text after the claims", signers.raw("ES256", &es256, &format!("{base} {{}}")), JSON);
    add("a comma too many", signers.raw("ES256", &es256, &base.replace('}', ",}")), JSON);
    add("NaN", signers.raw("ES256", &es256, &twice(&base, r#""x":NaN"#)), JSON);
    add("a lone surrogate", signers.raw("ES256", &es256, &twice(&base, r#""x":"\ud800""#)), JSON);
}

/// A PEM form of a key, as libraries once took it for a secret.
fn pem(der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)).into_bytes()
}

/// The same bytes with a bit set that no byte uses.
fn loose(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (kept, last) = text.split_at(text.len() - 1);
    let place = ALPHABET.iter().position(|byte| last.as_bytes() == [*byte]).expect("a letter of base64url");
    format!("{kept}{}", char::from(ALPHABET[place ^ 1]))
}
