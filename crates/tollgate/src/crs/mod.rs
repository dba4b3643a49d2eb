//! `tollgate crs`: fetches releases of the OWASP Core Rule Set, which does not ship with the gateway.

mod fetch;
mod proxy;
mod releases;
mod unpack;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::environment;
use crate::exit::Exit;
use fetch::{Fetch, Trust};
use proxy::Proxies;

/// How long a download may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// The OWASP Core Rule Set.
#[derive(Args, Debug)]
pub(crate) struct Crs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fetch a release over HTTPS, check its SHA-256, unpack it, and print the lines for the configuration. Honours
    /// `HTTPS_PROXY` and `NO_PROXY`.
    Install(Install),
    /// List the releases whose SHA-256 this program knows.
    List,
}

#[derive(Args, Debug)]
struct Install {
    /// The release, such as `4.29.0`.
    version: String,
    /// Where to put it; must not exist. Default: `crs-VERSION`.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The SHA-256 of the archive, for a release that this program does not know.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Where the archive is, if not at github.com/coreruleset/coreruleset: `https://…`.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// PEM file with the roots to trust, instead of the web's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Crs {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.what {
            What::Install(install) => install.run(),
            What::List => {
                list();
                Ok(Exit::Good)
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn list() {
    for (version, sha256) in releases::KNOWN {
        println!("{version}  sha256:{sha256}");
    }
}

impl Install {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn run(self) -> anyhow::Result<Exit> {
        let version = self.version.trim_start_matches('v');
        if !releases::is_version(version) {
            eprintln!("tollgate: `{}` is not a version such as `4.29.0`", self.version);
            return Ok(Exit::Usage);
        }
        let Some(sha256) = self.sha256.as_deref().or_else(|| releases::sha256(version)) else {
            eprintln!(
                "tollgate: the SHA-256 of release {version} is not known to this program\n  \
                 hint: take it from the release's page and state it with `--sha256`; `tollgate crs list` names the known ones"
            );
            return Ok(Exit::Usage);
        };
        let Some(wanted) = releases::digest(sha256) else {
            eprintln!("tollgate: `{sha256}` is not a SHA-256 in hexadecimal");
            return Ok(Exit::Usage);
        };
        let into = self.into.clone().unwrap_or_else(|| PathBuf::from(format!("crs-{version}")));
        if into.symlink_metadata().is_ok() {
            bail!("`{}` exists already: nothing was fetched", into.display());
        }
        let url = self.from.clone().unwrap_or_else(|| releases::url(version));
        let archive = self.fetch(&url)?;
        let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &archive);
        if found.as_ref() != wanted {
            eprintln!(
                "tollgate: the archive is not the one that is wanted: its SHA-256 is {}, not {sha256}; nothing was unpacked",
                releases::hex(found.as_ref())
            );
            return Ok(Exit::Findings);
        }
        let files = unpack::unpack(&archive).context("the archive is refused; nothing was unpacked")?;
        let count = unpack::write(&files, &into)?;
        println!("# {count} files of the Core Rule Set {version} are in `{}`. For the configuration:", into.display());
        println!("waf:\n  mode: observe\n  crs: {}", into.display());
        println!("# Settings: copy `crs-setup.conf.example` to `crs-setup.conf` in that directory.");
        Ok(Exit::Good)
    }

    fn fetch(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let trust = match &self.ca {
            None => Trust::Web,
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("reading `{}`", file.display()))?;
                let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                Trust::Roots(roots.with_context(|| format!("`{}` holds no certificates", file.display()))?)
            }
        };
        // Whoever names another place may be sent on from there; from the usual place only its own stores are followed.
        let hosts = if self.from.is_some() { &[][..] } else { &releases::HOSTS };
        let fetch = Fetch::new(trust, Proxies::of(&environment()), hosts)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        let work = async { tokio::time::timeout(PATIENCE, fetch.get(url)).await };
        runtime
            .block_on(work)
            .context("it took longer than five minutes")
            .and_then(|fetched| fetched)
            .with_context(|| format!("fetching `{url}`"))
    }
}
