//! Sets of networks. A lookup is a binary search over merged ranges: a long deny list costs little more than a short
//! one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// A set of addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nets {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Disjoint, ascending, first and last both inside.
type Ranges<T> = Vec<(T, T)>;

/// The one form of an address: IPv4 in IPv6 clothes (`::ffff:192.0.2.1`) is IPv4.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl Nets {
    /// The union of `nets`.
    #[must_use]
    pub fn new(nets: &[IpNet]) -> Self {
        let mut all = Self::default();
        for net in nets {
            match net {
                IpNet::V4(net) => all.v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => all.v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: merged(all.v4), v6: merged(all.v6) }
    }

    /// Whether no address is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match canonical(address) {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }
}

fn merged<T: Copy + Ord>(mut ranges: Ranges<T>) -> Ranges<T> {
    ranges.sort_unstable();
    let mut all: Ranges<T> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match all.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => all.push((first, last)),
        }
    }
    all
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

/// Parses `192.0.2.0/24`, `2001:db8::/32` or one address.
///
/// # Errors
/// What is wrong with it, and what to write instead where that is known.
pub(super) fn parse(text: &str) -> Result<IpNet, (String, Option<String>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(canonical(address)));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        return Err((format!("`{text}` is not a network such as `192.0.2.0/24` or `2001:db8::/32`"), None));
    };
    if net != net.trunc() {
        let why = format!("`{text}` names an address inside a network");
        return Err((why, Some(format!("write `{}` or `{}`", net.trunc(), net.addr()))));
    }
    Ok(unmapped(net))
}

/// IPv4 in IPv6 clothes, for networks.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(wide) = net else { return net };
    let inner: Option<Ipv4Addr> = Ipv6Addr::to_ipv4_mapped(&wide.network());
    let prefix = wide.prefix_len().checked_sub(96);
    match (inner, prefix) {
        (Some(inner), Some(prefix)) => Ipv4Net::new(inner, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}
