//! What status says, case by case: the truth about the rollout, the worst reason first, times only on transitions.
#![allow(clippy::unwrap_used, reason = "a fixture that does not parse fails the test")]

use crds::{ChildState, HardenedService, HardenedServiceStatus, Reason};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use render::{Applied, Facts, Kind, Outcome, Problem, status};
use serde_json::{Value, json};

const THEN: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(THEN).unwrap()
}

fn service(hostnames: &[&str]) -> HardenedService {
    serde_json::from_value(json!({
        "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService",
        "metadata": {"name": "studio", "namespace": "team", "uid": "u", "generation": 3},
        "spec": {
            "environment": "staging", "workload": {"image": "example.com/app:1"},
            "exposure": {"hostnames": hostnames}
        }
    }))
    .unwrap()
}

fn deployment(status: &Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "studio", "generation": 7},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": status
    }))
    .unwrap()
}

fn rolled_out() -> Deployment {
    deployment(&json!({"observedGeneration": 7, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}))
}

fn applied(deployment: Deployment) -> Applied {
    let outcome =
        |kind, state, problem| Outcome { kind, name: "studio".into(), uid: Some("c".into()), state, problem };
    Applied {
        outcomes: vec![
            outcome(Kind::NetworkPolicy, ChildState::Applied, None),
            outcome(Kind::Secret, ChildState::Applied, None),
            outcome(Kind::Deployment, ChildState::Applied, None),
            outcome(Kind::Service, ChildState::Applied, None),
        ],
        deployment: Some(deployment),
        ..Applied::default()
    }
}

fn spoil(applied: &mut Applied, kind: Kind, state: ChildState, reason: Reason) {
    let outcome = applied.outcomes.iter_mut().find(|o| o.kind == kind).unwrap();
    outcome.state = state;
    outcome.problem = Some(Problem { reason, message: format!("{kind:?} {}", reason.as_str()) });
}

fn look(status: &HardenedServiceStatus, type_: &str) -> (String, String) {
    let condition = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn is(status: &HardenedServiceStatus, type_: &str, value: &str, reason: Reason) {
    assert_eq!(look(status, type_), (value.to_owned(), reason.as_str().to_owned()), "{type_}");
}

#[test]
fn a_complete_rollout_is_ready() {
    let status = status(&service(&[]), &applied(rolled_out()), &Facts::default(), now());
    for type_ in ["Ready", "WorkloadReady", "TLSReady", "ExposureReady", "NetworkReady"] {
        is(&status, type_, "True", Reason::Ready);
    }
    is(&status, "Reconciling", "False", Reason::Ready);
    is(&status, "Stalled", "False", Reason::Ready);
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.replicas, Some(2));
}

