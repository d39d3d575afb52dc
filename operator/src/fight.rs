//! Damping of a fight: where somebody else changes one object again and again, restoring it waits longer and longer.
//! What security depends on never waits. Time and facts come from the caller; the operator starts to count anew when
//! it starts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crds::Reason;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use render::{Kind, Problem};

use crate::{cache::Key, compare::Digest, drift};

/// More than so many changes of one path by one manager within the window are a fight.
const FLIPS: usize = 5;
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// The first wait; each one is twice as long as the one before, up to the longest.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);
/// After so long without a change the fight is over.
const OVER: SignedDuration = SignedDuration::from_mins(5);
/// Paths that one fight is about, paths that are counted, and managers of one object that are counted apart.
const FOUGHT: usize = 8;
const COUNTED: usize = 256;
const MANAGERS: usize = 8;

/// Digests of an object as it is and as it should be.
pub type Pair = (Digest, Digest);

/// One difference that somebody else made.
#[derive(Clone, Copy, Debug)]
pub struct Flip<'a> {
    /// The paths that differ.
    pub paths: &'a [String],
    /// Whether security depends on one of them.
    pub security: bool,
    /// Of what to what.
    pub pair: Pair,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Restore the object now.
    Restore,
    /// Leave it for a while.
    Wait,
}

/// What is remembered of one manager's changes to one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fight {
    /// When each path was restored, within the window.
    restored: BTreeMap<String, Vec<Timestamp>>,
    /// The paths that the fight is about; none while it is no fight.
    fought: BTreeSet<String>,
    waits: u32,
    wait: Option<(Timestamp, Pair)>,
    last: Timestamp,
}

impl Fight {
    /// Decides about one difference. Seeing the same one again, as after a lost race, changes nothing.
    pub fn decide(&mut self, flip: Flip<'_>, now: Timestamp) -> Decision {
        if now >= self.end() {
            *self = Self::default();
        }
        self.last = now;
        let often = |path: &&String| {
            let recent = |at: &&Timestamp| now.duration_since(**at) < WINDOW;
            self.restored.get(*path).is_some_and(|times| times.iter().filter(recent).count() >= FLIPS)
        };
        let often: Vec<_> = flip.paths.iter().filter(often).collect();
        for path in often {
            if self.fought.len() < FOUGHT {
                self.fought.insert(path.clone());
            }
        }
        if flip.security || !flip.paths.iter().any(|path| self.fought.contains(path)) {
            return Decision::Restore;
        }
        let until = match self.wait {
            Some((until, _)) if until <= now => return Decision::Restore,
            Some((until, _)) => until,
            None => {
                let wait = FIRST_WAIT.saturating_mul(1 << self.waits.min(5)).min(LONGEST_WAIT);
                self.waits += 1;
                now + wait
            }
        };
        self.wait = Some((until, flip.pair));
        Decision::Wait
    }

    /// The difference is gone.
    pub fn restored(&mut self, paths: &[String], now: Timestamp) {
        (self.last, self.wait) = (now, None);
        self.restored.retain(|_, times| {
            times.retain(|at| now.duration_since(*at) < WINDOW);
            !times.is_empty()
        });
        for path in paths {
            if self.restored.contains_key(path) || self.restored.len() < COUNTED {
                self.restored.entry(path.clone()).or_default().push(now);
            }
        }
    }

    /// When it is forgotten if nothing more happens.
    fn end(&self) -> Timestamp {
        self.wait.map_or(self.last, |(until, _)| until.max(self.last)) + OVER
    }

    fn is_on(&self, now: Timestamp) -> bool {
        !self.fought.is_empty() && now < self.end()
    }

    fn waiting(&self, now: Timestamp) -> Option<(Timestamp, Pair)> {
        self.wait.filter(|(until, _)| now < *until)
    }
}

/// An object of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The service.
    pub service: Key,
    /// The object's kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// All fights that the operator is in.
#[derive(Default)]
pub struct Fights(Mutex<HashMap<Object, HashMap<String, Fight>>>);

impl Fights {
    fn all(&self) -> MutexGuard<'_, HashMap<Object, HashMap<String, Fight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a difference that a manager made; the second answer is the fight's description when it began now.
    pub fn decide(
        &self,
        object: &Object,
        manager: Option<&str>,
        flip: Flip<'_>,
        now: Timestamp,
    ) -> (Decision, Option<String>) {
        let mut all = self.all();
        all.retain(|_, fights| {
            fights.retain(|_, fight| now < fight.end());
            !fights.is_empty()
        });
        let fights = all.entry(object.clone()).or_default();
        let manager = counted_as(fights, manager);
        let fight = fights.entry(manager.to_owned()).or_default();
        let before = fight.is_on(now);
        let decision = fight.decide(flip, now);
        let began = (!before && fight.is_on(now)).then(|| message(object, manager, fight));
        (decision, began)
    }

    /// Takes down that a difference which a manager made was undone.
    pub fn restored(&self, object: &Object, manager: Option<&str>, paths: &[String], now: Timestamp) {
        let mut all = self.all();
        let fights = all.entry(object.clone()).or_default();
        let manager = counted_as(fights, manager);
        fights.entry(manager.to_owned()).or_default().restored(paths, now);
    }

    /// Whether exactly this difference waits already: then there is nothing to ask.
    pub fn waits(&self, object: &Object, pair: Pair, now: Timestamp) -> bool {
        let all = self.all();
        let mut fights = all.get(object).into_iter().flat_map(HashMap::values);
        fights.any(|fight| fight.waiting(now).is_some_and(|(_, waiting)| waiting == pair))
    }

    /// The fight over an object, for its condition.
    pub fn problem(&self, object: &Object, now: Timestamp) -> Option<Problem> {
        let all = self.all();
        let on = all.get(object)?.iter().filter(|(_, fight)| fight.is_on(now));
        let (manager, fight) = on.min_by_key(|(manager, _)| *manager)?;
        Some(Problem { reason: Reason::FieldFight, message: message(object, manager, fight) })
    }

    /// When to look at the service again: at the end of the next wait or fight.
    pub fn wake(&self, service: &Key, now: Timestamp) -> Option<Duration> {
        let all = self.all();
        let fights = all.iter().filter(|(object, _)| object.service == *service);
        let on = fights.flat_map(|(_, fights)| fights.values()).filter(|fight| fight.is_on(now));
        let next = on.map(|fight| fight.waiting(now).map_or(fight.end(), |(until, _)| until)).min()?;
        next.duration_since(now).try_into().ok()
    }
}

/// Whoever writes under many names is counted as one.
fn counted_as<'a>(fights: &HashMap<String, Fight>, manager: Option<&'a str>) -> &'a str {
    let manager = manager.unwrap_or("an unknown manager");
    if fights.contains_key(manager) || fights.len() < MANAGERS { manager } else { "several managers" }
}

fn message(object: &Object, manager: &str, fight: &Fight) -> String {
    let paths: Vec<_> = fight.fought.iter().cloned().collect();
    let mut message = format!(
        "{} {}: {} changed again and again by {manager}, and restored each time; make {manager} leave it alone",
        object.kind.as_str(),
        object.name,
        paths.join(", "),
    );
    if let Some(hint) = drift::hint(&paths) {
        message.push_str(", or use ");
        message.push_str(hint);
    }
    message
}

#[cfg(test)]
#[path = "fight_tests.rs"]
mod tests;
