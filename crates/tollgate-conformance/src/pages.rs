//! Requests of ordinary inference traffic, for benchmarks: prose that no run saw before, chats, tensors.

use std::fmt::Write as _;

use crate::front::Request;

/// What is sent to a model server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Page {
    /// A chat of 956 bytes with twelve leaf values.
    Chat,
    /// A `GET` without a query.
    Get,
    /// A chat with a prompt of so many characters.
    Prose(usize),
    /// A call of 100 bytes.
    Small,
    /// A call of the Open Inference Protocol with so many numbers.
    Tensor(usize),
}

/// One request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// `GET` or `POST`
    pub method: &'static str,
    /// Where it goes.
    pub path: &'static str,
    /// JSON; empty with `GET`.
    pub body: String,
}

/// Bytes of [`Page::Chat`].
pub const CHAT_BYTES: usize = 956;

impl Page {
    /// Every row of the table in the order in which it is printed.
    pub const ALL: [Self; 11] = [
        Self::Get,
        Self::Chat,
        Self::Prose(100),
        Self::Prose(2_000),
        Self::Prose(10_000),
        Self::Prose(100_000),
        Self::Tensor(10),
        Self::Tensor(100),
        Self::Tensor(768),
        Self::Tensor(1_000),
        Self::Tensor(10_000),
    ];

    /// As in the table: `get`, `chat`, `prose-2000`, `tensor-768`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Chat => "chat".to_owned(),
            Self::Get => "get".to_owned(),
            Self::Prose(characters) => format!("prose-{characters}"),
            Self::Small => "post-100".to_owned(),
            Self::Tensor(numbers) => format!("tensor-{numbers}"),
        }
    }

    /// The row of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain([Self::Small]).find(|page| page.name() == name)
    }

    /// [`Page::request`] as a server reads it.
    #[must_use]
    pub fn head_and_body(self, seed: u64) -> Request {
        let sent = self.request(seed);
        let mut headers = vec![
            ("Host", "bench.test".to_owned()),
            ("User-Agent", "python-httpx/0.27".to_owned()),
            ("Accept", "*/*".to_owned()),
        ];
        if !sent.body.is_empty() {
            headers.push(("Content-Type", "application/json".to_owned()));
            headers.push(("Content-Length", sent.body.len().to_string()));
        }
        Request {
            line: format!("{} {} HTTP/1.1", sent.method, sent.path).into_bytes(),
            method: sent.method.into(),
            target: sent.path.into(),
            protocol: b"HTTP/1.1".to_vec(),
            headers: headers.into_iter().map(|(name, value)| (name.into(), value.into_bytes())).collect(),
            body: sent.body.into(),
            refused: None,
        }
    }

    /// A request; another `seed` gives another text and other numbers.
    #[must_use]
    pub fn request(self, seed: u64) -> Sent {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15);
        let chat = |body: String| Sent { method: "POST", path: "/v1/chat/completions", body };
        match self {
            Self::Get => Sent { method: "GET", path: "/v1/models", body: String::new() },
            Self::Chat => {
                let rest = chat_body("").len();
                chat(chat_body(&prose(CHAT_BYTES - rest, &mut dice)))
            }
            Self::Prose(characters) => chat(chat_body(&prose(characters, &mut dice))),
            Self::Small => {
                let (one, two) = (dice.below(1_000_000), dice.below(1_000_000));
                let body = format!(
                    r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.{one:06},0.{two:06}]}}],"id":"{two:06}"}}"#
                );
                Sent { method: "POST", path: "/v2/models/m/infer", body: format!("{body:100}") }
            }
            Self::Tensor(numbers) => {
                Sent { method: "POST", path: "/v2/models/m/infer", body: tensor_body(numbers, &mut dice) }
            }
        }
    }
}

fn chat_body(prompt: &str) -> String {
    format!(
        r#"{{"model":"llama-3-8b-instruct","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{prompt}"}}],"temperature":0.7,"top_p":0.95,"max_tokens":256,"n":1,"stream":false,"user":"user-4711","seed":42}}"#
    )
}

/// Numbers as libraries print them: eight digits for an embedding, more for the others.
fn tensor_body(numbers: usize, dice: &mut Dice) -> String {
    let mut data = String::with_capacity(numbers * 21);
    for place in 0..numbers {
        let comma = if place == 0 { "" } else { "," };
        let sign = if dice.below(2) == 0 { "-" } else { "" };
        let written = match numbers {
            768 => write!(data, "{comma}{sign}0.{:07}", dice.below(10_000_000)),
            _ => write!(data, "{comma}{sign}0.{:016}", dice.below(10_000_000_000_000_000)),
        };
        written.expect("text grows");
    }
    format!(r#"{{"id":"bench-1","inputs":[{{"name":"x","shape":[1,{numbers}],"datatype":"FP32","data":[{data}]}}]}}"#)
}

/// Sentences of words that were never said in this order; exactly so many ASCII characters.
fn prose(characters: usize, dice: &mut Dice) -> String {
    const SYLLABLES: [&str; 48] = [
        "an", "ber", "cal", "den", "el", "fin", "gra", "ho", "in", "ju", "kel", "lo", "mi", "nor", "op", "pre", "qui",
        "ra", "ser", "ti", "un", "ver", "wa", "xen", "yo", "zi", "tion", "ment", "ly", "ing", "ed", "er", "con", "dis",
        "sub", "ter", "al", "ous", "able", "ic", "ar", "est", "ful", "ness", "ty", "ism", "ance", "ion",
    ];
    const SMALL: [&str; 16] =
        ["the", "of", "and", "a", "to", "in", "is", "that", "it", "for", "as", "with", "on", "by", "we", "not"];
    const ENDS: [&str; 12] = [" ", " ", " ", " ", " ", " ", " ", ", ", ". ", "? ", ": ", " - "];
    let mut text = String::with_capacity(characters + 32);
    while text.len() < characters {
        if dice.below(5) < 2 {
            text.push_str(SMALL[dice.below(16)]);
        } else {
            for _ in 0..=dice.below(3) {
                text.push_str(SYLLABLES[dice.below(48)]);
            }
        }
        if dice.below(40) == 0 {
            write!(text, " {}", dice.below(2_000)).expect("text grows");
        }
        text.push_str(ENDS[dice.below(12)]);
        if dice.below(60) == 0 {
            text.push_str("\\n");
        }
    }
    text.truncate(characters);
    if text.ends_with('\\') {
        text.pop();
        text.push('.');
    }
    text
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 5).unwrap_or(0) % most
    }
}

#[cfg(test)]
mod tests {
    use super::{CHAT_BYTES, Page};

    #[test]
    fn every_row_has_its_size_and_is_json() {
        for page in Page::ALL.into_iter().chain([Page::Small]) {
            assert_eq!(Page::from_name(&page.name()), Some(page));
            for seed in 0..50 {
                let sent = page.request(seed);
                if page == Page::Get {
                    assert!(sent.body.is_empty());
                    continue;
                }
                let value: serde_json::Value = serde_json::from_str(&sent.body).expect("JSON");
                match page {
                    Page::Chat => assert_eq!(sent.body.len(), CHAT_BYTES),
                    Page::Small => assert_eq!(sent.body.len(), 100),
                    Page::Tensor(numbers) => {
                        assert_eq!(value["inputs"][0]["data"].as_array().map(Vec::len), Some(numbers));
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn another_seed_is_another_text() {
        let bodies: std::collections::BTreeSet<String> =
            (0..500).map(|seed| Page::Prose(100).request(seed).body).collect();
        assert_eq!(bodies.len(), 500);
    }
}
