//! Any bytes as a request of OpenAI's, Anthropic's or Ollama's API: the first byte says which endpoint.

use tollgate_layers::protocol::json::{self, Limits};
use tollgate_layers::protocol::openai::{self, Changes, Endpoint};

const ENDPOINTS: [Endpoint; 10] = [
    Endpoint::Chat,
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Messages,
    Endpoint::Moderations,
    Endpoint::OllamaChat,
    Endpoint::OllamaEmbed,
    Endpoint::OllamaGenerate,
    Endpoint::Rerank,
    Endpoint::Responses,
];
const MOST: u64 = 7;

/// What is taken is strict JSON, its texts stand where it says, and the edits make a request that says what was meant.
pub(crate) fn run(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(*which) % ENDPOINTS.len()];
    let Ok(request) = openai::request(endpoint, body, Limits::default()) else { return };
    assert!(json::validate(body, Limits::default()).is_ok(), "what is taken is strict JSON");
    for prompt in &request.prompts {
        let written = body.get(prompt.at.clone()).expect("a text stands in the body");
        let read: String = serde_json::from_slice(written).expect("a text is a string");
        assert_eq!(read, &*prompt.text, "a text stands where it says");
        assert!(json::pointer(body, prompt.at.start).is_some(), "a text has a pointer");
    }
    let generates =
        !matches!(endpoint, Endpoint::Embeddings | Endpoint::Moderations | Endpoint::OllamaEmbed | Endpoint::Rerank);
    let unknown = request.knobs.extras.iter().filter(|extra| !extra.known);
    let dropped: Vec<Box<str>> = unknown.map(|extra| extra.name.clone()).collect();
    let changes = Changes {
        default_output_tokens: generates.then_some(MOST),
        clamp_output_tokens: generates.then_some(MOST),
        dropped: &dropped,
    };
    let (mut sent, mut at) = (Vec::new(), 0);
    for edit in request.edits(endpoint, changes) {
        sent.extend_from_slice(body.get(at..edit.at.start).expect("edits come in order"));
        sent.extend_from_slice(&edit.with);
        at = edit.at.end;
    }
    sent.extend_from_slice(body.get(at..).expect("edits stand in the body"));
    let read = openai::request(endpoint, &sent, Limits { depth: 64, keys: 2_048 }).expect("the edits make a request");
    assert_eq!(read.model, request.model, "the same model");
    let texts =
        |request: &openai::Request| request.prompts.iter().map(|prompt| prompt.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&read), texts(&request), "the same texts");
    assert!(read.knobs.extras.iter().all(|extra| extra.known), "what was dropped is gone");
    if generates {
        let bound = read.knobs.output_tokens.expect("there is a bound");
        assert_eq!(bound, request.knobs.output_tokens.unwrap_or(MOST).min(MOST), "the bound that was meant");
    }
}
