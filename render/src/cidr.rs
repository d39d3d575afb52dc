//! Address ranges, and those that stay closed. It resolves no names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services of clouds: they hand credentials of the node to whoever asks.
const CLOSED: [Cidr; 2] = [
    Cidr { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix: 16 },
    Cidr { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), prefix: 128 },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    fn contains(self, other: Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == masked(self.address, self.prefix)
    }

    fn text(self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let host = u32::from(bits(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)).into(),
    }
}

/// The range and what stays closed inside it; `None` for a range that is closed as a whole or is no range.
pub fn open(text: &str) -> Option<(String, Vec<String>)> {
    let range = Cidr::parse(text)?;
    if CLOSED.iter().any(|closed| closed.contains(range)) {
        return None;
    }
    let except =
        CLOSED.iter().filter(|closed| range.contains(**closed)).map(|closed| closed.text()).collect();
    Some((range.text(), except))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_range_is_open_as_a_whole() {
        for text in ["10.0.0.0/8", "fd00::/64", "1.2.3.4/32", "169.255.0.0/16"] {
            assert_eq!(open(text), Some((text.into(), vec![])), "{text}");
        }
    }

    #[test]
    fn a_wider_range_leaves_the_metadata_service_closed() {
        for text in ["0.0.0.0/0", "169.0.0.0/8", "169.254.0.0/15"] {
            let (_, except) = open(text).expect(text);
            assert_eq!(except, ["169.254.0.0/16"], "{text}");
        }
        assert_eq!(open("::/0"), Some(("::/0".into(), vec!["fd00:ec2::254/128".into()])));
    }

    #[test]
    fn the_metadata_service_itself_is_not_opened() {
        for text in
            ["169.254.0.0/16", "169.254.169.254/32", "fd00:ec2::254/128", "10.0.0.0", "10.0.0.0/33", "x/8"]
        {
            assert_eq!(open(text), None, "{text}");
        }
    }
}
