//! The counters of one rule in memory, never more than a fixed number of them.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Mutex, PoisonError},
};

use super::{
    client::Client,
    gcra::{Decision, Quota},
};

/// So that workers seldom wait for each other.
const SHARDS: usize = 16;
/// A full shard is looked through for clients without debt at most this often (1 s): under a flood of new addresses
/// each request would look through all of them otherwise.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// When each client's bucket is full again, in nanoseconds of the limiter's clock.
#[derive(Debug)]
pub struct Store {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Clients of one shard.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    full_at: HashMap<Client, u64>,
    /// Shared by the clients that found no room.
    overflow: u64,
    swept: u64,
}

impl Store {
    /// Room for about so many clients.
    pub fn new(clients: usize) -> Self {
        Self { hasher: RandomState::new(), shards: Default::default(), capacity: clients.div_ceil(SHARDS) }
    }

    /// Takes one request of a client. A client in debt is never forgotten: whoever fills the store with other addresses
    /// gets no fresh bucket by that. When it is full of those, new clients share one bucket.
    pub fn take(&self, client: Client, quota: Quota, now: u64) -> Decision {
        let index = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { full_at, overflow, swept } = &mut *shard;
        if let Some(known) = full_at.get_mut(&client) {
            return take(known, quota, now);
        }
        if full_at.len() >= self.capacity && now.saturating_sub(*swept) >= SWEEP_EVERY {
            full_at.retain(|_, full_at| *full_at > now);
            *swept = now;
        }
        if full_at.len() >= self.capacity {
            return take(overflow, quota, now);
        }
        take(full_at.entry(client).or_default(), quota, now)
    }

    /// Clients that it remembers.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().map_or(0, |shard| shard.full_at.len())).sum()
    }
}

fn take(full_at: &mut u64, quota: Quota, now: u64) -> Decision {
    let (next, decision) = quota.take(*full_at, now);
    *full_at = next;
    decision
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn client(number: u32) -> Client {
        Client::new(IpAddr::V4(Ipv4Addr::from_bits(number)), 64)
    }

    #[test]
    fn clients_have_a_bucket_each() {
        let (store, quota) = (Store::new(1000), Quota::new(2, 60 * SECOND));
        let allowed = |number| store.take(client(number), quota, 5 * SECOND).allowed;
        assert_eq!([1, 1, 1, 2, 2, 2].map(allowed), [true, true, false, true, true, false]);
    }

    #[test]
    fn a_full_store_keeps_who_is_in_debt_and_lets_new_clients_share() {
        let (store, quota) = (Store::new(160), Quota::new(2, 60 * SECOND));
        let now = 1_000 * SECOND;
        let attacker = client(0);
        assert!(store.take(attacker, quota, now).allowed && store.take(attacker, quota, now).allowed);
        let passed = (1..100_000).filter(|number| store.take(client(*number), quota, now).allowed).count();
        assert_eq!(store.len(), 160);
        assert_eq!(passed, 159 + 2 * SHARDS, "each that found room once, the others two for each shard");
        assert!(!store.take(attacker, quota, now).allowed, "its debt was not forgotten");
    }

    #[test]
    fn a_full_store_makes_room_when_debts_are_paid() {
        let (store, quota) = (Store::new(16_000), Quota::new(2, 60 * SECOND));
        for number in 0..100_000 {
            store.take(client(number), quota, SECOND);
        }
        // Half of the room: by chance no shard gets twice its part.
        let later = 100 * SECOND;
        assert!((200_000..208_000).all(|number| store.take(client(number), quota, later).allowed));
        assert!(store.len() <= 16_000);
    }
}
