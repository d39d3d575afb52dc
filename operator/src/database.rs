//! The database of `spec.postgres`: which Job is to work on it, and what the last one saw. What has to be remembered stands in
//! status, so that the next operator goes on from there. Nothing is written here.

mod pod;
mod schedule;
mod words;

use crds::{ConditionType, DatabaseStatus, Postgres, Reason};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use render::{DatabaseJob, Kind, Problem, whole_seconds};
use serde_json::json;

use self::schedule::Terms;
use crate::{error::Error, issuer::Case, jobs, observe, ownership::is_ours};

/// What is decided about the database of a service.
pub struct Decision {
    /// The Job that is to work.
    pub job: Option<DatabaseJob>,
    /// Name of the last Job that has ended: its log can be looked at until the next one ends.
    pub kept: Option<String>,
    /// What status shows.
    pub status: DatabaseStatus,
    /// What keeps `DatabaseReady` from being true.
    pub problem: Option<Problem>,
    /// When to look again without an event.
    pub again: Option<Timestamp>,
}

/// Decides; nothing without `spec.postgres`.
pub async fn decide(case: &Case<'_>) -> Result<Option<Decision>, Error> {
    let Some(spec) = &case.service.spec.postgres else { return Ok(None) };
    let status = case.service.status.as_ref().and_then(|status| status.database.clone()).unwrap_or_default();
    let kept = last_ended(case);
    if let Some(problem) = impossible(case, spec) {
        return Ok(Some(Decision { job: None, kept, status, problem: Some(problem), again: None }));
    }
    let image = case.facts.settings.jobs.image.as_deref().unwrap_or_default();
    let terms = Terms { spec, image, since: case.ctx.since, now: case.now };
    let input = input(case, spec);
    let told = told(case, &status, &input);
    let (job, due) = schedule::next(&status, &input, told.as_ref(), &terms);
    let name = render::database::name(case.service, &job.run);
    let Some(live) = jobs::live(case, Kind::Job, &name) else {
        let job = (case.now >= due).then_some(job);
        let again = job.is_none().then_some(due);
        return Ok(Some(Decision { job, kept, status, problem: told, again }));
    };
    if !jobs::has_ended(&live) {
        return Ok(Some(Decision { job: Some(job), kept, status, problem: told, again: None }));
    }
    let seen = words::read(pod::report(case, &live, &job).await?, &name, case.key);
    if let Some(problem) = &seen.problem {
        case.ctx.metrics.database_failed(problem.reason);
        tracing::warn!(why = problem.message, "the database is not proven");
    }
    let began = live.metadata.creation_timestamp.as_ref().map_or(case.now, |made| made.0);
    let status = after(status, &seen, &job, input, (began, case.now));
    let input = status.input.as_deref().unwrap_or_default();
    let (_, due) = schedule::next(&status, input, seen.problem.as_ref(), &terms);
    Ok(Some(Decision { job: None, kept: Some(name), status, problem: seen.problem, again: Some(due) }))
}

/// What no Job can change.
fn impossible(case: &Case<'_>, spec: &Postgres) -> Option<Problem> {
    if case.facts.settings.jobs.image.is_none() {
        return Some(jobs::not_allowed(Reason::JobsNotAllowed, "spec.postgres", ""));
    }
    let mut secrets = render::database::secrets(spec);
    let (field, name) = secrets.find(|(_, name)| observe::labelled(case.ctx, case.key, name).is_none())?;
    Some(observe::not_allowed(field, name, case.key))
}

/// Digest of everything whose change makes another Job begin at once.
fn input(case: &Case<'_>, spec: &Postgres) -> String {
    let versions =
        render::database::secrets(spec).map(|(_, name)| observe::labelled_version(case.ctx, case.key, name));
    let forced = case.service.annotations().get(crds::FORCE_SYNC_ANNOTATION);
    let what = json!([
        render::database::plan(spec),
        spec.connection,
        spec.tls,
        case.facts.settings.jobs.alter_system,
        versions.collect::<Vec<_>>(),
        forced,
    ]);
    render::database::run(&what.to_string())
}

/// What the last Job left to say of this input.
fn told(case: &Case<'_>, status: &DatabaseStatus, input: &str) -> Option<Problem> {
    if status.input.as_deref() != Some(input) {
        let message = "a Job brings the database to what the spec says and proves it";
        return Some(Problem { reason: Reason::Progressing, message: message.into() });
    }
    if status.failures == Some(0) {
        return None;
    }
    let conditions = case.service.status.iter().flat_map(|status| &status.conditions);
    let condition = conditions.into_iter().find(|c| c.type_ == ConditionType::DatabaseReady.as_str());
    let known = condition.and_then(|c| {
        let reason = serde_json::from_value(json!(c.reason)).ok()?;
        words::is_of_job(reason).then(|| Problem { reason, message: c.message.clone() })
    });
    known.or_else(|| {
        let message = "the last Job did not prove the database; the next one tries again";
        Some(Problem { reason: Reason::Progressing, message: message.into() })
    })
}

/// What a Job saw, in the place of what was seen before.
fn after(
    old: DatabaseStatus,
    seen: &words::Seen,
    job: &DatabaseJob,
    input: String,
    (began, now): (Timestamp, Timestamp),
) -> DatabaseStatus {
    let same = old.input.as_ref() == Some(&input);
    let hardened = if seen.hardened && !job.verify_only { Some(input.clone()) } else { old.hardened.clone() };
    let evidence = seen.evidence.clone().unwrap_or_else(|| old.clone());
    DatabaseStatus {
        verified_at: if seen.problem.is_none() { Some(whole_seconds(now)) } else { old.verified_at },
        looked_at: Some(whole_seconds(began)),
        failures: Some(match &seen.problem {
            None => 0,
            Some(_) if same => old.failures.unwrap_or_default().saturating_add(1),
            Some(_) => 1,
        }),
        hardened: hardened.filter(|of| *of == input),
        input: Some(input),
        ..evidence
    }
}

fn last_ended(case: &Case<'_>) -> Option<String> {
    let jobs = case.ctx.cache.of(case.key).into_iter().filter(|(kind, job)| {
        *kind == Kind::Job
            && is_ours(&job.metadata, case.service)
            && is_of_database(job)
            && jobs::has_ended(job)
    });
    let last = jobs.max_by_key(|(_, job)| job.metadata.creation_timestamp.as_ref().map(|made| made.0));
    last.map(|(_, job)| job.name_any())
}

fn is_of_database(job: &DynamicObject) -> bool {
    let container = job.data.pointer("/spec/template/spec/containers/0/name");
    container.is_some_and(|name| name == render::database::CONTAINER)
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
