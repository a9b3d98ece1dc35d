//! Whose address counts, in which spelling.

use std::net::{IpAddr, Ipv6Addr};

use crate::head::RequestHead;

/// How the address of a caller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// How many proxies in front of callers add to `x-forwarded-for` and are believed. With none, the address is that of
    /// the connection, as the host knows it.
    pub trusted_hops: usize,
    /// How many leading bits of an IPv6 address make one caller.
    pub ipv6_prefix: u8,
}

impl Default for ClientAddress {
    /// The address of the connection; and a /64 is one caller, because that is the least that one gets.
    fn default() -> Self {
        Self { trusted_hops: 0, ipv6_prefix: 64 }
    }
}

impl ClientAddress {
    /// The address of the caller: IPv4, or the prefix of an IPv6 address. `None` if none is known.
    ///
    /// Entries of `x-forwarded-for` count from the right, because what stands further left is what callers say. Where
    /// there are fewer than there should be, or it is no address, the connection's counts.
    pub fn of(&self, head: &RequestHead) -> Option<IpAddr> {
        let forwarded = || {
            let place = self.trusted_hops.checked_sub(1)?;
            let lines: Vec<&[u8]> = head.all("x-forwarded-for").collect();
            let mut entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
            parse(std::str::from_utf8(entries.nth(place)?).ok()?.trim())
        };
        let address = forwarded().or_else(|| parse(head.client_address()?))?;
        Some(self.masked(address))
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let host_bits = 128_u32.saturating_sub(u32::from(self.ipv6_prefix));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// An address as proxies write it: bare, in brackets, with a port.
fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn address(trusted_hops: usize, connection: &str, forwarded: &[&str]) -> String {
        let mut head = RequestHead::default();
        head.set_client_address(connection.to_owned());
        forwarded.iter().for_each(|value| head.push(b"X-Forwarded-For", value.as_bytes()));
        let address = ClientAddress { trusted_hops, ..ClientAddress::default() }.of(&head);
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    #[test]
    fn entries_count_from_the_right_and_only_as_many_as_are_believed() {
        for (hops, forwarded, wanted) in [
            (0, &["192.0.2.1"][..], "198.51.100.1"),
            (1, &["192.0.2.1, 192.0.2.2"], "192.0.2.2"),
            (2, &["192.0.2.1, 192.0.2.2"], "192.0.2.1"),
            (2, &["192.0.2.1", "192.0.2.2"], "192.0.2.1"),
            (1, &["192.0.2.1,192.0.2.2 , 192.0.2.3:1234"], "192.0.2.3"),
            // Who has come around the proxies is counted by the connection.
            (2, &["192.0.2.2"], "198.51.100.1"),
            (1, &[], "198.51.100.1"),
            (1, &["192.0.2.1, "], "198.51.100.1"),
            (1, &["unknown"], "198.51.100.1"),
            (1, &["192.0.2.1.5"], "198.51.100.1"),
        ] {
            assert_eq!(address(hops, "198.51.100.1", forwarded), wanted, "{hops} {forwarded:?}");
        }
    }

    #[test]
    fn one_address_has_one_spelling_and_a_prefix_is_one_caller() {
        for (given, wanted) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:C000:0201", "192.0.2.1"),
            ("2001:DB8:0:1::1", "2001:db8:0:1::"),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
            ("[2001:db8:0:1::2]:443", "2001:db8:0:1::"),
            ("[2001:db8:0:1::2]", "2001:db8:0:1::"),
            ("2001:db8:0:2::1", "2001:db8:0:2::"),
        ] {
            assert_eq!(address(1, "", &[given]), wanted, "{given}");
            if !given.contains('[') {
                assert_eq!(address(0, given, &[]), wanted, "{given}");
            }
        }
        assert_eq!(address(0, "", &[]), "");
    }

    #[test]
    fn every_prefix_masks_what_it_says() {
        let masked = |ipv6_prefix| {
            let address = ClientAddress { trusted_hops: 0, ipv6_prefix };
            address.masked("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()).to_string()
        };
        assert_eq!(masked(0), "::");
        assert_eq!(masked(1), "8000::");
        assert_eq!(masked(56), "ffff:ffff:ffff:ff00::");
        assert_eq!(masked(128), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }
}
