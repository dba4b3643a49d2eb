//! `@ipMatch` and `@ipMatchFromFile`: lists of addresses and networks.

use std::net::IpAddr;

use super::Unusable;

/// Addresses and networks, IPv4 and IPv6.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IpList {
    /// Sorted, no two overlapping: first and last address of each network, as numbers.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpList {
    /// Reads a list with commas.
    pub(super) fn parse(argument: &str) -> Result<Self, Unusable> {
        let mut list = Self { v4: Vec::new(), v6: Vec::new() };
        let mut at = 0;
        for part in argument.split(',') {
            if !part.trim().is_empty() {
                list.add(part.trim(), at)?;
            }
            at += part.len() + 1;
        }
        Ok(list.sorted())
    }

    /// Reads a file: one network on each line, `#` begins a comment.
    pub(super) fn parse_lines(text: &[u8]) -> Result<Self, Unusable> {
        let mut list = Self { v4: Vec::new(), v6: Vec::new() };
        for line in String::from_utf8_lossy(text).lines() {
            let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim();
            if !entry.is_empty() {
                list.add(entry, 0)?;
            }
        }
        Ok(list.sorted())
    }

    /// Whether the value is an address of the list. An IPv4 address in IPv6 clothes counts as IPv4.
    pub(super) fn contains(&self, value: &[u8]) -> bool {
        let Some(address) = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<IpAddr>().ok()) else {
            return false;
        };
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    fn add(&mut self, entry: &str, at: usize) -> Result<(), Unusable> {
        let wrong =
            || Unusable::new(format!("`{entry}` is not an address or a network"), at).hint("as `10.0.0.0/8` or `::1`");
        let (address, bits) = match entry.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (entry, None),
        };
        match address.parse::<IpAddr>().map_err(|_| wrong())? {
            IpAddr::V4(address) => {
                let host = host_bits(bits, 32).ok_or_else(wrong)?;
                let rest = u32::MAX.checked_shr(32 - host).unwrap_or(0);
                self.v4.push((address.to_bits() & !rest, address.to_bits() | rest));
            }
            IpAddr::V6(address) => {
                let host = host_bits(bits, 128).ok_or_else(wrong)?;
                let rest = u128::MAX.checked_shr(128 - host).unwrap_or(0);
                self.v6.push((address.to_bits() & !rest, address.to_bits() | rest));
            }
        }
        Ok(())
    }

    fn sorted(mut self) -> Self {
        merge(&mut self.v4);
        merge(&mut self.v6);
        self
    }
}

/// How many bits of an address are free.
fn host_bits(prefix: Option<u8>, width: u32) -> Option<u32> {
    width.checked_sub(prefix.map_or(width, u32::from))
}

fn merge<N: Copy + Ord>(ranges: &mut Vec<(N, N)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlap = next.0 <= kept.1;
        if overlap {
            kept.1 = kept.1.max(next.1);
        }
        overlap
    });
}

fn within<N: Copy + Ord>(ranges: &[(N, N)], address: N) -> bool {
    let behind = ranges.partition_point(|&(first, _)| first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, last)| address <= last)
}
