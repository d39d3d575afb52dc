//! What a Job's report becomes: evidence for status, and a problem in words. Nothing of it is a secret; names may come from a
//! database of somebody else's, so nothing but plain characters is repeated.

use crds::{AuditProof, DatabaseExtension, DatabaseSetting, DatabaseStatus, Reason};
use postgres_hardening::{Check, Evidence, Outcome, Proof, Report};
use render::Problem;
use serde_json::json;

use super::pod::Found;
use crate::cache::Key;

/// Checks that a message tells at most.
const TOLD: usize = 3;

/// What a Job saw.
pub struct Seen {
    /// Whether nothing stood in its way.
    pub hardened: bool,
    /// The members of status that come from it.
    pub evidence: Option<DatabaseStatus>,
    /// Why the database is not proven.
    pub problem: Option<Problem>,
}

/// Reads what the Job left; without a report the Job itself is the problem.
pub fn read(found: Found, job: &str, key: &Key) -> Seen {
    let failed = |reason, message| Seen {
        hardened: false,
        evidence: None,
        problem: Some(Problem { reason, message }),
    };
    let report = match found {
        Found::Report(report) => *report,
        Found::Changed => {
            let message = format!(
                "the pod of the Job {job} was changed on its way, by an admission webhook for example, so its result is not \
                 believed; leave the pods with the label {} alone",
                crds::JOB_LABEL
            );
            return failed(Reason::JobFailed, message);
        }
        Found::Nothing => Report::default(),
    };
    match report {
        Report { problem: Some(problem), .. } => {
            failed(reason_of(problem.reason), plain(&format!("{}; {}", problem.detail, problem.fix)))
        }
        Report { evidence: Some(evidence), .. } => {
            Seen { hardened: true, problem: open(&evidence), evidence: Some(status(evidence)) }
        }
        _ => failed(
            Reason::JobFailed,
            format!(
                "the Job {job} that looks at the database did not end with a result; see kubectl -n {} describe job {job}",
                key.namespace
            ),
        ),
    }
}

fn open(evidence: &Evidence) -> Option<Problem> {
    let failed: Vec<_> = evidence.open.iter().filter(|check| check.outcome == Outcome::Failed).collect();
    let (reason, checks) = if failed.is_empty() {
        (Reason::NotProven, evidence.open.iter().collect())
    } else {
        (Reason::VerificationFailed, failed)
    };
    if checks.is_empty() && evidence.more == 0 {
        return None;
    }
    let mut told: Vec<_> = checks.iter().take(TOLD).map(|check| line(check)).collect();
    let more = evidence.open.len() - told.len() + evidence.more;
    told.extend((more > 0).then(|| format!("And {more} more")));
    Some(Problem { reason, message: plain(&told.join(". ")) })
}

fn line(check: &Check) -> String {
    let fix = check.fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
    format!("{}: {}{fix}", check.control, check.evidence)
}

fn status(evidence: Evidence) -> DatabaseStatus {
    let version = evidence.server_version;
    DatabaseStatus {
        server_version: Some(format!("{}.{}", version / 10_000, version % 10_000)),
        extensions: evidence
            .extensions
            .into_iter()
            .take(8)
            .map(|seen| DatabaseExtension {
                name: seen.name.as_str().into(),
                version: short(&seen.version, 63),
                schema: short(&seen.schema, 63),
            })
            .collect(),
        settings: evidence
            .settings
            .into_iter()
            .take(8)
            .map(|seen| DatabaseSetting { name: seen.name.as_str().into(), value: short(&seen.value, 128) })
            .collect(),
        audit: evidence.audit.map(|proof| match proof {
            Proof::ServerLog => AuditProof::ServerLog,
            Proof::ClientOnly => AuditProof::ClientOnly,
        }),
        tls: evidence.tls.map(|tls| {
            let verified = if tls.verified { "verified" } else { "not verified" };
            short(&format!("{}, {}, {verified}", tls.version, tls.cipher), 128)
        }),
        passed: i32::try_from(evidence.passed).ok(),
        ..DatabaseStatus::default()
    }
}

/// What a terminal may show.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn short(text: &str, most: usize) -> String {
    plain(text).chars().take(most).collect()
}

const fn reason_of(reason: postgres_hardening::Reason) -> Reason {
    use postgres_hardening::Reason as R;
    match reason {
        R::PreloadMissing => Reason::PreloadMissing,
        R::RestartPending => Reason::RestartPending,
        R::NotSuperuser => Reason::NotSuperuser,
        R::NotAvailable => Reason::NotAvailable,
        R::UnsupportedVersion => Reason::UnsupportedVersion,
        R::ReadOnlyStandby => Reason::ReadOnlyStandby,
        R::Unreachable => Reason::Unreachable,
        R::AuthFailed => Reason::AuthFailed,
        R::TlsFailed => Reason::TlsFailed,
        R::DatabaseMissing => Reason::DatabaseMissing,
        R::TooManyConnections => Reason::TooManyConnections,
        R::InvalidUrl => Reason::InvalidUrl,
        R::SchemaMissing => Reason::SchemaMissing,
        R::WrongSchema => Reason::WrongSchema,
        R::Refused => Reason::DatabaseRefused,
    }
}

/// The engine's reason behind one of a condition. They have the same names, but for the one that the API server's refusals
/// have taken.
fn of_engine(reason: Reason) -> Option<postgres_hardening::Reason> {
    let name = match reason {
        Reason::DatabaseRefused => "Refused",
        Reason::Refused => return None,
        reason => reason.as_str(),
    };
    serde_json::from_value(json!(name)).ok()
}

/// Whether a Job said so, and not the operator of its own.
pub fn is_of_job(reason: Reason) -> bool {
    let own = [Reason::JobFailed, Reason::VerificationFailed, Reason::NotProven];
    own.contains(&reason) || of_engine(reason).is_some()
}

/// Whether only somebody's change helps: then nothing is tried before the next verification.
pub fn is_terminal(reason: Reason) -> bool {
    reason == Reason::NotProven || of_engine(reason).is_some_and(postgres_hardening::Reason::is_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_the_engine_is_one_of_a_condition_and_found_again() {
        let terminal = [
            "PreloadMissing",
            "NotSuperuser",
            "NotAvailable",
            "UnsupportedVersion",
            "InvalidUrl",
            "SchemaMissing",
            "WrongSchema",
            "Refused",
        ];
        let others = [
            "RestartPending",
            "ReadOnlyStandby",
            "Unreachable",
            "AuthFailed",
            "TlsFailed",
            "DatabaseMissing",
            "TooManyConnections",
        ];
        for name in terminal.into_iter().chain(others) {
            let engine: postgres_hardening::Reason = serde_json::from_value(json!(name)).unwrap();
            let reason = reason_of(engine);
            assert_eq!(of_engine(reason), Some(engine), "{name}");
            assert!(is_of_job(reason) && is_terminal(reason) == terminal.contains(&name), "{name}");
        }
        for reason in [Reason::Refused, Reason::Progressing, Reason::SecretNotAllowed, Reason::JobsNotAllowed]
        {
            assert!(!is_of_job(reason) && !is_terminal(reason), "{reason:?}");
        }
    }
}
