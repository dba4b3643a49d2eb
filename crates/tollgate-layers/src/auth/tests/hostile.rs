//! What an attacker sends in place of a key: refused alike, after the same work, and after a while not even looked at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Denial, Ruling, Stop};
use tollgate_core::secret::Secret;
use tollgate_core::time::Tick;
use tollgate_limit::{Memory, MemoryConfig};

use super::{
    NOW, ask, at, at_once, auth_of, compile, forged, head, id_of, issue, peer, pepper, peppers, random, refused,
    request, typo, unknown, with_key,
};
use crate::auth::key::seals_made;
use crate::auth::{
    Asking, Auth, AuthConfig, KeyFile, KeyRing, NewKey, PepperValue, Presented, Refusals, Timestamp, Tokens, compose,
};
use crate::hygiene::Head;
use crate::routes::AuthNeed;

/// A key with another checksum than its own, so that only the shape is judged.
fn with_checksum(text: &str) -> String {
    let mut left = crc32fast::hash(text.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        let digit = u8::try_from(left % 62).expect("below 62");
        digits.push(match digit {
            0..=9 => b'0' + digit,
            10..=35 => b'A' + digit - 10,
            _ => b'a' + digit - 36,
        });
        left /= 62;
    }
    digits.reverse();
    format!("{text}{}", String::from_utf8(digits).expect("ASCII"))
}

/// Forty texts and more that are no good key, each with what it tries.
fn corpus(good: &str) -> Vec<(&'static str, String)> {
    let id = id_of(good);
    let body = &good[..good.len() - 6];
    let (front, secret) = body.rsplit_once('_').expect("a secret");
    let swap = |a: usize, b: usize| {
        let mut bytes = good.as_bytes().to_vec();
        bytes.swap(a, b);
        String::from_utf8(bytes).expect("ASCII")
    };
    let cut = |length: usize| good[..length].to_owned();
    vec![
        ("nothing", String::new()),
        ("one character", "x".into()),
        ("the prefix alone", "tgk_".into()),
        ("separators alone", "tgk____".into()),
        ("no secret", format!("tgk_test_{id}_")),
        ("no id", format!("tgk_test__{secret}000000")),
        ("no label", with_checksum(&format!("tgk__{id}_{secret}"))),
        ("a label too long", with_checksum(&format!("tgk_ninechars_{id}_{secret}"))),
        ("a label in capitals", with_checksum(&format!("tgk_TEST_{id}_{secret}"))),
        (
            "another label",
            with_checksum(&format!(
                "tgk_prod_{id}_{}",
                forged(good).rsplit('_').next().expect("a secret").get(..43).expect("43")
            )),
        ),
        ("another prefix", with_checksum(&format!("tgx_test_{id}_{secret}"))),
        ("the prefix in capitals", with_checksum(&format!("TGK_test_{id}_{secret}"))),
        ("the prefix twice", format!("tgk_{good}")),
        ("an id one short", with_checksum(&format!("tgk_test_{}_{secret}", &id[1..]))),
        ("an id one long", with_checksum(&format!("tgk_test_{id}0_{secret}"))),
        ("a secret one short", with_checksum(&body[..body.len() - 1])),
        ("a secret one long", with_checksum(&format!("{body}0"))),
        ("an empty secret", with_checksum(&format!("{front}_"))),
        ("no checksum", body.into()),
        ("a checksum of zeros", format!("{body}000000")),
        ("a checksum one short", cut(good.len() - 1)),
        ("a checksum one long", format!("{good}0")),
        ("half a key", cut(good.len() / 2)),
        ("the last character changed", typo(good)),
        ("two characters exchanged", swap(good.len() - 8, good.len() - 9)),
        ("another secret", forged(good)),
        ("an id that nobody has", unknown()),
        ("the key twice", format!("{good}{good}")),
        ("the key twice, with a comma", format!("{good},{good}")),
        ("a space for the first separator", good.replacen('_', " ", 1)),
        ("a space behind", format!("{good} ")),
        ("a space inside", format!("{front}_ {secret}000000")),
        ("a quoted key", format!("\"{good}\"")),
        ("a percent-encoded separator", good.replacen('_', "%5f", 1)),
        ("another separator", good.replace('_', "-")),
        ("all in capitals", good.to_ascii_uppercase()),
        ("all in small letters", good.to_ascii_lowercase()),
        ("a scheme inside", format!("Bearer {good}")),
        ("SQL", format!("tgk_test_{id}_' OR '1'='1")),
        ("a path", "tgk_test_../../etc/p_00000000000000000000000000000000000000000000000".into()),
        ("a wildcard for the id", with_checksum(&format!("tgk_test_**********_{secret}"))),
        ("a signed token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhY21lIn0.".into()),
        ("a key of another system", "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd".into()),
        ("a template left as it was", "${API_KEY}".into()),
        ("eight kilobytes", "t".repeat(8_192)),
        ("eight kilobytes that begin well", format!("tgk_test_{id}_{}", "0".repeat(8_192))),
        ("eight kilobytes of separators", format!("tgk{}", "_".repeat(8_192))),
        (
            "the record in place of the key",
            format!("tgk_test_{id}_{}", "5f0c5a6de2f1c6a7b7f0b3a1c9d2e4f60718293a4b5c6d7e8f90a1b2c3d4e5f6"),
        ),
    ]
}

