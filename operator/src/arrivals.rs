//! Which services are where the rotation of the CA leads to. Only in memory: after a restart each is looked at again.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::cache::Key;

/// Services that have arrived at one stage of one rotation.
#[derive(Default)]
pub struct Arrivals(Mutex<Option<Stage>>);

struct Stage {
    epoch: String,
    arrived: HashSet<Key>,
    last: Instant,
}

impl Arrivals {
    /// Whether this service was seen at this stage.
    pub fn has(&self, epoch: &str, key: &Key) -> bool {
        let stage = self.lock();
        stage.as_ref().is_some_and(|stage| stage.epoch == epoch && stage.arrived.contains(key))
    }

    /// It was seen now.
    pub fn note(&self, epoch: &str, key: &Key, now: Instant) {
        let mut stage = self.lock();
        let stage = begun(&mut stage, epoch, now);
        if stage.arrived.insert(key.clone()) {
            stage.last = now;
        }
    }

    /// Those that are still missing; none, and `true`, when the last one arrived so long ago.
    pub fn missing(&self, epoch: &str, all: Vec<Key>, overlap: Duration, now: Instant) -> (Vec<Key>, bool) {
        let mut stage = self.lock();
        let stage = begun(&mut stage, epoch, now);
        let missing: Vec<_> = all.into_iter().filter(|key| !stage.arrived.contains(key)).collect();
        let is_over = missing.is_empty() && now.duration_since(stage.last) >= overlap;
        (missing, is_over)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stage of this name: another one begins anew.
fn begun<'a>(stage: &'a mut Option<Stage>, epoch: &str, now: Instant) -> &'a mut Stage {
    stage.take_if(|stage| stage.epoch != epoch);
    stage.get_or_insert_with(|| Stage { epoch: epoch.to_owned(), arrived: HashSet::new(), last: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    #[test]
    fn a_stage_is_over_when_the_last_service_arrived_long_enough_ago() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let all = || vec![key("a"), key("b")];
        let overlap = Duration::from_secs(10);
        arrivals.note("one", &key("a"), at(0));
        assert_eq!(arrivals.missing("one", all(), overlap, at(60)), (vec![key("b")], false));
        arrivals.note("one", &key("b"), at(60));
        arrivals.note("one", &key("a"), at(65));
        assert_eq!(arrivals.missing("one", all(), overlap, at(69)), (vec![], false));
        assert_eq!(arrivals.missing("one", all(), overlap, at(70)), (vec![], true));
        assert!(arrivals.has("one", &key("a")) && !arrivals.has("two", &key("a")));
        assert_eq!(arrivals.missing("two", all(), overlap, at(99)), (all(), false));
        assert!(!arrivals.has("one", &key("a")), "the stage before is forgotten");
    }

    #[test]
    fn without_services_the_overlap_counts_from_the_first_look() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        let missing = |seconds| {
            arrivals.missing("one", vec![], Duration::from_secs(10), start + Duration::from_secs(seconds)).1
        };
        assert_eq!((missing(0), missing(9), missing(10)), (false, false, true));
    }
}
