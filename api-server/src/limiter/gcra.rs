//! The generic cell rate algorithm (GCRA, ITU-T I.371) as arithmetic on times: no clock, no store.

/// A number of requests in a period, as a bucket of that size which refills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    requests: u64,
    period: u64,
}

/// What one request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it passes.
    pub allowed: bool,
    /// Requests that would pass right after it.
    pub remaining: u64,
    /// Nanoseconds until one passes; 0 when this one did.
    pub retry_after: u64,
    /// Nanoseconds until the bucket is full again.
    pub reset: u64,
}

impl Quota {
    /// So many requests (at least 1) in so many nanoseconds.
    pub fn new(requests: u64, period: u64) -> Self {
        Self { requests: requests.max(1), period: period.max(1) }
    }

    /// The size of the bucket.
    pub fn requests(self) -> u64 {
        self.requests
    }

    /// The period in nanoseconds.
    pub fn period(self) -> u64 {
        self.period
    }

    /// The same period for a part or a multiple of the requests.
    pub fn scaled(self, times: u64, parts: u64) -> Self {
        Self::new(self.requests.saturating_mul(times) / parts.max(1), self.period)
    }

    /// Takes one request at `now` from a bucket that is full again at `full_at`; gives the new time of that, which is
    /// the old one when the request does not pass. All in nanoseconds of one clock.
    pub fn take(self, full_at: u64, now: u64) -> (u64, Decision) {
        let cost = (self.period / self.requests).max(1);
        let begin = full_at.max(now);
        let after = begin.saturating_add(cost);
        let limit = now.saturating_add(self.period);
        if after > limit {
            let denied =
                Decision { allowed: false, remaining: 0, retry_after: after - limit, reset: begin - now };
            return (full_at, denied);
        }
        let decision =
            Decision { allowed: true, remaining: (limit - after) / cost, retry_after: 0, reset: after - now };
        (after, decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_bucket_lets_its_size_pass_and_then_one_for_each_part_of_the_period() {
        let quota = Quota::new(5, 60 * SECOND);
        let mut full_at = 0;
        let mut take = |now| {
            let (next, decision) = quota.take(full_at, now);
            full_at = next;
            decision
        };
        let start = 1_000 * SECOND;
        for remaining in (0..5).rev() {
            let decision = take(start);
            assert!(decision.allowed);
            assert_eq!(decision.remaining, remaining);
        }
        let denied = take(start + SECOND);
        assert_eq!((denied.allowed, denied.retry_after, denied.reset), (false, 11 * SECOND, 59 * SECOND));
        assert!(!take(start + 12 * SECOND - 1).allowed);
        assert!(take(start + 12 * SECOND).allowed, "after Retry-After one passes");
        assert!(!take(start + 12 * SECOND).allowed, "and exactly one");
        let later = start + 200 * SECOND;
        assert_eq!((0..6).filter(|_| take(later).allowed).count(), 5, "after an idle period all pass");
    }

    #[test]
    fn in_any_period_at_most_twice_the_requests_but_one_pass() {
        let quota = Quota::new(10, 10 * SECOND);
        let (mut full_at, mut passed) = (0, Vec::new());
        for step in 0..4_000 {
            let now = 500 * SECOND + step * SECOND / 100;
            let (next, decision) = quota.take(full_at, now);
            full_at = next;
            passed.extend(decision.allowed.then_some(now));
        }
        let most = passed
            .iter()
            .map(|from| passed.iter().filter(|t| (*from..from + 10 * SECOND).contains(*t)).count());
        assert_eq!(most.max(), Some(19));
    }

    #[test]
    fn a_part_of_a_small_quota_is_one() {
        assert_eq!(Quota::new(5, SECOND).scaled(1, 3).requests(), 1);
        assert_eq!(Quota::new(5, SECOND).scaled(1, 9), Quota::new(1, SECOND));
        assert_eq!(Quota::new(60, SECOND).scaled(16, 1).requests(), 960);
    }
}
