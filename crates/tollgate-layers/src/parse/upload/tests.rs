//! Forms and files, parsed and held to contracts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version};
use proptest::prelude::*;
use tollgate_core::call::{Call, ModelId};
use tollgate_core::check::Checker;
use tollgate_core::journal::Journal;
use tollgate_core::stage::Stage;

use crate::contract::{ContractConfig, Contracts};
use crate::hygiene::Head;
use crate::parse::{Given, ParseConfig, ParseModel};
use crate::routes::{self, RouteConfig, RouteNames};

const CONTRACT: &str = "
form:
  files:
    file: { types: [image/gif, audio/wav, video/webm], max_bytes: 100000 }
    extra: { types: [application/octet-stream, application/pdf], max_count: 2, optional: true }
  fields:
    prompt: { max_bytes: 8 }
    format: { one_of: [json, text] }
    temperature: { range: [0, 1] }
    batch_id: { optional: false }
media: { max_pixels: 6, max_seconds: 2, types: [image/gif, audio/wav, video/webm, application/octet-stream] }
max_chars: 20
";

/// What becomes of a body; where it is refused, the code and where.
fn judged(path: &str, content_type: &str, body: &[u8]) -> Result<Call, (&'static str, String)> {
    let config: ContractConfig = serde_saphyr::from_str(CONTRACT).expect("it parses");
    let mut check = Checker::default();
    let contract = Arc::new(config.compile(&mut check, None));
    let model = ParseModel { name: "m".into(), contract: Arc::clone(&contract) };
    let parse = ParseConfig::default().compile(&mut check, vec![model]);
    let yaml = "[{ name: form, path: /form, protocol: multipart, models: [m] }, { name: media, path: /media, protocol: media, models: [m] },
        { name: openai, path: '/v1/{*rest}', protocol: openai, models: [m] }]";
    let config: Vec<RouteConfig> = serde_saphyr::from_str(yaml).expect("routes");
    let models = BTreeMap::from([("m".to_owned(), ModelId(0))]);
    let names = RouteNames { models: &models, upstreams: &BTreeMap::new(), classes: &BTreeSet::new() };
    let routes = routes::compile(&config, &mut check, &names);
    assert_eq!(check.finish().0, []);
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert("content-type", HeaderValue::from_str(content_type).expect("a value"));
    }
    let uri = path.parse().expect("a path");
    let head = Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host: "gate.test".into() };
    let found = routes.find(&head).expect("a route");
    let body = Bytes::copy_from_slice(body);
    let told = |stop: tollgate_core::ruling::Stop| {
        let denial = stop.denial();
        (denial.code.name(), denial.spot.map_or_else(String::new, |spot| spot.pointer))
    };
    let call = parse.call(Given { head: &head, found: &found, body: &body }).map_err(told)?;
    let contracts = Contracts::new(vec![contract]);
    contracts.check(found.route, &call, &body, &mut Journal::default().notes(Stage::Contract)).map_err(told)?;
    Ok(call)
}

const FORM: &str = "multipart/form-data; boundary=b";

/// A body of parts: what follows `form-data;`, more headers, and content.
fn body(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let part = |(name, more, content): &(&str, &str, &[u8])| {
        [format!("--b\r\nContent-Disposition: form-data; {name}\r\n{more}\r\n").as_bytes(), content, b"\r\n"].concat()
    };
    [parts.iter().flat_map(part).collect(), b"--b--\r\n".to_vec()].concat()
}

/// Three by two pixels.
fn gif() -> Vec<u8> {
    STANDARD.decode("R0lGODlhAwACAIAAAAAAAP///yH5BAEAAAAALAAAAAADAAIAAAIDhG9QADs=").expect("base64")
}

/// So many milliseconds of 8,000 bytes a second.
fn wav(ms: u32) -> Vec<u8> {
    let data = vec![128; ms as usize * 8];
    let mut out = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data".to_vec();
    out.extend_from_slice(&u32::try_from(data.len()).expect("short").to_le_bytes());
    out.extend_from_slice(&data);
    out
}

