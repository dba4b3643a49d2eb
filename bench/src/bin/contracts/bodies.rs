//! The bodies, the same in every run.

use serde_json::{Value, json};

/// A body, and what it is held to.
pub(crate) struct Body {
    /// Its name in reports, and of its file.
    pub(crate) name: &'static str,
    /// How its route is understood.
    pub(crate) protocol: &'static str,
    /// Where it is sent.
    pub(crate) path: &'static str,
    /// What the model takes.
    pub(crate) contract: Value,
    /// The body.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of JSON before the tensors, where there are any.
    pub(crate) json: Option<usize>,
}

impl Body {
    /// Every body, in the order of the report.
    pub(crate) fn all() -> [Self; 4] {
        [floats("floats_768", 768), floats("floats_10000", 10_000), image(), chat()]
    }
}

const INFER: &str = "/v2/models/m/infer";

/// A row of floats as Python writes singles: 17 digits.
fn floats(name: &'static str, count: u64) -> Body {
    let number = |at: u64| {
        #[expect(clippy::cast_possible_truncation, reason = "singles are what such clients have")]
        let single = (unit(at) * 200.0 - 100.0) as f32;
        format!("{}", f64::from(single))
    };
    let data: Vec<String> = (0..count).map(number).collect();
    let input = format!(r#"{{"name":"x","shape":[1,{count}],"datatype":"FP32","data":[{}]}}"#, data.join(", "));
    Body {
        name,
        protocol: "oip",
        path: INFER,
        contract: json!({ "inputs": [
            { "name": "x", "dtype": "FP32", "shape": ["batch", count], "range": [-100, 100] }
        ] }),
        bytes: format!(r#"{{"id":"bench-1","inputs":[{input}]}}"#).into_bytes(),
        json: None,
    }
}

/// A picture of 224 by 224 in three planes, as singles behind the JSON; only what is no number is looked for.
fn image() -> Body {
    const VALUES: u64 = 224 * 224 * 3;
    let size = VALUES * 4;
    let json = format!(
        r#"{{"inputs":[{{"name":"x","shape":[1,3,224,224],"datatype":"FP32","parameters":{{"binary_data_size":{size}}}}}]}}"#
    );
    let mut bytes = json.clone().into_bytes();
    #[expect(clippy::cast_possible_truncation, reason = "pixels are singles")]
    bytes.extend((0..VALUES).flat_map(|at| (unit(at) as f32).to_le_bytes()));
    let contract = json!({ "inputs": [{ "name": "x", "dtype": "FP32", "shape": ["batch", 3, 224, 224] }] });
    Body { name: "image", protocol: "oip", path: INFER, contract, bytes, json: Some(json.len()) }
}

/// A chat of 4 KiB in six turns.
fn chat() -> Body {
    const WORDS: [&str; 24] = [
        "the", "gateway", "holds", "every", "request", "to", "what", "a", "model", "takes", "and", "says", "where",
        "it", "does", "not", "fit", "before", "any", "server", "reads", "one", "byte", "of",
    ];
    let mut turns = vec![json!({ "role": "system", "content": "Answer in one sentence." })];
    let mut at = 0;
    while turns.len() < 6 {
        let mut text = String::new();
        while text.len() < 760 {
            text.push_str(WORDS[usize::try_from(mixed(at) % WORDS.len() as u64).unwrap_or(0)]);
            text.push_str(if mixed(at).is_multiple_of(11) { ". " } else { " " });
            at += 1;
        }
        let role = if turns.len() % 2 == 1 { "user" } else { "assistant" };
        turns.push(json!({ "role": role, "content": text }));
    }
    let body = json!({ "model": "m", "messages": turns, "max_tokens": 256, "temperature": 0.7, "stream": true });
    let contract = json!({
        "max_messages": 50, "max_message_chars": 10_000, "max_chars": 100_000, "max_output_tokens": 4_096,
        "max_input_tokens": 8_192, "tokenizer": "o200k",
    });
    let bytes = body.to_string().into_bytes();
    Body { name: "chat", protocol: "openai", path: "/v1/chat/completions", contract, bytes, json: None }
}

/// A number from 0 to 1.
fn unit(at: u64) -> f64 {
    (mixed(at) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Well-mixed bits.
const fn mixed(at: u64) -> u64 {
    let x = at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 31)
}
