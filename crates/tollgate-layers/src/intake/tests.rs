//! Heads are judged before a body is read; bodies are decoded under caps that hold while decoding.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Stop};

use super::{BLOCK, Coding, DecodeError, Intake, IntakeConfig, Limits, RATIO_FLOOR, decode};
use crate::hygiene::Head;
use crate::routes::{RouteConfig, RouteNames, Routes, compile};

const ROOMY: Limits = Limits { max_decoded: 64 << 20, max_ratio: 10_000 };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    route: CaseRoute,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRoute {
    intake: String,
    max_body_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    headers: BTreeMap<String, Vec<String>>,
    coding: Option<String>,
    declared: Option<u64>,
    refuse: Option<String>,
}

fn head(fields: &BTreeMap<String, Vec<String>>) -> Head {
    let mut headers = HeaderMap::new();
    for (name, values) in fields {
        for value in values {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
    }
    let uri = "/predict".parse().expect("a target");
    Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host: "gate.test".into() }
}

fn routes(intake: &str, max_body_bytes: u64) -> Routes {
    let yaml = format!(
        "[{{ name: r, path: /predict, protocol: none, upstream: u, intake: {intake}, max_body_bytes: {max_body_bytes} }}]"
    );
    let config: Vec<RouteConfig> = serde_saphyr::from_str(&yaml).expect("it parses");
    let upstreams = BTreeMap::from([("u".to_owned(), 0)]);
    let names = RouteNames { models: &BTreeMap::new(), upstreams: &upstreams, classes: &BTreeSet::new() };
    let mut check = Checker::default();
    let routes = compile(&config, &mut check, &names);
    assert!(check.is_clean());
    routes
}

fn intake() -> Intake {
    IntakeConfig::default().compile(&mut Checker::default())
}

fn run(yaml: &str) {
    let case: Case = serde_saphyr::from_str(yaml).expect("a case");
    let routes = routes(&case.route.intake, case.route.max_body_bytes);
    for (i, step) in case.steps.iter().enumerate() {
        let ruling = intake().plan(&head(&step.headers), &routes.all()[0]);
        let place = format!("{}: step {i}", case.what);
        match (ruling, &step.refuse) {
            (Ok(plan), None) => {
                assert_eq!(Some(plan.coding.name()), step.coding.as_deref(), "{place}");
                assert_eq!(plan.declared, step.declared, "{place}");
                assert_eq!((plan.max_bytes, plan.max_decoded), (1000, 1000), "{place}");
                assert_eq!(plan.max_ratio, 20, "{place}");
            }
            (Err(Stop::Refuse(refusal)), Some(code)) => assert_eq!(refusal.code.name(), code, "{place}"),
            (ruling, refuse) => panic!("{place}: {ruling:?} instead of {refuse:?}"),
        }
    }
}

#[test]
fn heads_are_judged_as_the_cases_say() {
    run(include_str!("cases/heads.yaml"));
    run(include_str!("cases/streamed.yaml"));
}

#[test]
fn every_block_of_the_users_page_loads() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        routes: Vec<RouteConfig>,
        intake: IntakeConfig,
    }
    let blocks: Vec<_> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 1);
    for block in blocks {
        let yaml = block.split("```").next().expect("an end");
        let page: Page = serde_saphyr::from_str(yaml).expect("it loads");
        assert_eq!((page.routes.len(), page.intake.max_ratio), (2, 20));
    }
}

#[test]
fn a_ratio_out_of_range_is_reported_where_it_stands() {
    for (ratio, problems, warnings) in [(0, 1, 0), (1, 0, 0), (200, 0, 0), (201, 0, 1), (10_001, 1, 1)] {
        let mut check = Checker::default();
        check.within("intake", |check| IntakeConfig { max_ratio: ratio }.compile(check));
        let (found, warned) = check.finish();
        assert_eq!((found.len(), warned.len()), (problems, warnings), "{ratio}");
        for problem in found {
            assert_eq!(problem.path.iter().map(ToString::to_string).collect::<Vec<_>>(), ["intake", "max_ratio"]);
        }
    }
}

