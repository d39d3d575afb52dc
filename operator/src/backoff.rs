//! How long to wait before a pass that failed is tried again. The only state is how often it failed in a row.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::cache::Key;

/// Pauses that double from one failure to the next.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The first one.
    pub first: Duration,
    /// The longest one.
    pub longest: Duration,
}

/// A pass that ended in an error.
pub const ERROR: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_mins(5) };
/// A pass that did what it could, while the server refuses a child: a quota that is raised or a policy that is lifted
/// shows within a minute (J4).
pub const REFUSED: Pauses = Pauses { first: Duration::from_secs(2), longest: Duration::from_secs(50) };

/// Failures in a row, by service.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<Key, u32>>);

impl Backoff {
    fn failures(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more failure and gives the pause after it.
    pub fn next(&self, key: &Key, pauses: Pauses) -> Duration {
        let mut failures = self.failures();
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        pauses.after(*count, random())
    }

    /// Up to a second, by chance, so that what the server sent away does not come back all at once.
    pub fn spread() -> Duration {
        Duration::from_secs(1).mul_f64(random())
    }

    /// All is well with this service, or it is gone.
    pub fn clear(&self, key: &Key) {
        self.failures().remove(key);
    }
}

impl Pauses {
    /// The pause after this many failures in a row, a fifth longer or shorter by `fraction` (0 to 1), so that what failed
    /// together does not come back together.
    fn after(self, count: u32, fraction: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1)));
        doubled.min(self.longest).mul_f64(0.8 + 0.4 * fraction).min(self.longest)
    }
}

/// From 0 to 1. Without random bytes all wait the same time, which is safe.
fn random() -> f64 {
    let mut byte = [0];
    match aws_lc_rs::rand::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let middle = |count| ERROR.after(count, 0.5).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 40].map(middle), [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn a_fifth_is_left_to_chance_and_the_longest_pause_is_never_exceeded() {
        assert_eq!(ERROR.after(3, 0.0), Duration::from_millis(3200));
        assert_eq!(ERROR.after(3, 1.0), Duration::from_millis(4800));
        assert_eq!(ERROR.after(40, 1.0), ERROR.longest);
    }

    #[test]
    fn success_starts_again_at_the_first_pause() {
        let backoff = Backoff::default();
        let key = Key { namespace: "a".into(), name: "b".into() };
        for _ in 0..5 {
            backoff.next(&key, ERROR);
        }
        assert!(backoff.next(&key, ERROR) > Duration::from_secs(20));
        backoff.clear(&key);
        assert!(backoff.next(&key, ERROR) < Duration::from_secs(2));
    }
}
