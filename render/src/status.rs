//! The status of a service, from what was applied and observed. Pure; `now` is a parameter.

use crds::{
    ChildState, ChildStatus, ConditionType, DatabaseStatus, HardenedService, HardenedServiceStatus, Reason,
    SERVICE_LABEL, SecretsStatus, TlsStatus,
};
use k8s_openapi::{
    api::apps::v1::Deployment,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::ResourceExt;

use crate::{Facts, Kind, database, hosts, meta, restarts, workload};

/// What became of one child.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uid, when it exists and is ours.
    pub uid: Option<String>,
    /// What became of it.
    pub state: ChildState,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// Why something is not as it should be, in words that a user can act on.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The class.
    pub reason: Reason,
    /// The details; never a secret.
    pub message: String,
}

/// What the operator saw and did in one pass.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// One entry for each child, in apply order.
    pub outcomes: Vec<Outcome>,
    /// The Deployment as the server has it, when it is ours.
    pub deployment: Option<Deployment>,
    /// Whether exactly this version of it was found or made as the spec asks.
    pub deployment_is_settled: bool,
    /// The certificate that the TLS Secret holds.
    pub tls: Option<TlsStatus>,
    /// Why there is no certificate, or why the old one stays.
    pub tls_problem: Option<Problem>,
    /// What a person should know of a certificate that is good; `TLSReady` stays true.
    pub tls_warning: Option<Problem>,
    /// The values that the operator's Secret holds.
    pub secrets: Option<SecretsStatus>,
    /// Why they are not as the spec asks.
    pub secrets_problem: Option<Problem>,
    /// What a person should know of values that are good; `SecretsReady` stays true.
    pub secrets_warning: Option<Problem>,
    /// What was seen of the database.
    pub database: Option<DatabaseStatus>,
    /// Why it is not as the spec asks, or not proven to be.
    pub database_problem: Option<Problem>,
    /// What keeps the whole service from being worked on (suspended, not onboarded).
    pub blocked: Option<Problem>,
}

struct State {
    type_: ConditionType,
    ok: bool,
    reason: Reason,
    message: String,
}

/// The whole status. Equal to the live one when nothing changed, transition times included.
pub fn status(
    service: &HardenedService,
    applied: &Applied,
    facts: &Facts,
    now: Timestamp,
) -> HardenedServiceStatus {
    let old = service.status.clone().unwrap_or_default();
    let mut states = if applied.blocked.is_some() { Vec::new() } else { subsystems(service, applied, facts) };
    states.splice(0..0, summary(&states, applied, &old));
    let conditions = states.into_iter().map(|s| condition(s, service, &old, now)).collect();
    if applied.blocked.is_some() {
        return HardenedServiceStatus {
            observed_generation: service.metadata.generation,
            conditions: keep_others(conditions, &old.conditions),
            ..old
        };
    }
    let (restarts, revision) = restarts::ledger(&old, applied, now);
    HardenedServiceStatus {
        observed_generation: service.metadata.generation,
        conditions,
        children: applied.outcomes.iter().map(child).collect(),
        url: Some(hosts::url(service, facts)),
        replicas: replicas(applied.deployment.as_ref(), old.replicas),
        selector: Some(format!("{SERVICE_LABEL}={}", service.name_any())),
        tls: applied.tls.clone(),
        secrets: applied.secrets.clone(),
        database: applied.database.clone(),
        restarts,
        revision,
    }
}

/// A Deployment that is being deleted loses its pods before it goes; the next one is to have as many as it had.
fn replicas(deployment: Option<&Deployment>, before: Option<i32>) -> Option<i32> {
    match deployment.filter(|d| d.metadata.deletion_timestamp.is_none()) {
        Some(live) => Some(live.status.as_ref().and_then(|status| status.replicas).unwrap_or(0)),
        None => before,
    }
}

fn subsystems(service: &HardenedService, applied: &Applied, facts: &Facts) -> Vec<State> {
    let of = |kinds: &[Kind], also: Option<&Problem>| {
        also.or_else(|| {
            applied.outcomes.iter().filter(|o| kinds.contains(&o.kind)).find_map(|o| o.problem.as_ref())
        })
        .cloned()
    };
    let of_secrets = |with_values: bool, also: Option<&Problem>| {
        let mut outcomes =
            applied.outcomes.iter().filter(|o| is_of_values(o, service, facts) == Some(with_values));
        also.or_else(|| outcomes.find_map(|o| o.problem.as_ref())).cloned()
    };
    let denied = hosts::denied(service, facts);
    let host_problem = (!denied.is_empty()).then(|| Problem {
        reason: Reason::HostNotAllowed,
        message: format!(
            "spec.exposure.hostnames: {} not covered by the namespace's annotation {}; ask the platform to allow it, or remove it",
            denied.join(", "),
            crds::ALLOWED_HOSTS_ANNOTATION
        ),
    });
    let workload = of(
        &[
            Kind::ServiceAccount,
            Kind::Deployment,
            Kind::ConfigMap,
            Kind::PodDisruptionBudget,
            Kind::HorizontalPodAutoscaler,
        ],
        None,
    )
    .or_else(|| workload::problem(applied.deployment.as_ref()));
    // Why there is no Certificate is why there is no certificate, unless the one in use is as good as before.
    let certificate = of(&[Kind::Certificate], None).filter(|p| applied.tls_warning.as_ref() != Some(p));
    let tls = state(
        ConditionType::TLSReady,
        certificate.or_else(|| of_secrets(false, applied.tls_problem.as_ref())),
        "the certificate is valid and mounted",
    )
    .warned(applied.tls_warning.as_ref());
    let secrets = service.spec.secrets.as_ref().map(|_| {
        let problem = of_secrets(true, applied.secrets_problem.as_ref());
        state(ConditionType::SecretsReady, problem, "the values are those of their sources")
            .warned(applied.secrets_warning.as_ref())
    });
    let all = [
        Some(state(ConditionType::WorkloadReady, workload, "every replica is up to date and available")),
        Some(tls),
        secrets,
        of_database(service, applied, facts),
        Some(state(
            ConditionType::ExposureReady,
            of(&[Kind::Service], host_problem.as_ref()),
            "the Service is there and every host name is allowed",
        )),
        Some(state(
            ConditionType::NetworkReady,
            of(&[Kind::NetworkPolicy], None),
            "default deny both ways, with the openings that the spec and the platform ask for",
        )),
    ];
    all.into_iter().flatten().collect()
}