fn code(coding: Coding, plain: &[u8]) -> Bytes {
    let mut coded = Vec::new();
    match coding {
        Coding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(&mut coded, 4096, 5, 22);
            encoder.write_all(plain).expect("memory");
            encoder.flush().expect("memory");
            drop(encoder);
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(&mut coded, Compression::best());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory");
        }
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(&mut coded, Compression::best());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory");
        }
        Coding::Identity => coded.extend_from_slice(plain),
    }
    coded.into()
}

const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Deflate, Coding::Gzip];

fn plainly(coding: Coding, input: &Bytes, limits: Limits) -> Result<Bytes, DecodeError> {
    decode(coding, input, limits, &mut |_| true).map(|decoded| decoded.body)
}

/// Text that compresses a little, as bodies do.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{}.{:03}, ", state >> 62, (state >> 40) % 1000).into_bytes()
    });
    words.flatten().take(bytes).collect()
}

#[test]
fn each_coding_gives_the_body_back() {
    for coding in CODINGS {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 300_000] {
            let plain = text(size);
            assert_eq!(plainly(coding, &code(coding, &plain), ROOMY), Ok(plain.into()), "{coding:?} {size}");
        }
    }
}

#[test]
fn an_identity_body_is_passed_on_without_a_copy_or_a_charge() {
    let body = Bytes::from_static(b"{}");
    let decoded = decode(Coding::Identity, &body, ROOMY, &mut |_| panic!("charged")).expect("it fits");
    assert_eq!((decoded.body.as_ptr(), decoded.held), (body.as_ptr(), 0));
    let tight = Limits { max_decoded: 1, ..ROOMY };
    assert_eq!(plainly(Coding::Identity, &body, tight), Err(DecodeError::TooLarge));
}

#[test]
fn the_cap_is_exact_to_the_byte() {
    for coding in CODINGS {
        for size in [1, 1000, BLOCK, 3 * BLOCK, 100_000] {
            let input = code(coding, &text(size));
            let cap = u64::try_from(size).expect("small");
            let at = |max_decoded| plainly(coding, &input, Limits { max_decoded, ..ROOMY }).map(|body| body.len());
            assert_eq!(at(cap), Ok(size), "{coding:?}");
            assert_eq!(at(cap - 1), Err(DecodeError::TooLarge), "{coding:?}");
        }
        assert_eq!(plainly(coding, &code(coding, b""), Limits { max_decoded: 0, ..ROOMY }), Ok(Bytes::new()));
    }
}

#[test]
fn a_cut_stream_is_refused_wherever_it_is_cut() {
    for coding in CODINGS {
        let whole = code(coding, &text(2000));
        for end in 0..whole.len() {
            let ruling = plainly(coding, &whole.slice(..end), ROOMY);
            assert!(matches!(ruling, Err(DecodeError::Corrupt(_))), "{coding:?} cut at {end}: {ruling:?}");
        }
    }
}

#[test]
fn nothing_may_follow_the_stream() {
    for coding in CODINGS {
        for behind in [&b"\0"[..], b"x", b"{\"inputs\":[]}", &code(coding, b"second")] {
            let input = [&code(coding, b"first"), behind].concat().into();
            let ruling = plainly(coding, &input, ROOMY);
            assert_eq!(ruling, Err(DecodeError::Corrupt("something follows the coded stream")), "{coding:?}");
        }
    }
}

