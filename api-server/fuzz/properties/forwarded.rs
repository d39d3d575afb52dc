//! What holds for every `X-Forwarded-For`: a client can write into it what it likes and stays who it is. The input is the
//! peer in the first line, trusted ranges in the second, lines of the header below.

use std::net::IpAddr;

use api_server::{limiter::address, policy::Cidr};

/// More addresses than these, from the right, are not looked at.
const HOPS: usize = 16;

/// Whether the header decided who the client is.
pub fn check(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let Some(peer) = lines.next().and_then(|line| line.parse::<IpAddr>().ok()) else { return false };
    let ranges = lines.next().unwrap_or_default().split(',');
    let trusted: Vec<_> = ranges.filter_map(|range| Cidr::try_from(range.to_owned()).ok()).collect();
    let forwarded: Vec<_> = lines.collect();

    let peer = peer.to_canonical();
    let client = address(peer, forwarded.iter().copied(), &trusted);
    if !is_trusted(peer, &trusted) {
        assert_eq!(client, peer, "a peer that is no proxy has named another client");
        return false;
    }
    everything_behind_the_client_is_trusted(peer, client, &forwarded, &trusted);
    if !is_trusted(client, &trusted) {
        nothing_before_the_client_matters(peer, client, &forwarded, &trusted);
    }
    what_a_proxy_adds_counts(peer, &forwarded, &trusted);
    client != peer
}

fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

/// The client is the Nth from the right, and the N-1 behind it are proxies.
fn everything_behind_the_client_is_trusted(
    peer: IpAddr,
    client: IpAddr,
    forwarded: &[&str],
    trusted: &[Cidr],
) {
    let joined = forwarded.join(",");
    let mut hops = joined.rsplit(',').take(HOPS).map(read);
    let mut at = Some(peer);
    while at != Some(client) {
        assert!(at.is_some_and(|at| is_trusted(at, trusted)), "{client} is behind {at:?}");
        at = hops.next().expect("the client is the peer or stands in the header");
    }
}

/// The address of one entry, read in another way than the product does.
fn read(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = match entry.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(_, port)| is_port_or_nothing(port))?.0,
        None => {
            entry.split_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(entry, |(v4, _)| v4)
        }
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_port_or_nothing(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// A client that stands before the proxies writes what it likes, in its own lines or in theirs.
fn nothing_before_the_client_matters(peer: IpAddr, client: IpAddr, forwarded: &[&str], trusted: &[Cidr]) {
    for lie in ["198.51.100.1", "10.0.0.1", "", "::1", "x, ,", "10.0.0.1, 10.0.0.1"] {
        let own_line = [&[lie], forwarded].concat();
        assert_eq!(address(peer, own_line.into_iter(), trusted), client, "{lie:?} in a line of its own");
        let same_line = format!("{lie},{}", forwarded.join(","));
        assert_eq!(address(peer, [&*same_line].into_iter(), trusted), client, "{lie:?} in the same line");
    }
}

/// Behind a proxy that adds the address that it sees, nothing else in the header counts.
fn what_a_proxy_adds_counts(peer: IpAddr, forwarded: &[&str], trusted: &[Cidr]) {
    for seen in ["203.0.113.7", "2001:db8::7", "10.0.0.7"] {
        let seen: IpAddr = seen.parse().expect("an address");
        if is_trusted(seen, trusted) {
            continue;
        }
        let added = format!("{}, {seen}", forwarded.last().unwrap_or(&""));
        let before = &forwarded[..forwarded.len().saturating_sub(1)];
        let in_line = before.iter().copied().chain([&*added]);
        assert_eq!(address(peer, in_line.collect::<Vec<_>>().into_iter(), trusted), seen);
        let own = seen.to_string();
        let own_line = forwarded.iter().copied().chain([&*own]);
        assert_eq!(address(peer, own_line.collect::<Vec<_>>().into_iter(), trusted), seen);
    }
}