#[test]
fn forty_hostile_keys_and_more_are_refused_alike_and_sealed_at_most_once() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let auth = auth_of(&file);
    let corpus = corpus(&good);
    assert!(corpus.len() >= 40, "{}", corpus.len());
    for (what, text) in &corpus {
        for header in [with_key(text), head("/predict", &[("authorization".into(), format!("Bearer {text}"))])] {
            let before = seals_made();
            let (denial, why) = refused(&auth, &header, NOW);
            let same = Denial { code: Code::Unauthenticated, retry_after: None, spot: None, short: None };
            assert_eq!(denial, same, "{what}: {why}");
            assert!(seals_made() - before <= 1, "{what}");
            let secret = good.rsplit('_').next().expect("a secret");
            assert!(!why.contains(&secret[..6]), "{what}: {why}");
        }
    }
    ask(&auth, &with_key(&good), at(NOW).unix_ms()).expect("the good one is good");
}

#[test]
fn every_credential_that_is_shaped_like_a_key_costs_the_same_work() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let revoked = issue(&mut file, request(), 2);
    let expired = issue(&mut file, NewKey { days: Some(1), ..request() }, 3);
    file.revoke(id_of(&revoked), at(NOW)).expect("it is there");
    let mut spare = peppers(&["v1", "v2"]);
    file.keys[2].pepper_id = "v2".into();
    for old in [None, Some("v1")] {
        if let Some(name) = old {
            // While one value of a pepper replaces another, both are tried, whoever asks.
            spare.accept_also(name, &Secret::new(vec![7; 32]));
        }
        let auth = Auth::new(Arc::new(KeyRing::new(compile(&file, spare.clone()).0)), Tokens::none());
        let later = at("2027-01-03T00:00:00Z").unix_ms();
        let work = |text: &str| {
            let before = seals_made();
            let _verdict = ask(&auth, &with_key(text), later);
            seals_made() - before
        };
        let all = [&good, &revoked, &expired, &forged(&good), &forged(&revoked), &unknown()].map(|text| work(text));
        assert!(all.iter().all(|seals| *seals == all[0] && *seals > 0), "{all:?}");
        assert_eq!(work(&typo(&good)), 0, "a typing error is found before that");
    }
}

/// An auth layer with a ledger, and a way to ask it from an address at a time.
struct Gate {
    auth: Auth,
    refusals: Arc<Refusals>,
}

impl Gate {
    fn new(section: &str, file: &KeyFile) -> Self {
        let config: AuthConfig = serde_saphyr::from_str(section).expect("it parses");
        let ledger = Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 12, seed: (3, 5) }));
        let refusals = Arc::<Refusals>::default();
        let mut check = Checker::default();
        let sentry = config.sentry(&mut check, &ledger, Arc::clone(&refusals));
        assert_eq!(check.finish().0, []);
        Self { auth: auth_of(file).behind(sentry), refusals }
    }

    fn ask(&self, head: &Head, from: &str, second: u64) -> Ruling<tollgate_core::identity::Identity> {
        let peer = peer();
        let from: IpAddr = from.parse().expect("an address");
        let began = Tick::default().after(Duration::from_hours(1)).after(Duration::from_secs(second));
        let unix_ms = at(NOW).unix_ms();
        at_once(self.auth.identify(&Asking { head, peer: &peer, from, at: began, unix_ms, need: AuthNeed::Required }))
    }

    /// The code of the answer, if it is no yes.
    fn code(&self, key: &str, from: &str, second: u64) -> Option<Code> {
        match self.ask(&with_key(key), from, second) {
            Ok(_) => None,
            Err(Stop::Refuse(refusal)) => Some(refusal.code),
            Err(Stop::Fault(fault)) => panic!("{}", fault.evidence()),
        }
    }

    fn count(&self, reason: &str) -> u64 {
        self.refusals.counts().filter(|(name, _)| *name == reason).map(|(_, count)| count).sum()
    }
}

