//! When a part that failed is asked again, as arithmetic on times: no clock, no connection.

use std::time::Duration;

/// The first pause: an outage of one packet costs a second of shared counting.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause, so that counting is shared again within 10 s of the recovery.
const LONGEST: Duration = Duration::from_secs(10);
/// Who asks after a pause gets so long; when nothing is heard of it (its client hung up), the next one asks.
const PROBE: Duration = Duration::from_secs(1);

/// Closed while all is well. Open after a failure: then nobody asks for a while, and after that one request does.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The pause and its end, while open.
    open: Option<(Duration, Duration)>,
}

impl Breaker {
    /// Whether to ask at `now`; otherwise the time until somebody may.
    pub fn turn(&mut self, now: Duration) -> Result<(), Duration> {
        match &mut self.open {
            None => Ok(()),
            Some((_, until)) => match until.saturating_sub(now) {
                Duration::ZERO => {
                    *until = now + PROBE;
                    Ok(())
                }
                rest => Err(rest),
            },
        }
    }

    /// Notes a failure; gives the pause that begins.
    pub fn failed(&mut self, now: Duration) -> Duration {
        let pause = self.open.map_or(FIRST, |(pause, _)| (pause * 2).min(LONGEST));
        self.open = Some((pause, now + pause));
        pause
    }

    /// Notes an answer; says whether it ends an outage.
    pub fn answered(&mut self) -> bool {
        self.open.take().is_some()
    }

    /// Whether the last thing heard was a failure.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn after_a_failure_nobody_asks_for_a_second_and_then_one_does() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.turn(at(0)), Ok(()));
        assert_eq!(breaker.failed(at(0)), FIRST);
        assert_eq!(breaker.turn(at(400)), Err(at(600)));
        assert_eq!([at(1000), at(1001), at(1500)].map(|now| breaker.turn(now).is_ok()), [true, false, false]);
        assert!(breaker.answered() && !breaker.is_open());
        assert_eq!([at(1501), at(1501)].map(|now| breaker.turn(now).is_ok()), [true, true]);
    }

    #[test]
    fn pauses_double_up_to_ten_seconds_and_begin_anew_after_an_answer() {
        let mut breaker = Breaker::default();
        let pauses = [(); 6].map(|()| breaker.failed(at(0)).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        assert!(breaker.answered() && !breaker.answered(), "an outage ends once");
        assert_eq!(breaker.failed(at(0)), FIRST);
    }

    #[test]
    fn one_that_asks_and_is_never_heard_of_again_does_not_keep_the_others_away() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0));
        assert!(breaker.turn(at(1000)).is_ok() && breaker.turn(at(1900)).is_err());
        assert!(breaker.turn(at(2000)).is_ok());
    }
}
