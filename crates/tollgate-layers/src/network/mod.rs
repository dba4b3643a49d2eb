//! Who may connect at all: allowed and denied networks, the client's address behind trusted proxies, and where
//! listeners may stand.
//!
//! Rates are the business of `flood`; client certificates come with their own work.

mod bind;
mod config;
mod forwarded;
mod nets;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tollgate_core::identity::Peer;
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::hygiene::Head;
pub use bind::{Exposure, check_admin_bind, check_bind};
pub use config::{ForwardedHeader, NetworkConfig};
pub use nets::{Nets, canonical};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Network {
    /// Empty: everybody.
    allow: Nets,
    deny: Nets,
    trusted_proxies: Nets,
    forwarded_header: ForwardedHeader,
}

impl Network {
    /// Finds the client's address and holds it against the lists. The answer is never `None`: that is what the pipeline
    /// uses where this layer is off or only watched, and then the peer of the socket is the client.
    ///
    /// # Errors
    /// `forbidden` for an address that is denied or not allowed, `bad_request` where a trusted proxy does not say in
    /// readable form who its client is.
    pub fn admit(&self, peer: &Peer, head: &Head) -> Ruling<Option<IpAddr>> {
        let socket = canonical(peer.ip);
        let client = self.client(socket, head)?;
        // A denied proxy stays denied, whomever it speaks for.
        for address in [socket, client] {
            if self.deny.contains(address) {
                return Err(forbidden(address, "is denied"));
            }
        }
        if !self.allow.is_empty() && !self.allow.contains(client) {
            return Err(forbidden(client, "is not allowed"));
        }
        Ok(Some(client))
    }

    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.contains(address)
    }

    /// The right-most address that is not a trusted proxy's. Everything to the left of it was written by somebody whom
    /// nobody trusts, and is not looked at.
    fn client(&self, socket: IpAddr, head: &Head) -> Ruling<IpAddr> {
        if !self.trusted_proxies.contains(socket) {
            return Ok(socket);
        }
        let trusted = |address| self.trusted_proxies.contains(address);
        let found = match self.forwarded_header {
            ForwardedHeader::Forwarded => forwarded::rfc7239(&head.headers, trusted),
            ForwardedHeader::None => return Ok(socket),
            ForwardedHeader::XForwardedFor => forwarded::x_forwarded_for(&head.headers, trusted),
        };
        match found {
            Ok(client) => Ok(client.unwrap_or(socket)),
            // Taking the proxy for the client would let an unreadable address pass lists made for proxies.
            Err(why) => Err(Refusal::new(Code::BadRequest).because(why).into()),
        }
    }
}

fn forbidden(address: IpAddr, why: &str) -> tollgate_core::ruling::Stop {
    Refusal::new(Code::Forbidden).because(format_args!("address `{address}` {why}")).into()
}
