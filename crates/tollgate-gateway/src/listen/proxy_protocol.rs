//! The PROXY protocol, version 2: what a proxy in front of us says of its client before the first byte of that client.
//!
//! Strict: streams of IPv4 and IPv6, and the proxy's own `LOCAL` connections. Version 1, datagrams, sockets of the file
//! system and unknown families are refused: the proxy's address would be taken for a client's. Whom to believe, and what
//! follows, is the business of `accept`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of its fixed part.
pub const FIXED: usize = 16;
/// The most bytes of extensions.
const MOST_EXTENSIONS: usize = 4096;
/// Addresses and ports of two ends: IPv4 and IPv6.
const V4: usize = 12;
const V6: usize = 36;
/// The extension that holds the checksum of the header.
const CRC32C: u8 = 0x03;
/// How long a header may take to come.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    /// The proxy speaks for itself, such as to ask whether we are there.
    Local,
    /// It passes on a connection.
    Proxied {
        /// Who connected.
        from: SocketAddr,
        /// What they connected to.
        to: SocketAddr,
    },
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// The checksum is another, or there are two.
    #[error("its checksum is wrong")]
    Checksum,
    /// An extension does not end where the header does.
    #[error("an extension is malformed")]
    Extension,
    /// No TCP over IPv4 or IPv6.
    #[error("it is of a family or a transport that is not served")]
    Family,
    /// More extensions than anybody needs, or fewer bytes than addresses have.
    #[error("its length does not fit")]
    Length,
    /// It is no header of version 2.
    #[error("it is no header of version 2")]
    NoHeader,
}

/// How many bytes follow the fixed part.
///
/// # Errors
/// Where it is no header, or of a kind that is not served: nothing more needs to be read of it.
pub fn rest_of(fixed: &[u8; FIXED]) -> Result<usize, Unfit> {
    let [signature @ .., kind, family, high, low] = fixed;
    if *signature != SIGNATURE {
        return Err(Unfit::NoHeader);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let addresses = match (kind, family) {
        // A receiver must not care what stands in a header of `LOCAL`.
        (0x20, _) => 0,
        (0x21, 0x11) => V4,
        (0x21, 0x21) => V6,
        (0x21, _) => return Err(Unfit::Family),
        _ => return Err(Unfit::NoHeader),
    };
    // Of `LOCAL`, addresses of the larger kind may stand there.
    let most = if addresses == V4 { V4 } else { V6 } + MOST_EXTENSIONS;
    if (addresses..=most).contains(&length) { Ok(length) } else { Err(Unfit::Length) }
}

/// What a whole header says.
///
/// # Errors
/// What is wrong with it.
pub fn parse(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Said, Unfit> {
    if rest_of(fixed)? != rest.len() {
        return Err(Unfit::Length);
    }
    let [.., kind, family, _, _] = fixed;
    if *kind == 0x20 {
        return Ok(Said::Local);
    }
    let (from, to, extensions) = match family {
        0x11 => ends::<4>(rest),
        _ => ends::<16>(rest),
    }
    .ok_or(Unfit::Length)?;
    check(fixed, rest, extensions)?;
    Ok(Said::Proxied { from, to })
}

/// Both ends, of addresses of `N` bytes, and what follows them.
fn ends<const N: usize>(rest: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let (from, rest) = rest.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let ([a, b, c, d], rest) = rest.split_first_chunk::<4>()?;
    let at = |bytes: &[u8; N], port| Some(SocketAddr::new(address(bytes)?, u16::from_be_bytes(port)));
    Some((at(from, [*a, *b])?, at(to, [*c, *d])?, rest))
}

/// An address, IPv4 in IPv6 clothes undressed.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let found = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    found.ok().map(|address| address.to_canonical())
}

/// Extensions fill the header to its end, and the checksum among them, if there is one, is right.
fn check(fixed: &[u8; FIXED], rest: &[u8], extensions: &[u8]) -> Result<(), Unfit> {
    if extensions.len() > MOST_EXTENSIONS {
        return Err(Unfit::Length);
    }
    let (mut left, mut sum) = (extensions, None);
    while let [kind, high, low, after @ ..] = left {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, next) = after.split_at_checked(length).ok_or(Unfit::Extension)?;
        if *kind == CRC32C {
            let told = <[u8; 4]>::try_from(value).map_err(|_| Unfit::Extension)?;
            let at = rest.len() - next.len() - told.len();
            if sum.replace((u32::from_be_bytes(told), at)).is_some() {
                return Err(Unfit::Checksum);
            }
        }
        left = next;
    }
    if !left.is_empty() {
        return Err(Unfit::Extension);
    }
    let Some((told, at)) = sum else { return Ok(()) };
    // Computed over the header with four zeros in the place of the sum.
    let zeroed = |(place, byte): (usize, &u8)| if (at..at + 4).contains(&place) { 0 } else { *byte };
    let bytes = fixed.iter().copied().chain(rest.iter().enumerate().map(zeroed));
    if crc32c(bytes) == told { Ok(()) } else { Err(Unfit::Checksum) }
}

/// CRC-32C (Castagnoli; RFC 3720, 12.1), bit by bit: of a few hundred bytes, once for each connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Reads a header, and not a byte more.
///
/// # Errors
/// What is wrong with it, or with the connection.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Said> {
    let unfit = |why: Unfit| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let mut rest = vec![0; rest_of(&fixed).map_err(unfit)?];
    stream.read_exact(&mut rest).await?;
    parse(&fixed, &rest).map_err(unfit)
}