#[test]
fn a_bomb_is_given_up_early() {
    let mebibyte = vec![0; 1 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..200 {
        encoder.write_all(&mebibyte).expect("memory");
    }
    let bomb = encoder.finish().expect("memory");
    assert!((190_000..220_000).contains(&bomb.len()), "{}", bomb.len());
    let mut taken = 0;
    let limits = Limits { max_decoded: 1 << 30, max_ratio: 20 };
    let ruling = decode(Coding::Gzip, &bomb.into(), limits, &mut |bytes| {
        taken += bytes;
        true
    });
    assert_eq!(ruling, Err(DecodeError::TooSteep));
    assert!(taken <= 2 * usize::try_from(RATIO_FLOOR).expect("small"), "{taken} bytes were taken");
}

#[test]
fn every_coding_is_held_to_the_ratio_beyond_the_floor() {
    for coding in CODINGS {
        let limits = Limits { max_decoded: 1 << 30, max_ratio: 20 };
        assert_eq!(plainly(coding, &code(coding, &vec![7; 4 << 20]), limits), Err(DecodeError::TooSteep));
        let small = vec![7; usize::try_from(RATIO_FLOOR).expect("small")];
        assert_eq!(plainly(coding, &code(coding, &small), limits), Ok(small.into()), "{coding:?}");
        let plain = text(1 << 20);
        assert_eq!(plainly(coding, &code(coding, &plain), limits), Ok(plain.into()), "{coding:?}");
    }
}

#[test]
fn each_piece_of_memory_is_asked_for_first() {
    for coding in CODINGS {
        let input = code(coding, &text(500_000));
        let mut asked = Vec::new();
        let decoded = decode(coding, &input, ROOMY, &mut |bytes| {
            asked.push(bytes);
            true
        });
        let decoded = decoded.expect("it decodes");
        let total: usize = asked.iter().sum();
        assert!(decoded.held >= decoded.body.len() && decoded.held <= total, "{coding:?}");
        assert!(decoded.held <= 2 * decoded.body.len() + BLOCK, "{coding:?}");
        for allowed in 0..asked.len() {
            let mut left = allowed;
            let ruling = decode(coding, &input, ROOMY, &mut |_| {
                let more = left > 0;
                left = left.saturating_sub(1);
                more
            });
            assert_eq!(ruling, Err(DecodeError::NoRoom), "{coding:?} after {allowed}");
        }
    }
}

#[test]
fn a_gzip_header_may_have_every_optional_field_and_no_broken_one() {
    let member = code(Coding::Gzip, b"body");
    let mut header = vec![0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 255];
    header.extend_from_slice(b"\x03\x00abcname\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let sum = crc.sum().to_le_bytes();
    let with = |header: &[u8], sum: &[u8]| Bytes::from([header, sum, &member[10..]].concat());
    assert_eq!(plainly(Coding::Gzip, &with(&header, &sum[..2]), ROOMY), Ok(Bytes::from_static(b"body")));
    let broken = Err(DecodeError::Corrupt("the gzip header is broken"));
    assert_eq!(plainly(Coding::Gzip, &with(&header, &[sum[0], !sum[1]]), ROOMY), broken);
    for (at, value) in [(0, 0), (1, 0), (2, 7), (3, 0b10_0000), (3, 0b1000_0000)] {
        let mut bent = member.to_vec();
        bent[at] = value;
        assert_eq!(plainly(Coding::Gzip, &bent.into(), ROOMY), broken, "byte {at}");
    }
    let endless = Bytes::from_static(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xffxx");
    assert_eq!(plainly(Coding::Gzip, &endless, ROOMY), broken);
}

#[test]
fn checksums_and_lengths_are_verified() {
    for coding in [Coding::Deflate, Coding::Gzip] {
        let whole = code(coding, &text(5000));
        for back in 1..=(if coding == Coding::Gzip { 8 } else { 4 }) {
            let mut bent = whole.to_vec();
            let at = bent.len() - back;
            bent[at] ^= 1;
            let ruling = plainly(coding, &bent.into(), ROOMY);
            assert!(matches!(ruling, Err(DecodeError::Corrupt(_))), "{coding:?} byte {back} from the end: {ruling:?}");
        }
    }
}

#[test]
fn deflate_is_zlib_and_never_bare() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&text(1000)).expect("memory");
    let bare = Bytes::from(encoder.finish().expect("memory"));
    assert!(matches!(plainly(Coding::Deflate, &bare, ROOMY), Err(DecodeError::Corrupt(_))));
}

#[test]
fn a_stream_of_empty_blocks_is_given_up_early() {
    // Empty stored blocks, not final: five bytes each, no output.
    let empty = [0, 0, 0, 0xff, 0xff].repeat(200_000);
    let input = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &empty].concat().into();
    assert_eq!(plainly(Coding::Gzip, &input, ROOMY), Err(DecodeError::Corrupt("the coded stream is mostly empty")));
    // A body that was flushed after every few bytes is no attack.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let plain = text(200_000);
    for chunk in plain.chunks(16) {
        encoder.write_all(chunk).expect("memory");
        encoder.flush().expect("memory");
    }
    let flushed = encoder.finish().expect("memory").into();
    assert_eq!(plainly(Coding::Gzip, &flushed, ROOMY), Ok(plain.into()));
}

