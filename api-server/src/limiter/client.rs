//! Who a client is to the limits: its address behind the trusted proxies, IPv6 by prefix.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use crate::policy::Cidr;

/// So many addresses of `X-Forwarded-For` are looked at, from the right: more proxies than anybody has in a row.
const HOPS: usize = 16;

/// One client's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    bits: u128,
    prefix: u8,
}

impl Client {
    /// An IPv4 address counts for itself, an IPv6 address by its first bits: a subscriber has a /64 at least.
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self { bits: v4.to_ipv6_mapped().to_bits(), prefix: 128 },
            IpAddr::V6(v6) => Self { bits: v6.to_bits() & mask(ipv6_prefix), prefix: ipv6_prefix },
        }
    }

    /// All IPv6 clients of its /48: whoever has one could use 65,536 prefixes in turn. Nothing for IPv4 and for clients
    /// that are counted by no more than that.
    pub fn site(self) -> Option<Self> {
        let is_v6 = Ipv6Addr::from_bits(self.bits).to_ipv4_mapped().is_none();
        (is_v6 && self.prefix > 48).then(|| Self { bits: self.bits & mask(48), prefix: 48 })
    }
}

/// The address, with the prefix where it stands for more than one: the form that is shared with other replicas.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.bits);
        match address.to_ipv4_mapped() {
            Some(v4) => v4.fmt(f),
            None => write!(f, "{address}/{}", self.prefix),
        }
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

/// The address of the client: the peer's, or where that is a trusted proxy, the first from the right in
/// `X-Forwarded-For` that is not. `Forwarded` and `X-Real-IP` are never looked at: a proxy that does not know them hands
/// them on as the client wrote them.
pub fn address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Cidr],
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut hops = forwarded.rev().flat_map(|line| line.rsplit(',')).take(HOPS);
    while trusted.iter().any(|cidr| cidr.contains(client)) {
        // What is no address was not written by a trusted proxy: the one that handed it on is the last one known.
        let Some(next) = hops.next().and_then(parse) else { break };
        client = next;
    }
    client
}

/// Some proxies add the port. A zone means something to the host only that wrote it.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.contains('%') {
        return None;
    }
    let bare = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare.ok().or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| Cidr::try_from((*text).to_owned()).unwrap()).collect()
    }

    fn of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        address(peer.parse().unwrap(), forwarded.iter().copied(), &cidrs(trusted)).to_string()
    }

    #[test]
    fn without_a_trusted_proxy_the_peer_is_the_client_whatever_the_headers_say() {
        assert_eq!(of("203.0.113.7", &["198.51.100.1"], &[]), "203.0.113.7");
        assert_eq!(of("203.0.113.7", &["10.0.0.9"], &["10.0.0.0/8"]), "203.0.113.7", "straight to the pod");
    }

    #[test]
    fn behind_trusted_proxies_the_first_foreign_address_from_the_right_is_the_client() {
        let one = ["10.0.0.0/8"];
        assert_eq!(of("10.0.0.1", &["198.51.100.1"], &one), "198.51.100.1");
        assert_eq!(
            of("10.0.0.1", &["1.1.1.1, 8.8.8.8, 198.51.100.1"], &one),
            "198.51.100.1",
            "a lie before it"
        );
        assert_eq!(
            of("10.0.0.1", &["1.1.1.1", "198.51.100.1,10.0.0.2"], &one),
            "198.51.100.1",
            "two proxies"
        );
        let two = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(of("fd00::1", &["2001:db8::5, 10.9.9.9"], &two), "2001:db8::5");
        assert_eq!(of("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &one), "198.51.100.1", "IPv4 in IPv6");
    }

    #[test]
    fn ports_and_brackets_are_read_and_everything_else_ends_the_chain() {
        let one = ["10.0.0.0/8"];
        for (text, client) in [
            ("198.51.100.1:443", "198.51.100.1"),
            ("[2001:db8::5]:443", "2001:db8::5"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("fe80::1%eth0", "10.0.0.1"),
            ("[fe80::1%5]:443", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("198.51.100.1;x", "10.0.0.1"),
            ("198.51.100.1, x", "10.0.0.1"),
            ("0x7f.1", "10.0.0.1"),
        ] {
            assert_eq!(of("10.0.0.1", &[text], &one), client, "{text}");
        }
    }

    #[test]
    fn a_chain_of_ten_thousand_trusted_addresses_is_not_followed_to_its_end() {
        let long = format!("198.51.100.1{}", ", 10.0.0.2".repeat(10_000));
        assert_eq!(of("10.0.0.1", &[&long], &["10.0.0.0/8"]), "10.0.0.2");
    }

    #[test]
    fn ipv6_counts_by_prefix_and_ipv4_by_address() {
        let key = |text: &str| Client::new(text.parse().unwrap(), 64);
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("2001:db8::1").site(), key("2001:db8:0:1::1").site());
        assert_ne!(key("2001:db8::1").site(), key("2001:db8:1::1").site());
        assert_eq!(key("203.0.113.7"), key("::ffff:203.0.113.7"));
        assert_ne!(key("203.0.113.7"), key("203.0.113.8"));
        assert_eq!(key("203.0.113.7").site(), None);
        assert_eq!(Client::new("2001:db8::1".parse().unwrap(), 40).site(), None);
    }
}
