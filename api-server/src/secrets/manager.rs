//! The order of the backends, their last good answers, and reading them again. Pure but for `Chain::refresh`.
//!
//! For each name the first backend of the list that has it wins. A backend that gives no answer keeps its last good
//! values, and these still come before those of the backends behind it: during an outage of Vault the password that
//! Vault gave an hour ago is more likely right than the one in a variable of the start, and a value must never go back
//! and forth with somebody's network. Only a backend that has never answered is passed over. One that answers without
//! a name gives it up, so that a secret can be taken away.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{
    NAMES,
    backend::{Answer, Backend, BackendError, Found},
};

/// For one read with login and second try; the parts have 5 s each.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The backends in order.
#[derive(Debug)]
pub struct Chain {
    backends: Vec<Box<dyn Backend>>,
    slots: Mutex<Vec<Slot>>,
}

/// What is known of one backend.
#[derive(Debug, Default)]
struct Slot {
    good: Answer,
    failure: Option<BackendError>,
}

/// How a backend does.
#[derive(Clone, Debug)]
pub struct Health {
    /// The backend.
    pub backend: &'static str,
    /// Why its last read gave nothing.
    pub failure: Option<BackendError>,
}

impl Health {
    /// For whoever may not see more.
    pub const fn as_str(&self) -> &'static str {
        if self.failure.is_none() { "ok" } else { "failing" }
    }
}

impl Chain {
    pub(super) fn new(backends: Vec<Box<dyn Backend>>) -> Self {
        let slots = backends.iter().map(|_| Slot::default()).collect();
        Self { backends, slots: Mutex::new(slots) }
    }

    /// Reads the local backends, or those over the network, or all; then says what counts.
    pub(super) async fn refresh(&self, which: Which) -> Answer {
        let reads = self.backends.iter().enumerate().filter(|(_, b)| which.takes(b.as_ref()));
        let reads = reads.map(|(index, backend)| async move {
            let answer = timeout(READ_TIMEOUT, backend.read(&NAMES)).await;
            (index, answer.unwrap_or_else(|_| Err(BackendError::Unreachable("no answer in time".to_owned()))))
        });
        let answers = join_all(reads).await;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, answer) in answers {
            if let (Some(slot), Some(backend)) = (slots.get_mut(index), self.backends.get(index)) {
                slot.take(backend.name(), answer);
            }
        }
        resolve(&slots)
    }

    pub(super) fn has(&self, which: Which) -> bool {
        self.backends.iter().any(|backend| which.takes(backend.as_ref()))
    }

    pub(super) fn health(&self) -> Vec<Health> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let each = self.backends.iter().zip(slots.iter());
        each.map(|(b, slot)| Health { backend: b.name(), failure: slot.failure.clone() }).collect()
    }
}

/// Which backends to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    All,
    Local,
    Remote,
}

impl Which {
    fn takes(self, backend: &dyn Backend) -> bool {
        match self {
            Self::All => true,
            Self::Local => backend.local(),
            Self::Remote => !backend.local(),
        }
    }
}

impl Slot {
    /// A failure leaves what was good. It is logged when it begins, changes and ends, not with each try.
    fn take(&mut self, backend: &'static str, answer: Result<Answer, BackendError>) {
        match answer {
            Ok(good) => {
                if self.failure.take().is_some() {
                    tracing::info!(target: "secrets", backend, outcome = "answers again");
                }
                self.good = good;
            }
            Err(failure) => {
                if self.failure.as_ref() != Some(&failure) {
                    let reason = failure.to_string();
                    tracing::warn!(target: "secrets", backend, outcome = "failed", reason, "last good values stay");
                }
                self.failure = Some(failure);
            }
        }
    }
}

fn resolve(slots: &[Slot]) -> Answer {
    let mut values = Answer::new();
    // From the last to the first, so that the first has the last word.
    for slot in slots.iter().rev() {
        values.extend(slot.good.iter().map(|(name, found)| (*name, found.clone())));
    }
    values
}