#[test]
fn the_large_window_of_brotli_is_refused() {
    let params = brotli::enc::BrotliEncoderParams { large_window: true, lgwin: 26, ..Default::default() };
    let mut large = Vec::new();
    brotli::BrotliCompress(&mut &text(1000)[..], &mut large, &params).expect("memory");
    assert_eq!(large[0], 0x11, "the mark of the extension");
    let mut most = 0;
    let ruling = decode(Coding::Brotli, &large.into(), ROOMY, &mut |bytes| {
        most = most.max(bytes);
        true
    });
    assert_eq!(ruling, Err(DecodeError::Corrupt("the brotli stream is broken")));
    assert!(most <= 1 << 24);
}

#[test]
fn each_failure_has_its_answer() {
    let answer = |error: DecodeError| error.refusal().code;
    assert_eq!(answer(DecodeError::Corrupt("x")), Code::BadRequest);
    assert_eq!(answer(DecodeError::NoRoom), Code::Overloaded);
    assert_eq!(answer(DecodeError::TooLarge), Code::TooLarge);
    assert_eq!(answer(DecodeError::TooSteep), Code::TooLarge);
}

fn any_coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(CODINGS.to_vec())
}

/// Decodes and checks that no more was taken than the caps allow.
fn bounded(coding: Coding, input: &Bytes) -> Result<Bytes, DecodeError> {
    let limits = Limits { max_decoded: 1 << 20, max_ratio: 20 };
    let mut taken = 0;
    let ruling = decode(coding, input, limits, &mut |bytes| {
        taken += bytes;
        true
    });
    let steepest = (input.len() * 20).max(usize::try_from(RATIO_FLOOR).expect("small"));
    let window = if coding == Coding::Brotli { 1 << 24 } else { 0 };
    assert!(taken <= window + 2 * (steepest + BLOCK), "{taken} bytes for {}", input.len());
    ruling.map(|decoded| decoded.body)
}

proptest! {
    #[test]
    fn what_is_coded_comes_back(coding in any_coding(), plain in prop::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(bounded(coding, &code(coding, &plain)), Ok(plain.into()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(coding in any_coding(), input in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = bounded(coding, &input.into());
    }

    #[test]
    fn bent_streams_never_panic_and_never_pass_as_something_longer(
        coding in any_coding(),
        size in 0_usize..20_000,
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut input = code(coding, &text(size)).to_vec();
        for (at, value) in bends {
            let at = at.index(input.len());
            input[at] = value;
        }
        if let Ok(body) = bounded(coding, &input.into()) {
            prop_assert!(coding == Coding::Brotli || body == text(size));
        }
    }

    #[test]
    fn arbitrary_fields_never_panic(
        length in prop::collection::vec(any::<u8>(), 0..30),
        coding in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut head = head(&BTreeMap::new());
        if let Ok(value) = HeaderValue::from_bytes(&length) {
            head.headers.append("content-length", value);
        }
        if let Ok(value) = HeaderValue::from_bytes(&coding) {
            head.headers.append("content-encoding", value);
        }
        let _ = intake().plan(&head, &routes("inspect", 100).all()[0]);
    }
}