/// What keeps the Job from being made is why nothing was seen.
fn of_database(service: &HardenedService, applied: &Applied, facts: &Facts) -> Option<State> {
    service.spec.postgres.as_ref()?;
    let mut jobs = applied.outcomes.iter().filter(|o| database::is_job(o.kind, &o.name, service, facts));
    let problem = jobs.find_map(|o| o.problem.clone()).or_else(|| applied.database_problem.clone());
    Some(state(ConditionType::DatabaseReady, problem, &database::proven(applied.database.as_ref())))
}

/// Whether `SecretsReady` tells of a child, or `TLSReady`; nothing for children of other kinds. Without values every Secret
/// is the latter's, also one that may not be pruned.
fn is_of_values(outcome: &Outcome, service: &HardenedService, facts: &Facts) -> Option<bool> {
    match outcome.kind {
        Kind::Job if database::is_job(outcome.kind, &outcome.name, service, facts) => None,
        Kind::Job => Some(true),
        Kind::Secret => {
            let certificate = meta::child_name(&service.name_any(), "tls");
            Some(service.spec.secrets.is_some() && outcome.name != certificate)
        }
        _ => None,
    }
}

impl State {
    /// True, with something that a person should know.
    fn warned(self, warning: Option<&Problem>) -> Self {
        match warning {
            Some(warning) if self.ok => {
                Self { reason: warning.reason, message: warning.message.clone(), ..self }
            }
            _ => self,
        }
    }
}

fn state(type_: ConditionType, problem: Option<Problem>, well: &str) -> State {
    match problem {
        None => State { type_, ok: true, reason: Reason::Ready, message: well.into() },
        Some(p) => State { type_, ok: false, reason: p.reason, message: p.message },
    }
}

/// Ready, Reconciling and Stalled as kstatus reads them: Stalled only for what the user must mend.
fn summary(states: &[State], applied: &Applied, old: &HardenedServiceStatus) -> [State; 3] {
    let bad = || states.iter().filter(|s| !s.ok);
    // What only a person can mend comes first, then causes before their consequences (Held).
    let worst = bad()
        .min_by_key(|s| (!s.reason.needs_user(), s.reason == Reason::Held, s.reason == Reason::Progressing));
    let (ok, reason, message) = match (&applied.blocked, worst) {
        (Some(p), _) if p.reason == Reason::Suspended => (was_ready(old), p.reason, p.message.clone()),
        (Some(p), _) => (false, p.reason, p.message.clone()),
        (None, Some(s)) => (false, s.reason, s.message.clone()),
        (None, None) => (true, Reason::Ready, "everything that the spec asks for is there and works".into()),
    };
    let stalled = !ok && (reason.needs_user() || reason == Reason::Suspended);
    let say = |on: bool| if on { message.clone() } else { String::new() };
    [
        State { type_: ConditionType::Ready, ok, reason, message: message.clone() },
        State {
            type_: ConditionType::Reconciling,
            ok: !ok && !stalled,
            reason,
            message: say(!ok && !stalled),
        },
        State {
            type_: ConditionType::Stalled,
            ok: stalled && reason.needs_user(),
            reason,
            message: say(stalled),
        },
    ]
}

fn was_ready(old: &HardenedServiceStatus) -> bool {
    old.conditions.iter().any(|c| c.type_ == ConditionType::Ready.as_str() && c.status == "True")
}

/// Longest message of a condition; a server that lists every finding of a policy can exceed the schema's 32768.
const MESSAGE: usize = 4096;

fn condition(
    mut state: State,
    service: &HardenedService,
    old: &HardenedServiceStatus,
    now: Timestamp,
) -> Condition {
    let type_ = state.type_.as_str();
    let status = if state.ok { "True" } else { "False" };
    let before = old.conditions.iter().find(|c| c.type_ == type_ && c.status == status);
    state.message.truncate(state.message.floor_char_boundary(MESSAGE));
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: state.reason.as_str().into(),
        message: state.message,
        observed_generation: service.metadata.generation,
        // A time that moved without a transition would be a write, and the write an event, for ever.
        last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

/// While nothing is worked on, the conditions of the subsystems stay as they were seen last.
fn keep_others(mut new: Vec<Condition>, old: &[Condition]) -> Vec<Condition> {
    let others: Vec<_> = old.iter().filter(|o| !new.iter().any(|n| n.type_ == o.type_)).cloned().collect();
    new.extend(others);
    new
}

fn child(outcome: &Outcome) -> ChildStatus {
    ChildStatus {
        kind: outcome.kind.as_str().into(),
        name: outcome.name.clone(),
        uid: outcome.uid.clone(),
        state: outcome.state,
        reason: outcome.problem.as_ref().map(|p| p.reason.as_str().into()),
    }
}