/// Logs what differs, by name and never by value, and says whether a value does.
pub(super) fn audit(before: &Answer, after: &Answer) -> bool {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut changed = false;
    for name in names {
        let outcome = match (before.get(name), after.get(name)) {
            (None, Some(_)) => "read",
            (Some(_), None) => "removed",
            (Some(old), Some(new)) if !same(&old.value, &new.value) => "changed",
            _ => continue,
        };
        changed = true;
        log(name, outcome, after.get(name).or(before.get(name)));
    }
    changed
}

pub(super) fn log(name: &str, outcome: &'static str, found: Option<&Found>) {
    let (backend, version) =
        found.map_or(("none", None), |f| (f.metadata.backend, f.metadata.version.as_deref()));
    tracing::info!(target: "secrets", name, backend, outcome, version);
}

/// In constant time, so that the time of a refresh tells nothing of how much of a value is the same.
fn same(a: &SecretString, b: &SecretString) -> bool {
    verify_slices_are_equal(a.expose_secret().as_bytes(), b.expose_secret().as_bytes()).is_ok()
}

/// Give or take a tenth by a random byte: replicas that started together must not ask together for ever.
pub(super) fn jittered(pause: Duration, random: u8) -> Duration {
    pause.mul_f64(0.9 + 0.2 * f64::from(random) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::backend::found;

    fn answer(backend: &'static str, values: &[(&'static str, &str)]) -> Answer {
        values.iter().map(|(name, value)| (*name, found(backend, value, None, None).unwrap())).collect()
    }

    fn slot(backend: &'static str, values: &[(&'static str, &str)]) -> Slot {
        Slot { good: answer(backend, values), failure: None }
    }

    fn value(values: &Answer, name: &str) -> Option<(String, &'static str)> {
        values.get(name).map(|found| (found.value.expose_secret().to_owned(), found.metadata.backend))
    }

    #[test]
    fn the_first_backend_that_has_a_name_wins() {
        let slots = [slot("a", &[("X", "1")]), slot("b", &[("X", "2"), ("Y", "3")])];
        let values = resolve(&slots);
        assert_eq!(value(&values, "X"), Some(("1".to_owned(), "a")));
        assert_eq!(value(&values, "Y"), Some(("3".to_owned(), "b")));
        assert_eq!(value(&values, "Z"), None);
    }

    #[test]
    fn a_backend_that_fails_keeps_its_last_good_values_before_the_next_ones() {
        let mut slots = [slot("a", &[("X", "1")]), slot("b", &[("X", "2")])];
        slots[0].take("a", Err(BackendError::Unreachable("gone".to_owned())));
        assert_eq!(value(&resolve(&slots), "X"), Some(("1".to_owned(), "a")));
        slots[0].take("a", Ok(Answer::new()));
        assert_eq!(
            value(&resolve(&slots), "X"),
            Some(("2".to_owned(), "b")),
            "it answers: the name is given up"
        );
    }

    #[test]
    fn a_backend_that_never_answered_is_passed_over_until_it_does() {
        let mut slots = [slot("a", &[]), slot("b", &[("X", "2")])];
        slots[0].take("a", Err(BackendError::Unreachable("gone".to_owned())));
        assert_eq!(value(&resolve(&slots), "X"), Some(("2".to_owned(), "b")));
        slots[0].take("a", Ok(answer("a", &[("X", "1")])));
        assert_eq!(value(&resolve(&slots), "X"), Some(("1".to_owned(), "a")));
    }

    #[test]
    fn only_another_value_is_a_change() {
        let old = answer("a", &[("X", "1"), ("Y", "2")]);
        assert!(!audit(&old, &answer("b", &[("X", "1"), ("Y", "2")])), "another place or time is none");
        assert!(audit(&old, &answer("a", &[("X", "1"), ("Y", "3")])));
        assert!(audit(&old, &answer("a", &[("X", "1")])));
        assert!(audit(&Answer::new(), &old));
    }

    #[test]
    fn the_pause_is_a_tenth_longer_or_shorter_at_most() {
        let minute = Duration::from_mins(1);
        assert_eq!(jittered(minute, 0), Duration::from_secs(54));
        assert_eq!(jittered(minute, 255).as_millis().div_ceil(1000), 66);
    }
}
