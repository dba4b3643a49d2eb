//! What the demo is made of: a private directory with a development CA, a certificate, keys and a configuration, and
//! the gateway that serves it. Nothing here is good for production but the way it is put together.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tollgate_core::time::Clock;
use tollgate_gateway::config::KeyDesk;
use tollgate_gateway::start::{Gateway, Setup};
use tollgate_layers::auth::{NewKey, Timestamp};
use tollgate_model::samples::samples;

use super::backend::Backend;
use super::client::Client;
use super::tour::question;
use crate::embed::Onnx;
use crate::{environment, keys};

/// How long the certificates and keys of a demo live.
const DAYS: u32 = 7;
/// The configuration, but for the backend's port.
const CONFIG: &str = include_str!("demo.yaml");

/// A running demo. Its parts are dropped in this order: the directory goes last.
pub(super) struct Scene {
    gateway: Option<Gateway>,
    _backend: Backend,
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) took: Took,
    pub(super) home: Home,
}

/// The keys of the two tenants and of the operator.
pub(super) struct Keys {
    pub(super) demo: String,
    pub(super) flood: String,
}

/// How long the start took.
pub(super) struct Took {
    /// Certificates, keys, configuration.
    pub(super) prepare: Duration,
    /// From reading the configuration to listening sockets, models loaded.
    pub(super) gateway: Duration,
}

/// The private directory.
pub(super) struct Home {
    pub(super) path: PathBuf,
    keep: bool,
}

impl Scene {
    /// Prepares everything and starts the gateway.
    pub(super) fn start(keep: Option<&Path>, clock: &Clock) -> anyhow::Result<Self> {
        let began = clock.now();
        let home = Home::make(keep)?;
        let root = certificates(&home, clock)?;
        home.secret("pepper", &random_hex()?)?;
        home.secret("admin.key", &random_hex()?)?;
        let backend = Backend::start()?;
        home.write("tollgate.yaml", CONFIG.replace("BACKEND_PORT", &backend.address.port().to_string()).as_bytes())?;
        questions(&home)?;
        let keys = Keys { demo: issue(&home, "demo", clock)?, flood: issue(&home, "flood", clock)? };
        let prepared = clock.now();
        let setup = Setup { config: home.config(), env: environment(), embed: Box::new(Onnx::default()), access: None };
        let gateway = Gateway::start(setup)?;
        let took = Took { prepare: prepared.since(began), gateway: clock.now().since(prepared) };
        let at = |name: &str| gateway.addresses().get(name).copied().context("the configuration names it");
        let (address, admin) = (at("main")?, at("admin")?);
        let client = Client::new(address, root, clock.clone())?;
        Ok(Self { gateway: Some(gateway), _backend: backend, address, admin, client, keys, took, home })
    }

    /// What reloads and stops the gateway.
    pub(super) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs until the scene is dropped")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.drain();
        }
    }
}

impl Home {
    /// A new directory of a name that nobody can guess, or the one to keep; only its owner may enter.
    fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let name = || anyhow::Ok(std::env::temp_dir().join(format!("tollgate-demo-{}", &random_hex()?[..16])));
        let path = keep.map_or_else(name, |path| Ok(path.to_owned()))?;
        if keep.is_some() && path.exists() {
            if path.read_dir().with_context(|| format!("reading `{}`", path.display()))?.next().is_some() {
                bail!("`{}` is not empty: the demo writes over nothing", path.display());
            }
        } else {
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.with_context(|| format!("making the directory `{}`", path.display()))?;
        }
        let path = path.canonicalize()?;
        Ok(Self { path, keep: keep.is_some() })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("tollgate.yaml")
    }

    pub(super) fn access(&self) -> PathBuf {
        self.path.join("access.jsonl")
    }

    /// Writes a file that only its owner may read.
    fn secret(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.create(name, text.as_bytes(), 0o600)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.create(name, bytes, 0o644)
    }

    fn create(&self, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let file = File::options().write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.with_context(|| format!("writing `{}`", path.display()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed holds nothing that is still good for anything.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Makes `ca.pem`, `cert.pem` and `key.pem`, and gives the root. The key of the CA is forgotten.
fn certificates(home: &Home, clock: &Clock) -> anyhow::Result<CertificateDer<'static>> {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(clock.unix_ms());
    let until = now + Duration::from_hours(24) * DAYS;
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "Tollgate demo CA: trust it for the demo only");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (root.not_before, root.not_after) = (now - Duration::from_hours(1), until);
    let root_cert = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);
    let leaf_key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned))?;
    leaf.distinguished_name.push(DnType::CommonName, "Tollgate demo");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = (now - Duration::from_hours(1), until);
    leaf.use_authority_key_identifier_extension = true;
    let leaf_cert = leaf.signed_by(&leaf_key, &issuer)?;
    home.write("ca.pem", root_cert.pem().as_bytes())?;
    home.write("cert.pem", leaf_cert.pem().as_bytes())?;
    home.secret("key.pem", &leaf_key.serialize_pem())?;
    Ok(root_cert.der().clone())
}

/// Bodies for `curl`: the first held-out digit, as plain JSON and as an OIP tensor.
fn questions(home: &Home) -> anyhow::Result<()> {
    let sample = samples("digits_cnn").into_iter().next().context("the samples are in the binary")?;
    home.write("digit.json", question(&sample).to_string().as_bytes())?;
    let tensor = json!({ "name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": sample.features });
    home.write("tensor.json", json!({ "inputs": [tensor] }).to_string().as_bytes())
}

/// Issues a key as `tollgate keys new --tenant TENANT` does.
fn issue(home: &Home, tenant: &str, clock: &Clock) -> anyhow::Result<String> {
    let desk = KeyDesk::open(&home.config(), &|_| None)?;
    let request = NewKey {
        env: "demo".to_owned(),
        tenant: tenant.to_owned(),
        days: Some(DAYS),
        created_by: "tollgate demo".to_owned(),
        ..NewKey::default()
    };
    let (issued, _) = keys::issue(desk, request, None, Timestamp::of_unix_ms(clock.unix_ms()))?;
    Ok(issued.reveal().to_owned())
}

/// 32 random bytes.
fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
