//! The one place of the tests that connects.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// A socket or a TLS stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket underneath.
    fn tcp(&self) -> &TcpStream;

    /// The certificate that the other side showed, if this is a client's TLS.
    fn certificate(&self) -> Option<CertificateDer<'static>> {
        None
    }

    /// How its handshake went, if this is a client's TLS.
    fn handshake(&self) -> Option<HandshakeKind> {
        None
    }
}

impl Io for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Io for tokio_rustls::client::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.get_ref().1.peer_certificates()?.first().map(|leaf| leaf.clone().into_owned())
    }

    fn handshake(&self) -> Option<HandshakeKind> {
        self.get_ref().1.handshake_kind()
    }
}

impl Io for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The host that every test gateway serves.
pub const HOST: &str = "gateway.test";

/// Connects, without delay of small writes.
///
/// # Errors
/// What the system says.
#[expect(clippy::disallowed_methods, reason = "tests connect here and nowhere else")]
pub async fn tcp(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects from this address of loopback.
///
/// # Errors
/// What the system says.
pub async fn tcp_from(from: IpAddr, at: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(at).await
}

/// Connects and shakes hands as a client of [`HOST`].
///
/// # Errors
/// What the system or TLS says.
pub async fn tls(at: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<impl Io + use<>> {
    tls_over(tcp(at).await?, config).await
}

/// Shakes hands over a connection that is there.
///
/// # Errors
/// What TLS says.
pub async fn tls_over(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<impl Io + use<>> {
    let name = ServerName::try_from(HOST).expect("a name");
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// Makes the close of `io` a reset: whatever is unread on the way is lost.
pub fn doom(io: &dyn Io) {
    let socket = socket2::SockRef::from(io.tcp());
    drop(socket.set_linger(Some(std::time::Duration::ZERO)));
}
