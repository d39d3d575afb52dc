//! A login to Postgres with new values, before the pods get them: what is tried, and where the Job that tries it stands.

use crds::Reason;
use k8s_openapi::api::core::v1::Pod;
use postgres_hardening::is_sqlstate;
use render::{Kind, Problem};

use super::values::Values;
use crate::{
    error::Error,
    issuer::Case,
    jobs,
    postgres::{Outcome, Report},
};

/// Hex digits of the HMAC over the values in the names of Job and Secret; not eight, in which names end that were cut.
const DIGITS: usize = 10;

/// A login that is under way or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// What the names of Job and Secret end in.
    pub values: String,
    /// Where it stood when somebody last looked.
    pub state: State,
    /// Why it failed the last time; the Job goes after a minute, and the next one tries again.
    pub held: Option<Problem>,
}

/// Where the Job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It or its Secret is not there.
    Absent,
    /// It has not ended.
    UnderWay,
    /// Every address let it in.
    LoggedIn,
    /// One did not.
    Failed,
}

/// What the login needs of the values; nothing where it is what the workload has already.
pub fn needed(case: &Case<'_>, new: &Values, own: &Values) -> Option<Values> {
    let needed = new.only(render::login::names(case.service));
    let differs = needed.names().any(|name| needed.get(name) != own.get(name));
    differs.then_some(needed)
}

/// The end of the names, from an HMAC over the values.
pub fn suffix(seal: &str) -> String {
    seal[seal.len().saturating_sub(DIGITS)..].to_owned()
}

/// Looks at caches only.
pub fn state(case: &Case<'_>, values: &str) -> State {
    let name = render::login::name(case.service, values);
    let of = |kind| jobs::live(case, kind, &name);
    match (of(Kind::Job), of(Kind::Secret)) {
        (Some(job), Some(_)) if jobs::is(&job, "Complete") => State::LoggedIn,
        (Some(job), Some(_)) if jobs::is(&job, "Failed") => State::Failed,
        (Some(_), Some(_)) => State::UnderWay,
        _ => State::Absent,
    }
}

/// What is said while the Job works.
pub fn under_way(names: &[String]) -> Problem {
    Problem {
        reason: Reason::Progressing,
        message: format!(
            "a Job logs in to Postgres with the new value of {} first; until then what the workload has stays",
            names.join(" and ")
        ),
    }
}

/// What is said where no Job may run.
pub fn not_allowed() -> Problem {
    let stays = ". What the workload has stays";
    jobs::not_allowed(Reason::RotationHeld, "spec.secrets.postgresLogins", stays)
}

/// Why it failed. Whoever makes pods in the namespace may make one that looks like the Job's: so nothing of its words is
/// repeated but a name that the spec has, a word of a list, and five letters or digits.
pub async fn why(case: &Case<'_>, values: &str) -> Result<Problem, Error> {
    let job = render::login::name(case.service, values);
    let report = jobs::pods(case, &job)
        .await?
        .iter()
        .find_map(report)
        .filter(|report| render::login::logins(case.service).iter().any(|login| login.url == report.url));
    let Some(report) = report else {
        return Ok(held(&format!(
            "the Job {job} that logs in to Postgres with the new values did not end well within its time; see kubectl -n {} \
             describe job {job}",
            case.key.namespace
        )));
    };
    let code = report.sqlstate.filter(|code| is_sqlstate(code));
    let code = code.map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
    Ok(held(&format!("the new value of {} {}{code}", report.url, report.outcome.words())))
}

fn held(what: &str) -> Problem {
    let message = format!("{what}. What the workload has stays, and the Job tries again");
    Problem { reason: Reason::RotationHeld, message }
}

fn report(pod: &Pod) -> Option<Report> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let report: Report = jobs::report(statuses.first()?)?;
    (report.outcome != Outcome::LoggedIn).then_some(report)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(message: &str) -> Pod {
        serde_json::from_value(json!({
            "status": {"containerStatuses": [{
                "name": "login", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "message": message}},
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn a_report_is_believed_only_in_its_own_form() {
        let good = r#"{"url": "URL", "outcome": "AuthFailed", "sqlstate": "28P01"}"#;
        let report = report(&pod(good)).unwrap();
        assert_eq!((&*report.url, report.outcome), ("URL", Outcome::AuthFailed));
        for bad in [
            "",
            "AuthFailed",
            r#"{"url": "URL"}"#,
            r#"{"url": "URL", "outcome": "Come to evil.example"}"#,
            r#"{"url": "URL", "outcome": "AuthFailed", "hint": "come to evil.example"}"#,
            r#"{"url": "URL", "outcome": "LoggedIn"}"#,
        ] {
            assert_eq!(super::report(&pod(bad)), None, "{bad}");
        }
        for (code, good) in [("28P01", true), ("28p01", false), ("28P0", false), ("28P01 evil", false)] {
            assert_eq!(is_sqlstate(code), good, "{code}");
        }
    }

    #[test]
    fn other_values_have_another_name_which_no_cut_name_has() {
        let suffix = suffix("v1:0a1b2c3d:00112233445566778899aabbccddeeff");
        assert_eq!(suffix, "bbccddeeff");
    }
}
