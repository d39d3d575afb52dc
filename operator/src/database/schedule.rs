//! Which Job is the next one, and when it is due. Pure.

use std::time::Duration;

use crds::{DatabaseStatus, GepDuration, Postgres};
use k8s_openapi::jiff::Timestamp;
use render::{DatabaseJob, Problem};

use super::words;

/// How often the database is verified when the spec does not say: a DBA's DROP EXTENSION is noticed within ten minutes.
const VERIFY: Duration = Duration::from_mins(10);
/// A Job begins so much sooner, so that its result is there when the interval is over.
const LEAD: Duration = Duration::from_secs(3);
/// The first and the longest pause after a Job that proved nothing.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_mins(5)];

/// Looks that nobody was there for are made up for within this time, or within the interval.
const SPREAD: Duration = Duration::from_mins(5);

/// What does not change from one Job to the next.
pub struct Terms<'a> {
    /// What is asked for.
    pub spec: &'a Postgres,
    /// The image that a Job runs. Another one makes another Job, but none begin sooner: they would all at once.
    pub image: &'a str,
    /// Since when this operator works: what became due before, nobody looked at.
    pub since: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// The same from the same status: a Job that was made before the operator died is found by its name again.
pub fn next(
    status: &DatabaseStatus,
    input: &str,
    told: Option<&Problem>,
    Terms { spec, image, since, now }: &Terms<'_>,
) -> (DatabaseJob, Timestamp) {
    let failures = status.failures.unwrap_or_default();
    // What failed may be what a Job that hardens brings back.
    let verify_only = status.hardened.as_deref() == Some(input) && failures == 0;
    let last = status.looked_at.as_ref().map(|at| at.0);
    let run = render::database::run(&format!("{input} {image} {last:?} {failures} {verify_only}"));
    let interval = spec.verify_interval.map_or(VERIFY, GepDuration::get);
    let is_new = status.input.as_deref() != Some(input);
    // A time of the future is nobody's honest one: nothing would be looked at any more.
    let last = last.filter(|last| !is_new && last <= now);
    let pause = match told {
        None => interval.saturating_sub(LEAD).mul_f64(1.0 - 0.1 * fraction(&run)),
        Some(problem) if words::is_terminal(problem.reason) => interval,
        Some(_) => interval.min(growing(failures)),
    };
    let due = last.map_or(*now, |last| after(last, pause));
    // A fleet that waited for an operator does not get all its Jobs in the same second.
    let missed = last.is_some() && due < *since;
    let due = if missed { after(*since, interval.min(SPREAD).mul_f64(fraction(&run))) } else { due };
    (DatabaseJob { run, verify_only }, due)
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

fn growing(failures: i32) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or_default();
    let [first, longest] = PAUSES;
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
}

/// From 0 to 1, by the name of the Job: a fleet that began together does not look together for ever.
fn fraction(run: &str) -> f64 {
    let digits = run.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    f64::from(digits.unwrap_or_default()) / 255.0
}

#[cfg(test)]
mod tests {
    use crds::Reason;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const INPUT: &str = "input";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(looked_at: i64, failures: i32) -> DatabaseStatus {
        DatabaseStatus {
            looked_at: Some(Time(at(looked_at))),
            input: Some(INPUT.into()),
            hardened: Some(INPUT.into()),
            failures: Some(failures),
            ..DatabaseStatus::default()
        }
    }

    fn due(status: &DatabaseStatus, input: &str, reason: Option<Reason>, now: i64) -> (bool, i64, String) {
        due_since(0, status, input, reason, now)
    }

    fn due_since(
        since: i64,
        status: &DatabaseStatus,
        input: &str,
        reason: Option<Reason>,
        now: i64,
    ) -> (bool, i64, String) {
        let told = reason.map(|reason| Problem { reason, message: String::new() });
        let terms = Terms { spec: &Postgres::default(), image: "image", since: at(since), now: at(now) };
        let (job, due) = next(status, input, told.as_ref(), &terms);
        (job.verify_only, due.as_second(), job.run)
    }

    #[test]
    fn what_was_never_looked_at_or_is_asked_for_anew_is_hardened_at_once() {
        let (verify_only, at, first) = due(&DatabaseStatus::default(), INPUT, None, 50);
        assert_eq!((verify_only, at), (false, 50));
        let (verify_only, at, _) = due(&status(0, 0), "other", None, 50);
        assert_eq!((verify_only, at), (false, 50));
        assert_eq!(
            due(&DatabaseStatus::default(), INPUT, None, 99).2,
            first,
            "another name for the same run"
        );
    }

    #[test]
    fn what_is_proven_is_verified_before_the_interval_is_over_by_up_to_a_tenth() {
        let (verify_only, at, run) = due(&status(1000, 0), INPUT, None, 1001);
        assert!(verify_only && (1537..=1597).contains(&at), "{at}");
        assert_ne!(due(&status(1600, 0), INPUT, None, 1601).2, run, "two runs of one name");
    }

    #[test]
    fn after_failures_it_is_hardened_again_after_growing_pauses() {
        let pause = |failures, reason| {
            let (verify_only, at, _) = due(&status(1000, failures), INPUT, Some(reason), 1001);
            assert!(!verify_only);
            at - 1000
        };
        let pauses = [1, 2, 3, 9].map(|failures| pause(failures, Reason::Unreachable));
        assert_eq!(pauses, [10, 20, 40, 300]);
        assert_eq!(pause(1, Reason::VerificationFailed), 10);
        assert_eq!(pause(1, Reason::NotSuperuser), 600, "nothing of it is over by itself");
    }

    #[test]
    fn a_status_that_claims_a_look_in_the_future_puts_nothing_off() {
        assert_eq!(due(&status(5000, 0), INPUT, None, 1000).1, 1000);
    }

    #[test]
    fn what_became_due_while_no_operator_was_there_is_spread_over_five_minutes_and_a_new_wish_is_not() {
        let looked = |second| due_since(9000, &status(second, 0), INPUT, None, 9001).1;
        let all: Vec<_> = (0..200).map(looked).collect();
        let [first, last] = [all.iter().min().unwrap(), all.iter().max().unwrap()];
        assert!((9000..=9010).contains(first) && (9290..=9300).contains(last), "{first} {last}");
        assert_eq!(due_since(9000, &status(0, 0), "other", None, 9001).1, 9001);
        assert!((9538..=9598).contains(&looked(9001)), "not missed");
    }
}
