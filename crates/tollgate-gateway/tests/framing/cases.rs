//! Reads `tests/framing.yaml`: requests byte for byte, and what a strict listener answers.

use serde::Deserialize;

/// One request and its outcome; the file itself says what the fields mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    request: String,
    pub(crate) status: u16,
    pub(crate) closes: bool,
    #[serde(default = "one")]
    pub(crate) replies: usize,
    pub(crate) by: Option<By>,
    pub(crate) why: Option<String>,
}

/// Who refuses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Body,
    Gate,
    Hygiene,
}

const fn one() -> usize {
    1
}

impl Case {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        serde_saphyr::from_str(include_str!("../framing.yaml")).expect("`framing.yaml` is well-formed")
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let latin = |text: &str| -> Vec<u8> {
            text.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte per character")).collect()
        };
        let mut bytes = Vec::new();
        let mut rest = self.request.as_str();
        while let Some((before, after)) = rest.split_once("@{") {
            let (repeat, behind) = after.split_once('}').expect("`@{` is closed");
            let (text, times) = repeat.rsplit_once('*').expect("`@{text*N}`");
            bytes.extend(latin(before));
            bytes.extend(latin(text).repeat(times.parse().expect("a number of times")));
            rest = behind;
        }
        bytes.extend(latin(rest));
        bytes
    }

    /// Every place to split at; of very long requests only some.
    pub(crate) fn splits(&self) -> impl Iterator<Item = usize> + use<> {
        let len = self.bytes().len();
        (1..len).step_by(if len < 4096 { 1 } else { 1009 })
    }
}
