//! Requests, what they ask for, and what is changed in them.

use proptest::prelude::*;

use super::*;

fn read(endpoint: Endpoint, body: &str) -> Result<Request, Wrong> {
    request(endpoint, body.as_bytes(), json::Limits::default())
}

fn chat(more: &str) -> Result<Request, Wrong> {
    read(Endpoint::Chat, &format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#))
}

/// Where the mistake stands; `malformed` for what is no JSON.
fn spot(answer: Result<Request, Wrong>) -> String {
    match answer {
        Ok(taken) => panic!("it was taken: {taken:?}"),
        Err(Wrong::Invalid(spot)) => spot.pointer,
        Err(_) => "malformed".to_owned(),
    }
}

#[test]
fn a_chat_is_read_with_its_texts_and_numbers() {
    let body = r#"{"model":"m","messages":[
        {"role":"system","content":"be kind"},
        {"role":"user","content":[{"type":"text","text":"a \u00e9"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"1","content":"42"}],
        "max_tokens":5,"max_completion_tokens":9,"n":2,"stream":true,"stop":["a","b"],"temperature":0.5,"seed":-1,
        "logit_bias":{"5":-100},"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
        "user":null,"store":false}"#;
    let request = read(Endpoint::Chat, body).expect("a chat");
    let prompts: Vec<_> = request.prompts.iter().map(|prompt| (prompt.role, &*prompt.text)).collect();
    use tollgate_core::call::Role::{Assistant, System, Tool, User};
    assert_eq!(prompts, [(System, "be kind"), (User, "a é"), (Assistant, "{}"), (Tool, "42")]);
    for prompt in &request.prompts {
        let quoted: String = serde_json::from_str(&body[prompt.at.clone()]).expect("a string of the body");
        assert_eq!(*prompt.text, *quoted);
    }
    let knobs = &request.knobs;
    assert_eq!((knobs.stream, knobs.usage, knobs.output_tokens, knobs.choices), (true, false, Some(9), 2));
    let of = |what| knobs.asked.iter().find(|asked| asked.what == what).map(|asked| (&*asked.pointer, asked.value));
    assert_eq!(of(Ask::Messages), Some(("/messages", 4)));
    assert_eq!(of(Ask::Stops), Some(("/stop", 2)));
    assert_eq!(of(Ask::LogitBias), Some(("/logit_bias", 1)));
    assert_eq!(of(Ask::Tools), Some(("/tools", 1)));
    assert_eq!(of(Ask::SchemaBytes), Some(("/tools", 17)));
    assert_eq!((request.media.len(), knobs.extras.len()), (1, 0));
}

#[test]
fn values_are_of_exactly_their_types() {
    let table = [
        (r#","max_tokens":"9""#, "/max_tokens"),
        (r#","max_tokens":2.9"#, "/max_tokens"),
        (r#","max_tokens":1e1"#, "/max_tokens"),
        (r#","max_tokens":true"#, "/max_tokens"),
        (r#","max_tokens":0"#, "/max_tokens"),
        (r#","max_tokens":-1"#, "/max_tokens"),
        (r#","max_tokens":1,"max_tokens":9"#, "malformed"),
        (r#","n":0"#, "/n"),
        (r#","stream":1"#, "/stream"),
        (r#","stream":"true""#, "/stream"),
        (r#","temperature":3"#, "/temperature"),
        (r#","temperature":NaN"#, "malformed"),
        (r#","top_p":1.5"#, "/top_p"),
        (r#","presence_penalty":-3"#, "/presence_penalty"),
        (r#","stop":[1]"#, "/stop/0"),
        (r#","logit_bias":{"a":1}"#, "/logit_bias"),
        (r#","logit_bias":{"1":200}"#, "/logit_bias/1"),
        (r#","stream_options":{"include_usage":true,"continuous_usage_stats":true}"#, "/stream_options"),
        (r#","tools":[{"type":"web_search"}]"#, "/tools/0/type"),
        (r#","response_format":{"type":"grammar"}"#, "/response_format/type"),
    ];
    for (more, at) in table {
        assert_eq!(spot(chat(more)), at, "{more}");
    }
    for fine in
        ["", r#","max_tokens":null"#, r#","stop":null"#, r#","top_k":-1"#, r#","tool_choice":{"type":"function"}"#]
    {
        assert!(chat(fine).is_ok(), "{fine}: {:?}", chat(fine));
    }
}

#[test]
fn messages_are_held_to_their_form() {
    let message = |message: &str| read(Endpoint::Chat, &format!(r#"{{"model":"m","messages":[{message}]}}"#));
    let table = [
        ("", "/messages"),
        (r#"{"role":"root","content":"x"}"#, "/messages/0/role"),
        (r#"{"content":"x"}"#, "/messages/0"),
        (r#"{"role":"user"}"#, "/messages/0"),
        (r#"{"role":"user","content":null}"#, "/messages/0"),
        (r#"{"role":"assistant","content":null}"#, "/messages/0"),
        (r#"{"role":"user","content":5}"#, "/messages/0/content"),
        (r#"{"role":"user","content":[]}"#, "/messages/0/content"),
        (r#"{"role":"user","content":[{"text":"x"}]}"#, "/messages/0/content/0"),
        (r#"{"role":"user","content":[{"type":"text","text":5}]}"#, "/messages/0/content/0/text"),
        (r#"{"role":"user","content":[{"type":"virus"}]}"#, "/messages/0/content/0/type"),
        (r#"{"role":"user","content":"x","secret":1}"#, "/messages/0"),
        (r#"{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}"#, "/messages/0/content/0/file/file_id"),
        (
            r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,raw"}}]}"#,
            "/messages/0/content/0/image_url/url",
        ),
    ];
    for (body, at) in table {
        assert_eq!(spot(message(body)), at, "{body}");
    }
    let fetch = r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"HTTP://169.254.169.254/"}}]}"#;
    assert_eq!(message(fetch).expect("noted").media[0].kind, Media::FETCHED);
}

#[test]
fn what_reaches_into_the_server_is_noted_and_the_unknown_too() {
    let request = chat(r#","ignore_eos":true,"guided_json":{},"lora_request":{},"wonder":1,"min_tokens":null"#);
    let extras = request.expect("a chat").knobs.extras;
    let shown: Vec<_> = extras.iter().map(|extra| (&*extra.name, extra.known)).collect();
    assert_eq!(shown, [("ignore_eos", true), ("guided_json", true), ("lora_request", true), ("wonder", false)]);
}

#[test]
fn prompts_come_as_text_or_as_token_ids() {
    let prompt = |prompt: &str| read(Endpoint::Completions, &format!(r#"{{"model":"m","prompt":{prompt},"n":2}}"#));
    assert_eq!(prompt(r#""a""#).expect("one").knobs.choices, 2);
    let batch = prompt(r#"["a","b","c"]"#).expect("three");
    assert_eq!((batch.prompts.len(), batch.knobs.choices), (3, 6));
    let ids = prompt("[1,2,3]").expect("ids");
    assert!(ids.knobs.asked.iter().any(|asked| asked.what == Ask::TokenIds && asked.value == 3));
    let many = prompt("[[1,2],[3]]").expect("lists of ids");
    assert_eq!(many.knobs.choices, 4);
    for (wrong, at) in [
        ("[]", "/prompt"),
        (r#"["a",1]"#, "/prompt/1"),
        ("[[1],[]]", "/prompt/1"),
        ("[1.5]", "/prompt/0"),
        ("[-1]", "/prompt/0"),
        ("[4294967296]", "/prompt/0"),
        ("{}", "/prompt"),
        ("null", "/prompt"),
    ] {
        assert_eq!(spot(prompt(wrong)), at, "{wrong}");
    }
    assert_eq!(spot(read(Endpoint::Embeddings, r#"{"model":"m"}"#)), "");
    assert_eq!(spot(read(Endpoint::Embeddings, r#"{"input":"a"}"#)), "");
    assert_eq!(
        spot(read(Endpoint::Embeddings, r#"{"model":"m","input":"a","encoding_format":"hex"}"#)),
        "/encoding_format"
    );
    let rank = r#"{"model":"m","query":"q","documents":["a",{"text":"b"}]}"#;
    assert_eq!(spot(read(Endpoint::Rerank, rank)), "/documents/1");
    assert_eq!(
        read(Endpoint::Rerank, r#"{"model":"m","query":"q","documents":["a","b"]}"#).expect("ok").prompts.len(),
        3
    );
}

#[test]
fn responses_have_items() {
    let body = r#"{"model":"m","instructions":"be kind","input":[
        {"role":"user","content":[{"type":"input_text","text":"hi"}]},
        {"type":"function_call","call_id":"1","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"1","output":"42"},
        {"type":"reasoning","summary":[]}],
        "max_output_tokens":16,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}}}"#;
    let request = read(Endpoint::Responses, body).expect("a response");
    assert_eq!((request.prompts.len(), request.knobs.output_tokens), (4, Some(16)));
    let reference = r#"{"model":"m","input":[{"type":"item_reference","id":"x"}]}"#;
    assert_eq!(spot(read(Endpoint::Responses, reference)), "/input/0/type");
    let state = read(Endpoint::Responses, r#"{"model":"m","input":"x","previous_response_id":"r","store":true}"#);
    assert_eq!(state.expect("noted").knobs.extras.len(), 2);
}

#[test]
fn schemas_that_explode_are_refused() {
    let schema = |schema: &str| {
        chat(&format!(r#","response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}"#))
    };
    let fine = r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"pattern":"(ab){1,9}c{3}"}},"properties":{"pattern":{"$ref":"#/$defs/a"}}}"##;
    assert!(schema(fine).is_ok(), "{:?}", schema(fine));
    for wrong in [
        r##"{"$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"items":{"$ref":"#/$defs/a"}}}}"##,
        r##"{"$ref":"#"}"##,
        r#"{"$ref":"http://example.test/schema"}"#,
        r##"{"$ref":"#/$defs/none"}"##,
        r#"{"pattern":"((a{1,100}){1,100}){1,100}"}"#,
        r#"{"patternProperties":{"(a{9}b){9}":{}}}"#,
    ] {
        assert!(matches!(schema(wrong), Err(Wrong::Invalid(_))), "{wrong}");
    }
    assert!(matches!(schema(&format!(r#"{{"pattern":"{}"}}"#, "a".repeat(513))), Err(Wrong::Invalid(_))));
}

/// The body with the edits made.
fn changed(endpoint: Endpoint, body: &str, changes: Changes<'_>) -> String {
    let request = read(endpoint, body).expect("a request");
    let mut out = String::new();
    let mut from = 0;
    for edit in request.edits(endpoint, changes) {
        out.push_str(&body[from..edit.at.start]);
        out.push_str(std::str::from_utf8(&edit.with).expect("UTF-8"));
        from = edit.at.end;
    }
    out + &body[from..]
}

#[test]
fn the_body_is_changed_where_the_gateway_needs_it() {
    let body = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    let none = Changes::default();
    assert_eq!(changed(Endpoint::Chat, &body(""), none), body(""));
    assert_eq!(
        changed(Endpoint::Chat, &body(r#","stream":true"#), none),
        body(r#","stream":true,"stream_options":{"include_usage":true}"#)
    );
    assert_eq!(
        changed(Endpoint::Chat, &body(r#","stream_options":null,"stream":true"#), none),
        body(r#","stream_options":{"include_usage":true},"stream":true"#)
    );
    let asked = body(r#","stream":true,"stream_options":{"include_usage":true}"#);
    assert_eq!(changed(Endpoint::Chat, &asked, none), asked);
    let default = Changes { default_output_tokens: Some(64), ..none };
    assert_eq!(changed(Endpoint::Chat, &body(""), default), body(r#","max_tokens":64"#));
    assert_eq!(changed(Endpoint::Chat, &body(r#","max_tokens":null"#), default), body(r#","max_tokens":64"#));
    assert_eq!(
        changed(Endpoint::Chat, &body(r#","max_completion_tokens":5"#), default),
        body(r#","max_completion_tokens":5"#)
    );
    let clamp = Changes { clamp_output_tokens: Some(10), ..none };
    assert_eq!(changed(Endpoint::Chat, &body(r#","max_tokens":99"#), clamp), body(r#","max_tokens":10"#));
}

proptest! {
    #[test]
    fn dropped_members_leave_an_object(kept in prop::collection::vec(any::<bool>(), 1..8)) {
        let names = ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"];
        let members: Vec<_> = kept.iter().zip(names).map(|(_, name)| format!(" \"{name}\" : [1] ")).collect();
        let middle = members.len() / 2;
        let model = r#""model":"m","messages":[{"role":"user","content":"x"}]"#;
        let body = format!("{{{},{model}{}{}}}", members[..middle].join(","), if middle < members.len() { "," } else { "" }, members[middle..].join(","));
        let body = body.replace("{,", "{");
        let dropped: Vec<Box<str>> = kept.iter().zip(names).filter(|(kept, _)| !**kept).map(|(_, name)| name.into()).collect();
        let left = changed(Endpoint::Chat, &body, Changes { dropped: &dropped, ..Changes::default() });
        let value: serde_json::Value = serde_json::from_str(&left).expect("JSON is left");
        for (kept, name) in kept.iter().zip(names) {
            prop_assert_eq!(value.get(name).is_some(), *kept);
        }
    }

    #[test]
    fn a_body_with_a_byte_changed_has_an_answer(at in 0_usize..400, byte in any::<u8>()) {
        let mut body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"stop":["a"],"logit_bias":{"1":2},"tools":[{"type":"function","function":{"name":"f","parameters":{"$defs":{"a":{}}}}}],"stream":true}"#.to_vec();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(request) = request(Endpoint::Chat, &body, json::Limits::default()) {
            for edit in request.edits(Endpoint::Chat, Changes { default_output_tokens: Some(1), ..Changes::default() }) {
                prop_assert!(edit.at.start <= edit.at.end && edit.at.end <= body.len());
            }
        }
    }
}

#[test]
fn anthropic_messages_are_read_with_blocks() {
    let body = r#"{"model":"m","max_tokens":64,"system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="}}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{"a":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"42"}]}]}],
        "tools":[{"name":"f","input_schema":{"type":"object"}}],"stop_sequences":["x"],"stream":true}"#;
    let request = read(Endpoint::Messages, body).expect("messages");
    use tollgate_core::call::Role::{System, Tool, User};
    let prompts: Vec<_> = request.prompts.iter().map(|prompt| (prompt.role, &*prompt.text)).collect();
    assert_eq!(prompts, [(System, "be kind"), (User, "see"), (Tool, "42")]);
    assert_eq!((request.knobs.output_tokens, request.knobs.stream, request.media.len()), (Some(64), true, 1));
    assert_eq!(changed(Endpoint::Messages, body, Changes::default()), body);
    let of = |more: &str| {
        read(Endpoint::Messages, &format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#))
    };
    assert_eq!(spot(of("")), "", "max_tokens is required");
    assert_eq!(spot(of(r#","max_tokens":1,"tools":[{"type":"bash_20250124","name":"bash"}]"#)), "/tools/0/type");
    assert_eq!(of(r#","max_tokens":1,"mcp_servers":[{"url":"x"}]"#).expect("noted").knobs.extras.len(), 1);
    let system = r#"{"model":"m","max_tokens":1,"messages":[{"role":"system","content":"x"}]}"#;
    assert_eq!(spot(read(Endpoint::Messages, system)), "/messages/0");
}

#[test]
fn ollama_streams_unless_told_and_keeps_its_bounds_in_options() {
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"see","images":["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="]}],"options":{"num_predict":9,"seed":1}}"#;
    let request = read(Endpoint::OllamaChat, chat).expect("a chat");
    assert_eq!((request.knobs.stream, request.knobs.output_tokens, request.media.len()), (true, Some(9), 1));
    let generate = |more: &str| read(Endpoint::OllamaGenerate, &format!(r#"{{"model":"m","prompt":"hi"{more}}}"#));
    assert!(!generate(r#","stream":false"#).expect("whole").knobs.stream);
    for (more, at) in [
        (r#","options":{"num_predict":-1}"#, "/options/num_predict"),
        (r#","options":{"num_gpu":9}"#, "/options/num_gpu"),
        (r#","options":{"wonder":9}"#, "/options"),
        (r#","format":"xml""#, "/format"),
        (r#","system":1"#, "/system"),
    ] {
        assert_eq!(spot(generate(more)), at, "{more}");
    }
    for reaching in [r#","raw":true"#, r#","template":"{{ . }}""#, r#","context":[1]"#, r#","keep_alive":-1"#] {
        assert!(generate(reaching).expect("noted").knobs.extras[0].known, "{reaching}");
    }
    let default = Changes { default_output_tokens: Some(64), ..Changes::default() };
    let body = r#"{"model":"m","prompt":"hi"}"#;
    assert_eq!(
        changed(Endpoint::OllamaGenerate, body, default),
        r#"{"model":"m","prompt":"hi","options":{"num_predict":64}}"#
    );
    let generate = |options: &str| format!(r#"{{"model":"m","options":{options},"prompt":"hi"}}"#);
    for (options, becomes) in [
        ("null", r#"{"num_predict":64}"#),
        ("{}", r#"{"num_predict":64}"#),
        (r#"{"seed":1}"#, r#"{"num_predict":64,"seed":1}"#),
        (r#"{"seed":1,"num_predict": null }"#, r#"{"seed":1,"num_predict": 64 }"#),
        (r#"{"num_predict":9}"#, r#"{"num_predict":9}"#),
    ] {
        assert_eq!(changed(Endpoint::OllamaGenerate, &generate(options), default), generate(becomes), "{options}");
    }
    let clamp = Changes { clamp_output_tokens: Some(10), ..Changes::default() };
    let wish = generate(r#"{"num_predict":99,"seed":1}"#);
    assert_eq!(changed(Endpoint::OllamaGenerate, &wish, clamp), generate(r#"{"num_predict":10,"seed":1}"#));
    assert_eq!(read(Endpoint::OllamaEmbed, r#"{"model":"m","input":["a","b"]}"#).expect("two").prompts.len(), 2);
}
