//! `tollgate contract`: contracts that write themselves.

mod draft;
mod paths;
mod replies;
mod source;
mod texts;
mod watched;
mod yaml;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use draft::Draft;
use source::Source;
use watched::Watched;

/// Contracts of models.
#[derive(Args, Debug)]
pub(crate) struct Contract {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Learn(Learn),
}

/// Print a contract for review, made of what a model server tells of its models: metadata of the Open Inference Protocol,
/// of TensorFlow Serving or of Triton, a list of models, an OpenAPI document, or an ONNX file.
///
/// What is printed goes under `models` and `routes`: include the file, or copy from it. Nothing is changed at the server,
/// which is asked a few GETs, without redirects, each bounded to 10 seconds and 8 MiB.
#[derive(Args, Debug)]
struct Learn {
    /// A server (`http://127.0.0.1:8000`), an address of it (`…/openapi.json`, `…/v2/models/M`), or a file: JSON,
    /// `config.pbtxt`, ONNX.
    #[arg(long, value_name = "URL|FILE")]
    from: String,
    /// The model to ask about, and its name in the contract. Default: all that the server lists.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Name of the upstream that the models stand behind.
    #[arg(long, value_name = "NAME", default_value = "server")]
    upstream: String,
    /// Figures of watched calls, as `GET /observed` of the admin listener answers; `-` reads them from stdin.
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
    /// PEM file with the roots to trust for `https://`, instead of the web's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Contract {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.what {
            What::Learn(learn) => learn.run(),
        }
    }
}

impl Learn {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn run(self) -> anyhow::Result<Exit> {
        let watched = Watched::read(self.observed.as_deref())?;
        let source = Source { from: &self.from, model: self.model.as_deref(), ca: self.ca.as_deref() };
        let learned = source.learn()?;
        let draft = Draft::new(&self.upstream, watched).write(&learned);
        if draft.models == 0 {
            eprintln!("{}tollgate: nothing that a contract could be made of was told by `{}`", draft.text, self.from);
            return Ok(Exit::Findings);
        }
        print!("{}", draft.text);
        Ok(Exit::Good)
    }
}