#[test]
fn an_unfinished_rollout_is_reconciling_and_never_ready() {
    let unfinished = [
        json!({"observedGeneration": 6, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
        json!({"observedGeneration": 7, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}),
        json!({"observedGeneration": 7, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
        json!({"observedGeneration": 7, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
    ];
    for live in unfinished {
        let status = status(&service(&[]), &applied(deployment(&live)), &Facts::default(), now());
        is(&status, "Ready", "False", Reason::Progressing);
        is(&status, "Reconciling", "True", Reason::Progressing);
        is(&status, "Stalled", "False", Reason::Progressing);
    }
}

#[test]
fn a_refused_pod_shows_the_servers_words() {
    let live = json!({"observedGeneration": 7, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: pods"}
    ]});
    let status = status(&service(&[]), &applied(deployment(&live)), &Facts::default(), now());
    is(&status, "WorkloadReady", "False", Reason::RolloutFailed);
    assert_eq!(status.conditions[0].message, "exceeded quota: pods");
}

#[test]
fn what_a_person_must_mend_comes_before_its_consequences() {
    let mut applied = applied(rolled_out());
    spoil(&mut applied, Kind::NetworkPolicy, ChildState::Conflict, Reason::NameConflict);
    spoil(&mut applied, Kind::Deployment, ChildState::Held, Reason::Held);
    let status = status(&service(&[]), &applied, &Facts::default(), now());
    is(&status, "Ready", "False", Reason::NameConflict);
    is(&status, "Stalled", "True", Reason::NameConflict);
    is(&status, "Reconciling", "False", Reason::NameConflict);
    is(&status, "WorkloadReady", "False", Reason::Held);
}

#[test]
fn a_host_that_is_not_allowed_stalls_and_is_named() {
    let facts = Facts { allowed_hosts: vec!["*.example.com".into()], ..Facts::default() };
    let status =
        status(&service(&["a.example.com", "pay.example.org"]), &applied(rolled_out()), &facts, now());
    is(&status, "ExposureReady", "False", Reason::HostNotAllowed);
    assert!(status.conditions[0].message.contains("pay.example.org"));
    assert!(!status.conditions[0].message.contains("a.example.com"));
    assert_eq!(status.url.as_deref(), Some("https://a.example.com"));
}

#[test]
fn times_move_only_on_transitions() {
    let mut service = service(&[]);
    let first = status(&service, &applied(rolled_out()), &Facts::default(), now());
    service.status = Some(first.clone());
    let later = Timestamp::from_second(THEN + 60).unwrap();
    assert_eq!(status(&service, &applied(rolled_out()), &Facts::default(), later), first);
    let unready = status(&service, &applied(deployment(&json!({}))), &Facts::default(), later);
    let time = |s: &HardenedServiceStatus, t: &str| {
        s.conditions.iter().find(|c| c.type_ == t).map(|c| c.last_transition_time.0.as_second()).unwrap()
    };
    assert_eq!(time(&unready, "Ready"), THEN + 60);
    assert_eq!(time(&unready, "TLSReady"), THEN);
}

#[test]
fn a_suspended_service_keeps_what_was_seen() {
    let mut service = service(&[]);
    service.status = Some(status(&service, &applied(rolled_out()), &Facts::default(), now()));
    let problem = Problem { reason: Reason::Suspended, message: "suspended".into() };
    let suspended = Applied { blocked: Some(problem), ..Applied::default() };
    let status = status(&service, &suspended, &Facts::default(), now());
    is(&status, "Ready", "True", Reason::Suspended);
    is(&status, "WorkloadReady", "True", Reason::Ready);
    assert_eq!(status.children.len(), 4);
}

#[test]
fn a_warning_is_told_by_a_condition_that_stays_true_and_a_problem_goes_before_it() {
    let word = |reason| Problem { reason, message: reason.as_str().into() };
    let warned = Applied { tls_warning: Some(word(Reason::CertificateExpiring)), ..applied(rolled_out()) };
    let look = status(&service(&[]), &warned, &Facts::default(), now());
    is(&look, "TLSReady", "True", Reason::CertificateExpiring);
    is(&look, "Ready", "True", Reason::Ready);
    let refused = Applied { tls_problem: Some(word(Reason::CertificateInvalid)), ..warned };
    let look = status(&service(&[]), &refused, &Facts::default(), now());
    is(&look, "TLSReady", "False", Reason::CertificateInvalid);
    is(&look, "Ready", "False", Reason::CertificateInvalid);
    is(&look, "Stalled", "True", Reason::CertificateInvalid);
}

#[test]
fn trouble_with_the_certificate_s_secret_is_its_own_condition_s_and_with_any_other_that_of_the_values() {
    let mut with_values = service(&[]);
    with_values.spec.secrets =
        serde_json::from_value(json!({"sources": [{"secret": {"name": "orders-db"}}]})).unwrap();
    for (service, kind, name, [tls, values]) in [
        (&with_values, Kind::Secret, "studio-secrets", ["True", "False"]),
        (&with_values, Kind::Secret, "studio-tls", ["False", "True"]),
        (&with_values, Kind::Secret, "planted", ["True", "False"]),
        (&with_values, Kind::Job, "studio-login-1", ["True", "False"]),
        (&service(&[]), Kind::Secret, "studio-secrets", ["False", ""]),
    ] {
        let mut applied = applied(rolled_out());
        let problem = Problem { reason: Reason::PermissionDenied, message: "may not".into() };
        let state = ChildState::Failed;
        applied.outcomes.push(Outcome { kind, name: name.into(), uid: None, state, problem: Some(problem) });
        let status = status(service, &applied, &Facts::default(), now());
        let of = |type_: &str| status.conditions.iter().find(|c| c.type_ == type_).map_or("", |c| &c.status);
        assert_eq!([of("TLSReady"), of("SecretsReady")], [tls, values], "{name}");
    }
}