/// A film whose header tells no length.
fn webm(bytes: usize) -> Vec<u8> {
    let mut out = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm".to_vec();
    out.resize(bytes, 0);
    out
}

const FILE: &str = "name=\"file\"; filename=\"a.gif\"";
const ID: (&str, &str, &[u8]) = ("name=\"batch_id\"", "", b"7");

#[test]
fn a_form_is_read_with_its_files_and_texts() {
    let sent = body(&[(FILE, "Content-Type: image/gif\r\n", &gif()), ID, ("name=prompt", "", "größe".as_bytes())]);
    let call = judged("/form", FORM, &sent).expect("it fits");
    let names: Vec<_> = call.parts.iter().map(|part| (&*part.name, part.file)).collect();
    assert_eq!(names, [("file", Some(0)), ("batch_id", None), ("prompt", None)]);
    assert_eq!(call.prompts.iter().map(|prompt| &*prompt.text).collect::<Vec<_>>(), ["7", "größe"]);
    assert_eq!((call.media[0].kind, call.pixels(), call.media_ms()), ("image/gif", 6, 0));
    assert_eq!(&sent[call.media[0].at.clone()], gif());
    assert_eq!(call.model, Some(ModelId(0)));
    let sound = judged("/form", FORM, &body(&[(FILE, "", &wav(1_500)), ID])).expect("it fits");
    assert_eq!((sound.media[0].kind, sound.media_ms()), ("audio/wav", 1_500));
    let film = judged("/form", FORM, &body(&[(FILE, "", &webm(1_500)), ID])).expect("two seconds at the lowest rate");
    assert_eq!((film.media[0].duration_ms, film.media_ms()), (None, 2_000));
}

#[test]
fn what_the_contract_does_not_name_or_bound_is_refused_by_its_place() {
    let (gif, exe) = (gif(), b"MZ\x90\0\x03\0\0\0\x04\0\0\0".as_slice());
    let good = (FILE, "Content-Type: image/gif\r\n", gif.as_slice());
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("another file", body(&[good, ID, ("name=\"x\"; filename=\"x\"", "", &gif)]), "invalid_call", "/2"),
        ("another field", body(&[good, ID, ("name=\"x\"", "", b"y")]), "invalid_call", "/2"),
        ("a file as a field", body(&[("name=\"file\"", "", b"GIF89a"), ID]), "invalid_call", "/0"),
        ("a field as a file", body(&[good, ("name=\"batch_id\"; filename=\"x\"", "", &gif)]), "invalid_call", "/1"),
        ("no file", body(&[ID]), "invalid_call", ""),
        ("no id", body(&[good]), "invalid_call", ""),
        ("two files", body(&[good, (FILE, "", &gif), ID]), "invalid_call", "/file"),
        ("a type that is another", body(&[(FILE, "Content-Type: image/png\r\n", &gif), ID]), "invalid_call", "/0"),
        (
            "a type that is not taken",
            body(&[(FILE, "Content-Type: application/octet-stream\r\n", b"%PDF-1.7 ......."), ID]),
            "invalid_call",
            "/file",
        ),
        ("bytes that are nothing", body(&[(FILE, "Content-Type: image/gif\r\n", exe), ID]), "invalid_call", "/0"),
        ("an image that is cut off", body(&[(FILE, "", gif.get(..9).expect("long")), ID]), "invalid_call", "/0"),
        ("too large a file", body(&[(FILE, "", &wav(13_000)), ID]), "invalid_call", "/file"),
        ("too long a sound", body(&[(FILE, "", &wav(2_001)), ID]), "invalid_call", "/file"),
        ("a film that may be too long", body(&[(FILE, "", &webm(1_501)), ID]), "invalid_call", "/file"),
        (
            "too many pixels",
            body(&[
                (FILE, "", &{
                    let mut wide = gif.clone();
                    wide[6] = 4;
                    wide
                }),
                ID,
            ]),
            "invalid_call",
            "/file",
        ),
        ("a path", body(&[("name=\"file\"; filename=\"../a\"", "", &gif), ID]), "invalid_call", "/0"),
        ("a long text", body(&[good, ID, ("name=\"prompt\"", "", b"123456789")]), "invalid_call", "/prompt"),
        ("a word of no list", body(&[good, ID, ("name=\"format\"", "", b"xml")]), "invalid_call", "/format"),
        ("a number beyond", body(&[good, ID, ("name=\"temperature\"", "", b"1.5")]), "invalid_call", "/temperature"),
        ("a number in words", body(&[good, ID, ("name=\"temperature\"", "", b"inf")]), "invalid_call", "/temperature"),
        ("a NUL", body(&[good, ("name=\"batch_id\"", "", b"a\0b")]), "invalid_call", "/1"),
        ("no UTF-8", body(&[good, ("name=\"batch_id\"", "", b"\xff")]), "invalid_call", "/1"),
        ("a field twice", body(&[good, ID, ID]), "invalid_call", "/2"),
        (
            "an end that is missing",
            b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n".to_vec(),
            "invalid_call",
            "",
        ),
    ];
    for (what, sent, code, pointer) in table {
        let refused = judged("/form", FORM, &sent).expect_err(what);
        assert_eq!(refused, (code, pointer.to_owned()), "{what}");
    }
    for content_type in [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=b",
        "multipart/form-data; boundary=b; boundary=c",
    ] {
        assert_eq!(
            judged("/form", content_type, &body(&[good, ID])).expect_err("refused").0,
            "unsupported",
            "{content_type}"
        );
    }
}

