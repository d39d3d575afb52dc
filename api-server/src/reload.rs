//! Follows the policy file and the TLS directory. It compares contents, so a swapped symlink, a rename and a write in
//! place all count; what does not parse or fit is refused and the last good content stays in force.

use std::sync::atomic::Ordering;

use actix_web::web::Data;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    log::chain,
    metrics::{Reload, ReloadFile},
    policy::{self, Compiled},
    state::State,
    tls::Files,
};

/// Looks at the files until the process ends.
pub async fn follow(state: Data<State>) {
    let mut policy = PolicyWatch { seen: None };
    let mut certificate = CertificateWatch { seen: None };
    // The first look records what the start has read; loading it once more is harmless.
    let mut ticks = interval(state.config.reload_every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        policy.look(&state);
        certificate.look(&state);
    }
}

struct PolicyWatch {
    /// The last content looked at, or the last reason why there was none.
    seen: Option<Result<Vec<u8>, String>>,
}

impl PolicyWatch {
    fn look(&mut self, state: &State) {
        let Some(path) = &state.config.policy_file else { return };
        let content = policy::read(path).map_err(|e| chain(&e));
        if self.seen.as_ref() == Some(&content) {
            return;
        }
        let first = self.seen.is_none();
        let result = content.clone().and_then(|text| Compiled::parse(&text).map_err(|e| chain(&e)));
        self.seen = Some(content);
        state.stale.policy.store(result.is_err(), Ordering::Relaxed);
        report(state, ReloadFile::Policy, first, result.map(|compiled| state.set_policy(compiled)));
    }
}

struct CertificateWatch {
    seen: Option<Result<Files, String>>,
}

impl CertificateWatch {
    fn look(&mut self, state: &State) {
        let (Some(dir), Some(certificate)) = (&state.config.tls_dir, &state.certificate) else { return };
        let files = Files::read(dir).map_err(|e| chain(&e));
        if self.seen.as_ref() == Some(&files) {
            return;
        }
        let first = self.seen.is_none();
        let pair = files.as_ref().map_err(Clone::clone).and_then(|files| files.pair().map_err(|e| chain(&e)));
        self.seen = Some(files);
        state.stale.certificate.store(pair.is_err(), Ordering::Relaxed);
        report(state, ReloadFile::Certificate, first, pair.map(|pair| certificate.replace(pair)));
    }
}

fn report(state: &State, file: ReloadFile, first: bool, result: Result<(), String>) {
    match result {
        Ok(()) if first => {}
        Ok(()) => {
            state.metrics.reloaded(file, Reload::Loaded);
            tracing::info!(file = file.as_str(), "file changed, new content in force");
        }
        Err(reason) => {
            state.metrics.reloaded(file, Reload::Refused);
            tracing::error!(file = file.as_str(), reason, "file refused, last good content stays in force");
        }
    }
}
