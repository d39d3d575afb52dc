//! How many connections each client has open. It refuses one too many and knows nothing of what is sent over them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{limiter::Client, state::State};

/// Open connections of one port by client. It never has more entries than there are connections.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<Client, u32>>);

impl Connections {
    /// Counts one more, unless the client has that many already.
    fn enter(&self, client: Client, limit: u32) -> bool {
        let mut open = self.open();
        let count = open.entry(client).or_default();
        let has_room = *count < limit;
        *count += u32::from(has_room);
        has_room
    }

    fn leave(&self, client: Client) {
        if let Entry::Occupied(mut count) = self.open().entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Client, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted until this is dropped.
pub struct Admitted {
    /// Nothing for a trusted proxy: its connections carry many clients.
    counted: Option<(Arc<Connections>, Client)>,
}

impl Admitted {
    /// Takes one more connection of a peer. Nothing when it has too many.
    pub fn new(connections: &Arc<Connections>, state: &State, peer: IpAddr) -> Option<Self> {
        let policy = state.policy();
        let (limits, peer) = (&policy.policy.rate_limits, peer.to_canonical());
        if limits.trusted_proxies.iter().any(|cidr| cidr.contains(peer)) {
            return Some(Self { counted: None });
        }
        let client = Client::new(peer, limits.ipv6_prefix_length);
        if !connections.enter(client, state.config.max_connections_per_client) {
            state.metrics.refused_connections.inc();
            return None;
        }
        Some(Self { counted: Some((connections.clone(), client)) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some((connections, client)) = &self.counted {
            connections.leave(*client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        Client::new(text.parse().unwrap(), 64)
    }

    #[test]
    fn each_client_has_a_number_of_its_own_and_who_leaves_makes_room() {
        let connections = Connections::default();
        let enter = |text| connections.enter(client(text), 2);
        assert_eq!(["203.0.113.7"; 3].map(enter), [true, true, false]);
        assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(enter), [true, true, false]);
        assert!(enter("2001:db8:0:1::1"), "another /64");
        connections.leave(client("203.0.113.7"));
        assert_eq!(["203.0.113.7"; 2].map(enter), [true, false]);
    }

    #[test]
    fn clients_without_a_connection_are_forgotten() {
        let connections = Connections::default();
        assert!((0..3).all(|_| connections.enter(client("203.0.113.7"), 3)));
        (0..3).for_each(|_| connections.leave(client("203.0.113.7")));
        assert!(connections.open().is_empty());
    }
}
