//! The demo models inside the binary, by name. How they were made and where their data comes from stands in
//! `models/README.md`; nothing here is read from disk.

use std::sync::Arc;

use tollgate_core::time::Clock;

use crate::error::LoadError;
use crate::load::LoadOptions;
use crate::model::Model;
use crate::pool::Pool;
use crate::range::{ColumnSet, PortRange};
use crate::tokens;

/// One demo model and what its file does not say.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Its name, here and in a configuration.
    pub name: &'static str,
    /// What it answers, in a few words.
    pub task: &'static str,
    /// The ONNX file.
    pub file: &'static [u8],
    /// Names of the classes, in the order of `probabilities`.
    pub labels: &'static [&'static str],
    /// Names of the columns of the input, where they have some.
    pub columns: &'static [&'static str],
    /// Whether it takes text.
    pub text: bool,
    ranges: fn() -> Vec<PortRange>,
    pub(crate) case: &'static str,
}

/// Every demo model.
pub const CARDS: [Card; 3] = [
    Card {
        name: "digits_cnn",
        task: "which digit an 8x8 grey image of handwriting shows",
        file: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits_cnn.onnx")),
        labels: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        columns: &[],
        text: false,
        ranges: || vec![PortRange::between("image", 0.0, 16.0)],
        case: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits_cnn.case.json")),
    },
    Card {
        name: "fraud_mlp",
        task: "how likely a web address is a phishing site, from nine features of its page",
        file: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/fraud_mlp.onnx")),
        labels: &["legitimate", "phishing"],
        columns: &[
            "empty_server_form_handler",
            "popup_window",
            "https",
            "request_from_other_domain",
            "anchor_from_other_domain",
            "is_popular",
            "long_url",
            "age_of_domain",
            "ip_in_url",
        ],
        text: false,
        ranges: || {
            let columns = vec![
                ColumnSet { at: 1..=7, one_of: vec![0.0, 0.5, 1.0] },
                ColumnSet { at: 8..=9, one_of: vec![0.0, 1.0] },
            ];
            vec![PortRange { columns, ..PortRange::between("features", 0.0, 1.0) }]
        },
        case: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/fraud_mlp.case.json")),
    },
    Card {
        name: "sentiment",
        task: "whether a short English text is positive or negative",
        file: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/sentiment.onnx")),
        labels: &["negative", "positive"],
        columns: &[],
        text: true,
        ranges: || vec![PortRange::between("token_ids", 0.0, f64::from(tokens::TABLE - 1))],
        case: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/sentiment.case.json")),
    },
];

/// The demo model of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Card> {
    const ALL: &[Card] = &CARDS;
    ALL.iter().find(|card| card.name == name)
}

impl Card {
    /// Ranges of the input's values.
    #[must_use]
    pub fn ranges(&self) -> Vec<PortRange> {
        (self.ranges)()
    }

    /// How the model is loaded: labels, text and ranges of the card, the rest as [`LoadOptions::new`] says.
    #[must_use]
    pub fn options(&self, pool: Arc<Pool>, clock: Clock) -> LoadOptions {
        LoadOptions {
            labels: self.labels.iter().map(|label| (*label).into()).collect(),
            text: self.text,
            ranges: self.ranges(),
            ..LoadOptions::new(pool, clock)
        }
    }

    /// Loads the model.
    ///
    /// # Errors
    /// [`LoadError::Late`] or [`LoadError::Thread`] on a machine in distress; the files themselves are tested.
    pub fn load(&self, pool: Arc<Pool>, clock: Clock) -> Result<Model, LoadError> {
        Model::load(self.file, self.options(pool, clock))
    }
}
