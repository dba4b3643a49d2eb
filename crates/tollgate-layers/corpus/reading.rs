//! Reads the corpus: requests in a short notation, and what becomes of each. Included by the tests that run it, in
//! process and over sockets; it knows no parser, so that nothing can be right in it by agreeing with one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[path = "message.rs"]
mod message;

/// One file: a route, its model, and requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// What its requests have in common.
    pub(crate) what: String,
    /// The protocol of the route; `grpc` for messages that only the decoder is asked about.
    pub(crate) protocol: String,
    /// Where its requests go unless they say otherwise.
    #[serde(default)]
    pub(crate) path: String,
    /// The contract of the model `m`.
    #[serde(default)]
    pub(crate) contract: serde_json::Value,
    /// Bodies with a hole `□`. A request without `in` fills the frame `body`; without such, it is the whole.
    #[serde(default)]
    frames: BTreeMap<String, String>,
    /// Requests that never reach a model.
    #[serde(default)]
    pub(crate) refused: Vec<Case>,
    /// Requests that do.
    #[serde(default)]
    pub(crate) taken: Vec<Case>,
}

/// One request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What it is, as the end of a sentence.
    pub(crate) it: String,
    #[serde(default, rename = "in")]
    frame: Option<String>,
    /// What fills the hole. `⟨x×3⟩` stands for `xxx`; `▲` marks the byte at which reading must end, and is left out.
    #[serde(default)]
    put: String,
    /// Bytes behind the text, in hexadecimal.
    #[serde(default)]
    tail: String,
    /// What `Inference-Header-Content-Length` says; `json` for the length of the text.
    #[serde(default)]
    length: Option<String>,
    /// Another encoding than UTF-8: `utf-16le`, `utf-16be`, `utf-32le`, `utf-8-bom`, `latin-1`.
    #[serde(default)]
    encoded: Option<String>,
    /// Fields beside `Content-Type: application/json`; one that is named here replaces it.
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    path: Option<String>,
    /// The code of the refusal.
    #[serde(default = "invalid_call")]
    pub(crate) code: String,
    /// The JSON Pointer of the first mistake.
    #[serde(default)]
    pub(crate) at: Option<String>,
    /// The element of the tensor that is wrong.
    #[serde(default)]
    pub(crate) index: Option<u64>,
    /// The hole of what the model is sent, where it is not what came.
    #[serde(default)]
    becomes: Option<String>,
}

/// A request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its path.
    pub(crate) path: String,
    /// Its fields, `Name: value`.
    pub(crate) headers: Vec<String>,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// The byte at which reading must end, where it is said.
    pub(crate) byte: Option<usize>,
}

fn invalid_call() -> String {
    "invalid_call".to_owned()
}

impl File {
    /// The request of a case.
    pub(crate) fn request(&self, case: &Case) -> Request {
        let (text, byte) = self.fill(case, &case.put);
        let text_length = text.len();
        let mut body = if self.protocol == "grpc" { message::bytes(&text) } else { case.encode(text) };
        body.extend(message::hex(&case.tail));
        let mut headers = case.headers.clone();
        if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("content-type:")) {
            headers.push("Content-Type: application/json".to_owned());
        }
        headers.retain(|line| !line.ends_with(": none"));
        if let Some(length) = &case.length {
            let length = if length == "json" { text_length.to_string() } else { length.clone() };
            headers.push(format!("Inference-Header-Content-Length: {length}"));
        }
        Request { path: case.path.as_ref().unwrap_or(&self.path).clone(), headers, body, byte }
    }

    /// What the model is sent for a case that is taken.
    pub(crate) fn forwarded(&self, case: &Case) -> Vec<u8> {
        let sent = self.request(case).body;
        case.becomes.as_ref().map_or(sent, |becomes| self.fill(case, becomes).0.into_bytes())
    }

    fn fill(&self, case: &Case, put: &str) -> (String, Option<usize>) {
        let frame = match &case.frame {
            Some(name) => self.frames.get(name).unwrap_or_else(|| panic!("{}: no frame `{name}`", case.it)),
            None => self.frames.get("body").map_or("□", String::as_str),
        };
        let text = repeated(&frame.replace('□', put));
        let byte = text.find('▲');
        (text.replace('▲', ""), byte)
    }
}

impl Case {
    fn encode(&self, text: String) -> Vec<u8> {
        match self.encoded.as_deref() {
            None => text.into_bytes(),
            Some("utf-8-bom") => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            Some("utf-16le") => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Some("utf-16be") => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Some("utf-32le") => text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect(),
            Some("latin-1") => text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("Latin 1")).collect(),
            Some(other) => panic!("{}: no encoding `{other}`", self.it),
        }
    }
}

/// Resolves `⟨x×3⟩`, the innermost first.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.rsplit_once('⟨') else { return text.to_owned() };
    let (piece, rest) = rest.split_once('⟩').expect("`⟨` has its `⟩`");
    let (piece, times) = piece.rsplit_once('×').expect("how often");
    repeated(&format!("{before}{}{rest}", piece.repeat(times.parse().expect("how often"))))
}

/// Every file of the corpus, with its name.
pub(crate) fn corpus() -> Vec<(String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tollgate-layers/corpus");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a file");
            let file = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.push((name, file));
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}
