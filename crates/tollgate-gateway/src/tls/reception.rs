//! The handshake at a listener that asks for client certificates: whether it does so depends on the host that is named.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::{Acceptor, NoServerSessionStorage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate_core::identity::Certificate;
use tollgate_layers::auth::{AskFor, Door};

use super::mtls::{Trusts, Verifier};
use super::table::{CertTable, guarded_config};
use crate::config::TlsVersion;

/// How one listener asks its clients. One generation of it: replaced whole when bundles or lists change.
#[derive(Debug)]
pub struct Reception {
    door: Door,
    trusts: Arc<Trusts>,
    optional: Arc<ServerConfig>,
    require: Arc<ServerConfig>,
}

/// A handshake that succeeded.
pub struct Shaken<T> {
    /// The stream.
    pub stream: TlsStream<T>,
    /// What the client showed.
    pub certificate: Option<Arc<Certificate>>,
}

impl Reception {
    /// How a listener asks that shows the certificates of `table`.
    ///
    /// # Errors
    /// If the provider does not know the versions.
    pub fn new(
        (table, listener): (&Arc<CertTable>, &str),
        min: TlsVersion,
        door: Door,
        trusts: &Arc<Trusts>,
    ) -> io::Result<Self> {
        let config = |required| -> io::Result<Arc<ServerConfig>> {
            let verifier = Arc::new(Verifier { trusts: Arc::clone(trusts), required });
            let mut config = guarded_config(table, listener, min, verifier)?;
            // A session that is resumed is not verified again: a certificate that was revoked or has ended would live on.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(Arc::new(config))
        };
        Ok(Self { optional: config(false)?, require: config(true)?, door, trusts: Arc::clone(trusts) })
    }

    /// Shakes hands; `plain` is for hosts whose clients are asked for nothing.
    ///
    /// # Errors
    /// What went wrong; the client was told by an alert.
    pub async fn shake<T>(&self, io: T, plain: &Arc<ServerConfig>, unix_ms: u64) -> io::Result<Shaken<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let host = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let config = match self.door.asks(host.as_deref()) {
            AskFor::None => plain,
            AskFor::Optional => &self.optional,
            AskFor::Require => &self.require,
        };
        let stream = hello.into_stream(Arc::clone(config)).await?;
        let certificate = match stream.get_ref().1.peer_certificates() {
            None | Some([]) => None,
            Some(chain) => {
                let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(unix_ms));
                let owner = self.trusts.owner(chain, now);
                Some(Arc::new(owner.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?))
            }
        };
        Ok(Shaken { stream, certificate })
    }
}
