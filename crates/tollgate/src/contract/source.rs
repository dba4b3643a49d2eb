//! Where a contract is learned from: a file, one address, or a server that is asked what it has.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use tollgate_gateway::state::Embed as _;
use tollgate_gateway::upstream::probe::Place;
use tollgate_layers::protocol::metadata::{self, Listed, Ports, Told};

use crate::embed::Onnx;

/// The largest file that is read as text.
const LARGEST: u64 = 16 << 20;
/// The most models of a list that a server is asked about one by one.
const MOST: usize = 64;

/// What was learned, and from where.
pub(super) struct Learned {
    /// The file or the address.
    pub(super) origin: String,
    /// What it told.
    pub(super) told: Told,
    /// The name of the only model.
    pub(super) name: Option<String>,
}

/// Where to learn from.
pub(super) struct Source<'a> {
    pub(super) from: &'a str,
    pub(super) model: Option<&'a str>,
    pub(super) ca: Option<&'a Path>,
}

impl Source<'_> {
    pub(super) fn learn(&self) -> anyhow::Result<Vec<Learned>> {
        if !self.from.contains("://") {
            let told = file(Path::new(self.from)).with_context(|| format!("`{}`", self.from))?;
            return Ok(vec![self.learned(self.from.to_owned(), told)]);
        }
        let ca = self.ca.map(|ca| std::fs::read(ca).with_context(|| format!("`{}`", ca.display()))).transpose()?;
        let place = Place::new(self.from, ca.as_deref()).map_err(anyhow::Error::msg)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        runtime.block_on(self.ask(&place))
    }

    async fn ask(&self, place: &Place) -> anyhow::Result<Vec<Learned>> {
        if !matches!(place.path.as_str(), "" | "/") {
            let told = told(place, &place.path).await?;
            return Ok(vec![self.learned(self.from.to_owned(), told)]);
        }
        let base = self.from.trim_end_matches('/');
        if let Some(model) = self.model {
            let mut ports = about(place, model).await?;
            // Triton's metadata does not say how many rows it takes at once; its configuration does.
            if let Ok(Told::Model(more)) = told(place, &format!("/v2/models/{model}/config")).await {
                ports.max_batch = more.max_batch;
            }
            return Ok(vec![self.learned(format!("{base} ({model})"), Told::Model(ports))]);
        }
        let mut failures = Vec::new();
        for path in ["/v1/models", "/api/tags", "/openapi.json"] {
            match told(place, path).await {
                Ok(Told::List(list)) => return Ok(listed(place, base, path, list).await),
                Ok(Told::OpenApi(document)) if document.operations.is_empty() => {
                    failures.push(format!("{path} has no path that takes JSON"));
                }
                Ok(found) => return Ok(vec![self.learned(format!("{base}{path}"), found)]),
                Err(why) => failures.push(format!("{why:#}")),
            }
        }
        bail!("{base} tells nothing of its models: {}; `--model` asks about one", failures.join("; "))
    }

    fn learned(&self, origin: String, told: Told) -> Learned {
        let own = match &told {
            Told::Model(ports) => ports.name.clone(),
            Told::List(_) | Told::OpenApi(_) => None,
        };
        let name = self.model.map(str::to_owned).or(own);
        Learned { origin, told, name }
    }
}

/// The models of a list, one by one where the server has words for the first of them.
async fn listed(place: &Place, base: &str, path: &str, list: Vec<Listed>) -> Vec<Learned> {
    let mut found = Vec::new();
    for Listed { name, .. } in list.iter().take(MOST) {
        let Ok(ports) = about(place, name).await else { break };
        found.push(Learned { origin: format!("{base} ({name})"), told: Told::Model(ports), name: Some(name.clone()) });
    }
    if found.is_empty() {
        found.push(Learned { origin: format!("{base}{path}"), told: Told::List(list), name: None });
    }
    found
}

/// Inputs and outputs of one model.
async fn about(place: &Place, model: &str) -> anyhow::Result<Ports> {
    let mut failures = Vec::new();
    for path in [format!("/v2/models/{model}"), format!("/v1/models/{model}/metadata")] {
        match told(place, &path).await {
            Ok(Told::Model(ports)) => return Ok(ports),
            Ok(_) => failures.push(format!("{path} tells of no model")),
            Err(why) => failures.push(format!("{why:#}")),
        }
    }
    bail!("{}", failures.join("; "))
}

async fn told(place: &Place, path: &str) -> anyhow::Result<Told> {
    let body = place.ask(path).await.map_err(|why| anyhow!("{path}: {why}"))?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| anyhow!("{path}: it is no JSON"))?;
    metadata::read(&document).map_err(|why| anyhow!("{path}: {why}"))
}

fn file(path: &Path) -> anyhow::Result<Told> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ending == "onnx" {
        let backend = Onnx::default().file(std::fs::read(path)?, None, &[]).map_err(anyhow::Error::msg)?;
        let signature = backend.signature();
        let (inputs, outputs) = (signature.inputs.clone(), signature.outputs.clone());
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        return Ok(Told::Model(Ports { name, inputs, outputs, max_batch: None }));
    }
    if path.metadata()?.len() > LARGEST {
        bail!("larger than {} MiB", LARGEST >> 20);
    }
    let text = std::fs::read_to_string(path)?;
    let document = if ending == "pbtxt" {
        metadata::pbtxt(&text).map_err(anyhow::Error::msg)?
    } else {
        serde_json::from_str(&text).context("this is no JSON")?
    };
    metadata::read(&document).map_err(anyhow::Error::msg)
}
