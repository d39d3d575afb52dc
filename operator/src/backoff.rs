//! How long to wait before what failed is tried again: a pass, or a request to somebody else's server.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use render::Problem;

use crate::{cache::Key, compare::Digest};

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
/// A deletion that waits for a Vault: often enough to be done before its time is over.
pub const LEAVING: Pauses = Pauses { first: Duration::from_secs(5), longest: Duration::from_secs(30) };

/// A Vault that does not answer or refuses.
pub const VAULT: Pauses = Pauses { first: Duration::from_mins(1), longest: Duration::from_hours(1) };
/// Values that a source does not have: Vault's end of an outage shows within a minute (F1).
pub const SYNC: Pauses = Pauses { first: Duration::from_secs(5), longest: Duration::from_mins(1) };
/// A Vault that answered: who destroys again and again what it gave must not make the operator ask again and again.
pub const ANSWERED: Pauses = Pauses { first: Duration::from_secs(10), longest: Duration::from_hours(1) };

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

/// What was last asked of somebody else's server, by service.
#[derive(Default)]
pub struct Asked(Mutex<HashMap<Key, Wait>>);

/// A pause before the same is asked again.
#[derive(Clone, Debug)]
pub struct Wait {
    what: Digest,
    /// How often this was asked in a row.
    pub count: u32,
    /// Its end.
    pub until: Timestamp,
    /// What to say meanwhile.
    pub problem: Problem,
}

impl Asked {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pause, if this was asked and may not be asked again yet. Anything else may be asked at once.
    pub fn wait(&self, key: &Key, what: Digest, now: Timestamp) -> Option<Wait> {
        self.all().get(key).filter(|wait| wait.what == what && now < wait.until).cloned()
    }

    /// Begins a pause, which is longer than the one before when the same was asked.
    pub fn note(&self, key: &Key, what: Digest, problem: Problem, pauses: Pauses, now: Timestamp) -> Wait {
        let mut all = self.all();
        let before = all.get(key).filter(|wait| wait.what == what).map_or(0, |wait| wait.count);
        let count = before.saturating_add(1);
        let until = now.checked_add(pauses.after(count, random())).unwrap_or(Timestamp::MAX);
        let wait = Wait { what, count, until, problem };
        all.insert(key.clone(), wait.clone());
        wait
    }

    /// What was asked for is there and has lasted longer than the pause.
    pub fn settle(&self, key: &Key, now: Timestamp) {
        let mut all = self.all();
        if all.get(key).is_some_and(|wait| now >= wait.until) {
            all.remove(key);
        }
    }

    /// Nothing is asked for this service any more.
    pub fn clear(&self, key: &Key) {
        self.all().remove(key);
    }
}

/// From 0 to 1. Without random bytes all wait the same time, which is safe.
pub fn random() -> f64 {
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

    #[test]
    fn the_same_is_asked_again_after_growing_pauses_and_something_else_at_once() {
        let asked = Asked::default();
        let key = Key { namespace: "a".into(), name: "b".into() };
        let problem = || Problem { reason: crds::Reason::VaultUnreachable, message: "gone".into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let pause =
            |what, now| asked.note(&key, [what; 32], problem(), VAULT, at(now)).until.as_second() - now;
        assert!((48..=72).contains(&pause(1, 0)));
        assert!(asked.wait(&key, [1; 32], at(40)).is_some() && asked.wait(&key, [1; 32], at(80)).is_none());
        assert!(asked.wait(&key, [2; 32], at(0)).is_none(), "something else");
        assert!((96..=144).contains(&pause(1, 100)));
        for _ in 0..20 {
            assert!(pause(1, 200) <= 3600);
        }
        assert!((48..=72).contains(&pause(2, 300)), "another begins anew");
        asked.settle(&key, at(310));
        assert!(asked.wait(&key, [2; 32], at(310)).is_some(), "the pause is not over");
        asked.settle(&key, at(400));
        assert!((48..=72).contains(&pause(2, 400)), "it had come to a good end");
    }
}