#[test]
fn a_body_may_be_one_image_or_sound() {
    let call = judged("/media", "image/gif", &gif()).expect("it fits");
    assert_eq!((call.media[0].kind, call.pixels(), call.parts.len()), ("image/gif", 6, 0));
    assert_eq!(judged("/media", "audio/x-wav", &wav(100)).expect("it fits").media_ms(), 100);
    for (content_type, sent, code) in [
        ("image/png", gif(), "invalid_call"),
        ("image/gif", gif()[..7].to_vec(), "invalid_call"),
        ("application/octet-stream", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff".to_vec(), "unsupported"),
        ("application/octet-stream", Vec::new(), "unsupported"),
        ("application/pdf", b"%PDF-1.7 .......".to_vec(), "invalid_call"),
        ("audio/wav", wav(2_001), "invalid_call"),
        ("", gif(), "unsupported"),
    ] {
        assert_eq!(judged("/media", content_type, &sent).expect_err("refused").0, code, "{content_type}");
    }
}

#[test]
fn uploads_of_openai_name_their_model_in_a_field() {
    let path = "/v1/audio/transcriptions";
    let model = |name: &'static str| ("name=\"model\"", "", name.as_bytes());
    let sound = wav(1_000);
    let file = ("name=\"file\"; filename=\"a.wav\"", "Content-Type: audio/wav\r\n", sound.as_slice());
    let call = judged(path, FORM, &body(&[file, model("m"), ID, ("name=\"prompt\"", "", b"hi")])).expect("it fits");
    assert_eq!((call.model, call.parts.len(), call.prompts.len(), call.knobs.stream), (Some(ModelId(0)), 3, 2, false));
    assert_eq!(judged(path, FORM, &body(&[file, ID])).expect_err("no model").0, "invalid_call");
    assert_eq!(judged(path, FORM, &body(&[file, model("other"), ID])).expect_err("unknown").0, "not_found");
    let streams = judged(path, FORM, &body(&[file, model("m"), ID, ("name=\"stream\"", "", b"true")]));
    assert_eq!(streams.expect_err("no field of the model"), ("invalid_call", "/2".to_owned()));
    assert_eq!(judged(path, "application/json", b"{}").expect_err("no form").0, "unsupported");
}

proptest! {
    #[test]
    fn a_form_with_a_byte_changed_has_an_answer(at in 0_usize..400, byte in any::<u8>()) {
        let mut sent = body(&[(FILE, "Content-Type: image/gif\r\n", &gif()), ID, ("name=prompt", "", b"hi")]);
        let at = at % sent.len();
        sent[at] = byte;
        if let Ok(call) = judged("/form", FORM, &sent) {
            prop_assert!(call.parts.iter().all(|part| part.at.end <= sent.len()));
        }
    }
}
