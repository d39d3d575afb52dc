//! Until when this process may write: a point in time that only a renewed lease moves forward. No requests.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot. It goes on while the process is stopped (SIGSTOP) and while the machine sleeps, so that
/// whoever wakes up late sees that its time has passed; `Instant` stands still in a suspended machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
        Self(u64::try_from(millis).unwrap_or(0))
    }

    /// This much later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this; none when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One term of leadership. Every term has a fence of its own, so that a task that was left over from an earlier one can
/// write nothing.
#[derive(Debug, Default)]
pub struct Fence(AtomicU64);

impl Fence {
    /// One that never closes, for an operator that runs without election.
    pub fn open() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Writes are allowed until then.
    pub fn extend(&self, until: Moment) {
        self.0.fetch_max(until.0, Ordering::AcqRel);
    }

    /// No writes from now on.
    pub fn close(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Until when writes are allowed.
    pub fn until(&self) -> Moment {
        Moment(self.0.load(Ordering::Acquire))
    }

    /// Whether writes are allowed at this moment.
    pub fn holds(&self, now: Moment) -> bool {
        now < self.until()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_holds_until_its_moment_and_not_at_it() {
        let fence = Fence::default();
        let start = Moment(1000);
        assert!(!fence.holds(start), "a fence that was never extended holds");
        fence.extend(start.after(Duration::from_millis(5)));
        assert!(fence.holds(Moment(1004)));
        assert!(!fence.holds(Moment(1005)));
    }

    #[test]
    fn a_late_answer_does_not_pull_a_fence_back() {
        let fence = Fence::default();
        fence.extend(Moment(2000));
        fence.extend(Moment(1000));
        assert_eq!(fence.until(), Moment(2000));
    }
}
