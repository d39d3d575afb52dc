//! What becomes of a report, and of status with it.

use crds::Reason;
use postgres_hardening::Report;
use serde_json::json;

use super::{pod::Found, words::Seen, *};
use crate::cache::Key;

fn seen(report: serde_json::Value) -> Seen {
    let report: Report = serde_json::from_value(report).unwrap();
    words::read(
        Found::Report(Box::new(report)),
        "shop-postgres-1",
        &Key { namespace: "team".into(), name: "shop".into() },
    )
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn proven() -> Seen {
    seen(json!({"evidence": {
        "serverVersion": 150_018,
        "extensions": [{"name": "pgcrypto", "version": "1.3", "schema": "crypto"}],
        "settings": [{"name": "logRows", "value": "on"}],
        "audit": "ClientOnly",
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verified": true},
        "passed": 7,
    }}))
}

#[test]
fn evidence_becomes_status() {
    let seen = proven();
    assert_eq!(seen.problem, None);
    let job = DatabaseJob { run: "0a".into(), verify_only: false };
    let status = after(DatabaseStatus::default(), &seen, &job, "input".into(), (at(10), at(20)));
    assert_eq!(
        serde_json::to_value(status).unwrap(),
        json!({
            "verifiedAt": "1970-01-01T00:00:20Z",
            "lookedAt": "1970-01-01T00:00:10Z",
            "input": "input",
            "hardened": "input",
            "failures": 0,
            "serverVersion": "15.18",
            "extensions": [{"name": "pgcrypto", "version": "1.3", "schema": "crypto"}],
            "settings": [{"name": "pgaudit.log_rows", "value": "on"}],
            "audit": "ClientOnly",
            "tls": "TLSv1.3, TLS_AES_256_GCM_SHA384, verified",
            "passed": 7,
        })
    );
}

#[test]
fn a_look_in_vain_keeps_what_was_seen_before_and_counts() {
    let job = DatabaseJob { run: "0a".into(), verify_only: true };
    let before = after(DatabaseStatus::default(), &proven(), &job, "input".into(), (at(10), at(20)));
    assert_eq!(before.hardened, None, "a Job that only verifies hardens nothing");
    let problem =
        json!({"reason": "AuthFailed", "detail": "connecting: SQLSTATE 28P01", "fix": "correct it"});
    let vain = seen(json!({ "problem": problem }));
    let told = vain.problem.clone().unwrap();
    assert_eq!((told.reason, &*told.message), (Reason::AuthFailed, "connecting: SQLSTATE 28P01; correct it"));
    let once = after(before.clone(), &vain, &job, "input".into(), (at(30), at(40)));
    let twice = after(once.clone(), &vain, &job, "input".into(), (at(50), at(60)));
    assert_eq!((once.failures, twice.failures), (Some(1), Some(2)));
    assert_eq!((&twice.verified_at, &twice.extensions), (&before.verified_at, &before.extensions));
    let other = after(twice, &vain, &job, "other".into(), (at(70), at(80)));
    assert_eq!(other.failures, Some(1), "of something else");
}

#[test]
fn what_failed_is_told_before_what_could_not_be_seen_and_nothing_that_a_terminal_obeys() {
    let check = |control: serde_json::Value, outcome: &str| json!({"control": control, "outcome": outcome, "evidence": "it is\u{1b}[2J \u{202e}gone", "fix": "mend it"});
    let open = [
        check(json!("md5Passwords"), "Unknown"),
        check(json!({"extension": "pgcrypto"}), "Failed"),
        check(json!({"auditSetting": "logRows"}), "Failed"),
    ];
    let told = seen(json!({"evidence": {"serverVersion": 1, "open": open, "more": 2}})).problem.unwrap();
    assert_eq!(told.reason, Reason::VerificationFailed);
    assert_eq!(
        told.message,
        "extension pgcrypto: it is?[2J ?gone; mend it. auditSetting pgaudit.log_rows: it is?[2J ?gone; mend it. And 3 more"
    );
    let unseen = seen(json!({"evidence": {"serverVersion": 1, "open": [open[0]]}})).problem.unwrap();
    assert_eq!(unseen.reason, Reason::NotProven);
}

#[test]
fn a_job_without_a_result_is_named() {
    let key = Key { namespace: "team".into(), name: "shop".into() };
    for (found, words) in
        [(Found::Nothing, "kubectl -n team describe job J"), (Found::Changed, "not believed")]
    {
        let problem = words::read(found, "J", &key).problem.unwrap();
        assert!(problem.reason == Reason::JobFailed && problem.message.contains(words), "{problem:?}");
    }
}
