//! `tollgate policy explain`: one request that somebody imagines, and everything that was asked about it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tollgate_layers::authz::{Action, Explained, Imagined, Payload};

use super::desk;
use crate::exit::Exit;

/// Say what would be decided about a request, and which policies decide; or print the allow lists as policies.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// Print what the allow lists of the configuration mean, as policies in Cedar, and nothing else.
    #[arg(long, conflicts_with = "route")]
    lists: bool,
    /// The route.
    #[arg(long, value_name = "NAME", required_unless_present = "lists")]
    route: Option<String>,
    /// The model. Default: none, for what a route answers by itself.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// What is asked.
    #[arg(long, value_enum, default_value = "infer")]
    action: Word,
    /// The caller's tenant. Default: nobody's, on a route that asks for no credential.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Who asks.
    #[arg(long, value_name = "NAME", default_value = "")]
    principal: String,
    /// The caller is known by a certificate: a `Workload`.
    #[arg(long)]
    workload: bool,
    /// The caller showed a certificate.
    #[arg(long)]
    mtls: bool,
    /// A scope of the credential; may be given more than once. Default: all of the tenant's but `admin`.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A model that the credential is held to; may be given more than once.
    #[arg(long = "held-to", value_name = "MODEL")]
    held_to: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    ip: IpAddr,
    /// The hour of the day, in the time zone of `authz`.
    #[arg(long, value_name = "0-23", default_value = "12", value_parser = clap::value_parser!(u8).range(..24))]
    hour: u8,
    /// What the call is made of: `text`, `tensor`, `media`, `json`, `other`.
    #[arg(long, value_name = "KIND", default_value = "")]
    kind: String,
    /// Bytes of its body.
    #[arg(long, value_name = "N", default_value = "0")]
    bytes: u64,
    /// Its rows or texts.
    #[arg(long, value_name = "N", default_value = "1")]
    batch: u64,
    /// The most tokens that may be written. Default: not said.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// The model server is to fetch something.
    #[arg(long)]
    has_url: bool,
    /// What it is expected to cost, in microseconds.
    #[arg(long, value_name = "N", default_value = "0")]
    cost: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// An action, for the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Word {
    Embed,
    Infer,
    List,
    Stream,
}

impl From<Word> for Action {
    fn from(word: Word) -> Self {
        match word {
            Word::Embed => Self::Embed,
            Word::Infer => Self::Infer,
            Word::List => Self::List,
            Word::Stream => Self::Stream,
        }
    }
}

impl Explain {
    #[expect(clippy::print_stdout, reason = "the bin speaks to people")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let desk = desk(&self.config)?;
        if self.lists {
            print!("{}", desk.authz.lists_as_policies(&desk.routes.all().iter().map(|route| &**route)));
            return Ok(Exit::Good);
        }
        let json = self.json;
        let explained = desk.authz.explain(&self.imagined(), desk.routes.all()).map_err(anyhow::Error::msg)?;
        if json {
            println!("{}", serde_json::to_string(&explained)?);
        } else {
            print!("{}", page(&explained));
        }
        Ok(if explained.allowed { Exit::Good } else { Exit::Findings })
    }

    fn imagined(self) -> Imagined {
        Imagined {
            tenant: self.tenant,
            principal: self.principal,
            workload: self.workload,
            mtls: self.mtls,
            scopes: self.scopes,
            held_to: self.held_to,
            route: self.route.unwrap_or_default(),
            model: self.model,
            action: self.action.into(),
            ip: self.ip,
            hour: self.hour,
            payload: Payload {
                kind: self.kind.into(),
                bytes: self.bytes,
                batch: self.batch,
                max_tokens: self.max_tokens,
                has_url: self.has_url,
            },
            cost: self.cost,
            unix_ms: None,
        }
    }
}

/// A page for people.
fn page(explained: &Explained) -> String {
    let Explained { allowed, because, listed, steps } = explained;
    let mut out = match because {
        None => "allowed\n".to_owned(),
        Some(because) => format!("denied: {because}\n"),
    };
    out.push_str(if *listed { "the allow lists permit it\n" } else { "the allow lists do not permit it\n" });
    for step in steps {
        let by = if step.by.is_empty() { "none applies".to_owned() } else { step.by.join(", ") };
        let reads = if step.reads.is_empty() { "nothing of the request".to_owned() } else { step.reads.join(", ") };
        out.push_str(&format!("{}: {} policies, which look at {reads}; {by}\n", step.about, step.policies));
        for failed in &step.failed {
            out.push_str(&format!("  failed: {failed}\n"));
        }
    }
    if steps.is_empty() && *allowed {
        out.push_str("no policy has a say in it\n");
    }
    out
}