const TIGHT: &str =
    "attempts: { per_address: { burst: 5, refill_per_sec: 1 }, per_key: { burst: 8, refill_per_sec: 1 } }";

#[test]
fn whoever_fails_too_often_waits_and_nobody_else() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let gate = Gate::new(TIGHT, &file);
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(gate.code(&unknown(), "203.0.113.9", 0));
    }
    let tried = refused.iter().filter(|code| **code == Some(Code::Unauthenticated)).count();
    assert!((5..=6).contains(&tried), "{refused:?}");
    assert_eq!(refused.last(), Some(&Some(Code::RateLimited)));
    let before = seals_made();
    assert_eq!(
        gate.code(&good, "203.0.113.9", 0),
        Some(Code::RateLimited),
        "the good key waits as well: nothing is told"
    );
    assert_eq!(seals_made(), before, "nothing is computed for who waits");
    assert_eq!(gate.code(&good, "203.0.113.10", 0), None);
    assert_eq!(gate.code(&good, "203.0.113.9", 3), None, "it is forgotten after a while");
    assert_eq!(gate.count("unknown"), u64::try_from(tried).expect("few"));
    assert_eq!(gate.count("too_many"), u64::try_from(refused.len() - tried + 1).expect("few"));
}

#[test]
fn neighbours_of_an_ipv6_address_are_one_and_what_costs_nothing_does_not_count() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let gate = Gate::new(TIGHT, &file);
    for i in 0..40 {
        assert_eq!(gate.code(&typo(&good), "2001:db8::1", 0), Some(Code::Unauthenticated), "{i}");
    }
    for i in 0..40 {
        let _counted = gate.code(&unknown(), &format!("2001:db8::{i:x}"), 0);
    }
    assert_eq!(gate.code(&good, "2001:db8::ffff", 0), Some(Code::RateLimited));
    assert_eq!(gate.code(&good, "2001:db8:0:1::1", 0), None);
}

#[test]
fn nobody_locks_the_owner_of_a_key_out() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let gate = Gate::new(TIGHT, &file);
    let mut sealed = 0;
    for host in 0..200 {
        // Three tries each from two hundred addresses, with the id of the key and a secret that is wrong.
        for _ in 0..3 {
            let before = seals_made();
            assert!(gate.code(&forged(&good), &format!("198.51.100.{host}"), 0).is_some());
            sealed += seals_made() - before;
        }
    }
    assert!(sealed <= 8 * 3 + 200, "one look for each address, once the key is under attack: {sealed}");
    assert_eq!(gate.code(&good, "192.0.2.1", 0), None, "its owner comes from elsewhere");
    assert_eq!(gate.code(&good, "198.51.100.7", 0), Some(Code::RateLimited));
}

#[test]
fn a_credential_in_plain_text_is_refused_unless_a_proxy_is_declared() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let ask = |section: &str, ip: &str, tls: bool| {
        let gate = Gate::new(section, &file);
        let mut peer = peer();
        (peer.ip, peer.tls) = (ip.parse().expect("an address"), tls);
        let head = with_key(&good);
        let unix_ms = at(NOW).unix_ms();
        let asking = Asking { head: &head, peer: &peer, from: peer.ip, at: Tick(0), unix_ms, need: AuthNeed::Required };
        (at_once(gate.auth.identify(&asking)).is_ok(), gate.count("plaintext"))
    };
    assert_eq!(ask("{}", "192.0.2.7", true), (true, 0));
    assert_eq!(ask("{}", "192.0.2.7", false), (false, 1));
    assert_eq!(ask("{}", "127.0.0.1", false), (true, 0));
    assert_eq!(ask("{}", "::1", false), (true, 0));
    assert_eq!(ask("plaintext_from: ['192.0.2.0/24']", "192.0.2.7", false), (true, 0));
    assert_eq!(ask("plaintext_from: ['192.0.2.8']", "192.0.2.7", false), (false, 1));
}

