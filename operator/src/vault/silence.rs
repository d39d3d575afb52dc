//! What a Vault that gives nobody an answer has everybody wait for: one at a time tries again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::zeroize::Zeroizing;
use tokio::time::Instant;
use vault_kv::Fault;

use super::REQUEST;

/// Each pass that waits for an answer holds a turn that others need, so after a silence nobody asks for so long. Short
/// enough that all services come back within a minute after Vault did.
const PAUSE: Duration = Duration::from_secs(10);

/// Whether a Vault may be asked.
#[derive(Default)]
pub struct Silence(Mutex<Option<Quiet>>);

struct Quiet {
    until: Instant,
    /// What Vault said about it, if anything.
    code: Option<u16>,
}

impl Silence {
    fn quiet(&self) -> MutexGuard<'_, Option<Quiet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it may not be asked now. Who is the first to be let through after a pause is for a while the only one.
    pub fn lasts(&self, now: Instant) -> Option<Fault> {
        let mut quiet = self.quiet();
        let quiet = quiet.as_mut()?;
        if now < quiet.until {
            return Some(match quiet.code {
                Some(code) => Fault::Status { code, body: Zeroizing::default() },
                None => Fault::Silence,
            });
        }
        quiet.until = now + REQUEST;
        None
    }

    /// An answer that tells of Vault as a whole. One of overload does not: Vault can limit one namespace or one path.
    pub fn note(&self, fault: Option<&Fault>, now: Instant) {
        let code = match fault {
            Some(Fault::Silence) => None,
            Some(Fault::Status { code: code @ (300..=399 | 472..=474 | 501 | 503), .. }) => Some(*code),
            _ => {
                *self.quiet() = None;
                return;
            }
        };
        *self.quiet() = Some(Quiet { until: now + PAUSE, code });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_silence_one_at_a_time_tries_again_and_an_answer_lets_all_in() {
        let (silence, start) = (Silence::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let lasts = |seconds| silence.lasts(at(seconds)).is_some();
        assert!(!lasts(0) && !lasts(0));
        silence.note(Some(&Fault::Silence), at(0));
        assert!(lasts(0) && lasts(9));
        assert!(!lasts(10), "the pause is over");
        assert!(lasts(10) && lasts(14), "one is on its way");
        assert!(!lasts(15), "nothing was heard of it");
        silence.note(None, at(16));
        assert!(!lasts(16) && !lasts(16));
    }

    #[test]
    fn a_sealed_vault_and_a_standby_are_left_alone_and_what_one_service_is_told_counts_for_that_one() {
        let (silence, now) = (Silence::default(), Instant::now());
        for code in [307, 472, 473, 474, 501, 503] {
            silence.note(Some(&Fault::Status { code, body: Zeroizing::default() }), now);
            let told = silence.lasts(now);
            assert!(matches!(told, Some(Fault::Status { code: same, .. }) if same == code), "{code}");
        }
        for code in [400, 403, 404, 429, 500, 502, 504] {
            silence.note(Some(&Fault::Status { code, body: Zeroizing::default() }), now);
            assert!(silence.lasts(now).is_none(), "{code}");
        }
    }
}