#[test]
fn mistakes_of_what_stands_before_a_credential_are_reported() {
    let yaml = "{ plaintext_from: [nowhere, '0.0.0.0/0'], attempts: { per_address: { burst: 0, refill_per_sec: 1 } } }";
    let config: AuthConfig = serde_saphyr::from_str(yaml).expect("it parses");
    let ledger = Arc::new(Memory::new(MemoryConfig { open_slots: 16, seed: (3, 5) }));
    let mut check = Checker::default();
    let _sentry = config.sentry(&mut check, &ledger, Arc::default());
    let told: Vec<_> = check.finish().0.iter().map(super::told).collect();
    assert_eq!(
        told,
        [
            "plaintext_from.0: `nowhere` is not a network",
            "plaintext_from.1: that is everybody",
            "attempts.per_address: `burst` and `refill_per_sec` are numbers from 1 to 1000000",
        ]
    );
}

#[test]
fn a_key_of_another_system_is_known_by_its_whole_text_and_only_where_that_is_configured() {
    const KEY: &str = "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd";
    let mut file = KeyFile::default();
    let value = pepper("v1");
    let with = PepperValue { id: "v1", value: &value };
    let import = NewKey { client: "legacy".into(), ..request() };
    let imported = file.import(import, &Secret::new(KEY.into()), (with, &mut random(3)), at(NOW)).expect("it is fit");
    let ring = |opaque: bool, file: &KeyFile| {
        let mut known = peppers(&["v1", "v2"]);
        known.opaque = opaque;
        let (keys, problems, _) = compile(file, known);
        (Auth::new(Arc::new(KeyRing::new(keys)), Tokens::none()), problems)
    };
    let (open, problems) = ring(true, &file);
    assert_eq!(problems, Vec::<String>::new());
    let who = ask(&open, &with_key(KEY), at(NOW).unix_ms()).expect("it is known");
    assert_eq!((&*who.principal, who.credential.as_deref()), ("acme/legacy", Some(&*imported.record.id)));
    let before = seals_made();
    let (_, why) = refused(&open, &with_key("sk_live_51HqJ8xKzQ2vN7mRfT0aBcYe"), NOW);
    let miss = seals_made() - before;
    assert_eq!(why, "no imported key is this one");
    let before = seals_made();
    ask(&open, &with_key(KEY), at(NOW).unix_ms()).expect("it is known");
    assert_eq!(seals_made() - before, miss, "a hit costs what a miss costs");
    // Its id is a name of ours: no key can be made of it.
    let id = crate::auth::KeyId::parse(&imported.record.id).expect("an id");
    let made = compose("test", id, &mut random(9)).expect("random");
    assert!(Presented::parse(made.as_bytes()).is_ok());
    let (_, why) = refused(&open, &with_key(&made), NOW);
    assert_eq!(why, format!("no key has the id `{id}`"));

    file.revoke(id.as_str(), at(NOW)).expect("it is there");
    let (_, why) = refused(&ring(true, &file).0, &with_key(KEY), NOW);
    assert_eq!(why, format!("key `{id}` is revoked"));
    assert_eq!(ring(false, &file).1, Vec::<String>::new(), "a revoked one may stay");
    file.keys[0].state = crate::auth::KeyState::Active;
    file.keys[0].revoked_at = None;
    let (closed, problems) = ring(false, &file);
    assert_eq!(problems, ["keys.0.kind: keys of other systems are not accepted"]);
    let (_, why) = refused(&closed, &with_key(KEY), NOW);
    assert_eq!(why, "the credential is not shaped like a key");
}

#[test]
fn keys_that_nobody_vouches_for_any_more_are_a_fault_and_no_refusal() {
    let mut file = KeyFile::default();
    let good = issue(&mut file, request(), 1);
    let auth = auth_of(&file);
    auth.ring().good_until(at("2027-01-02T00:00:00Z").unix_ms());
    let ask = |time: &str| ask(&auth, &with_key(&good), Timestamp::parse(time).expect("a time").unix_ms());
    ask("2027-01-01T23:59:59Z").expect("they are good yet");
    let stop = ask("2027-01-02T00:00:00Z").expect_err("they are too old");
    assert!(matches!(&stop, Stop::Fault(_)), "{stop:?}");
    auth.ring().good_until(u64::MAX);
    ask("2027-01-03T00:00:00Z").expect("they are good again");
}
