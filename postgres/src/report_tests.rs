//! A report is never longer than what Kubernetes keeps, whatever a database holds, and what matters most stays in it.

use super::*;
use crate::{Control, Reason};

/// Texts of somebody who means harm: each of their characters takes more room in JSON than it seems.
const HOSTILE: [&str; 7] = ["x", "\"", "\\", "\u{1}", "ä", "\u{1f600}", "\u{7f}\"\u{2028}"];

fn open(outcome: Outcome, evidence: &str) -> Check {
    let fix = Some(format!("fix {evidence}"));
    Check { control: Control::AuditSetting(Setting::LogParameter), outcome, evidence: evidence.into(), fix }
}

fn verification(text: &str, checks: usize) -> Verification {
    let all = [
        Extension::PgStatStatements,
        Extension::Pgcrypto,
        Extension::Pgaudit,
        Extension::Citext,
        Extension::UuidOssp,
    ];
    let extension = |name| SeenExtension { name, version: text.into(), schema: text.into() };
    let setting = |name| SeenSetting { name, value: text.into() };
    Verification {
        server_version: i32::MAX,
        checks: (0..checks).map(|_| open(Outcome::Failed, text)).collect(),
        extensions: all.map(extension).into(),
        settings: Setting::ALL.map(setting).into(),
        audit: Some(Proof::ClientOnly),
        tls: Some(SeenTls { version: text.into(), cipher: text.into(), verified: false }),
    }
}

fn problem(text: &str) -> Problem {
    Problem { reason: Reason::TooManyConnections, detail: text.into(), fix: text.into() }
}

fn read(json: &str) -> Report {
    assert!(json.len() <= LARGEST, "{} bytes", json.len());
    serde_json::from_str(json).unwrap()
}

#[test]
fn no_report_is_longer_than_what_is_kept_whatever_stands_in_it() {
    for hostile in HOSTILE {
        for length in [0, 1, 64, 200, 2000] {
            let text = hostile.repeat(length);
            for checks in [0, 3, 40] {
                for lines in [0, 13, 40] {
                    let changed = vec![text.clone(); lines];
                    let seen = Report::of(changed.clone(), Ok(verification(&text, checks)));
                    let evidence = read(&seen.to_json()).evidence.unwrap();
                    assert_eq!(evidence.open.len() + evidence.more, checks);
                    assert_eq!((evidence.extensions.len(), evidence.settings.len()), (5, 4));
                    let failed = Report::of(changed, Err(problem(&text)));
                    assert_eq!(read(&failed.to_json()).problem.unwrap().reason, Reason::TooManyConnections);
                }
            }
        }
    }
}

#[test]
fn a_report_that_is_short_is_whole() {
    let report = Report::of(vec!["a \"line\"".into()], Ok(verification("15.1 ä", 2)));
    assert_eq!(read(&report.to_json()), report);
    let report = Report::of(Vec::new(), Err(problem("a detail")));
    assert_eq!(read(&report.to_json()), report);
}

#[test]
fn what_failed_stands_before_what_could_not_be_seen_and_stays_when_there_is_no_room() {
    let mut found = verification("v", 0);
    for number in 0..30 {
        let outcome = [Outcome::Unknown, Outcome::Passed, Outcome::Failed][number % 3];
        found.checks.push(open(outcome, &format!("{number} {}", "y".repeat(300))));
    }
    let report = Report::of(Vec::new(), Ok(found));
    let evidence = read(&report.to_json()).evidence.unwrap();
    assert_eq!((evidence.passed, evidence.open.len() + evidence.more), (10, 20));
    assert!(evidence.open.len() >= 4 && evidence.open[1].evidence.starts_with("5 y"), "{evidence:#?}");
    assert!(evidence.open.iter().all(|check| check.outcome == Outcome::Failed));
    let whole = report.evidence.unwrap().open;
    assert!(whole[..10].iter().all(|check| check.outcome == Outcome::Failed));
    assert!(whole[10..].iter().all(|check| check.outcome == Outcome::Unknown));
}

#[test]
fn only_a_verification_with_nothing_open_proves() {
    let of = |checks: Vec<Check>| Report::of(Vec::new(), Ok(Verification { checks, ..verification("v", 0) }));
    let passed = Check { fix: None, ..open(Outcome::Passed, "p") };
    assert!(of(vec![passed.clone()]).is_proven());
    assert!(!of(vec![passed.clone(), open(Outcome::Unknown, "u")]).is_proven());
    assert!(!of(vec![open(Outcome::Failed, "f")]).is_proven());
    assert!(!Report::of(Vec::new(), Err(problem("p"))).is_proven());
    assert!(!Report::default().is_proven());
    let mut shortened = of(vec![passed]);
    shortened.evidence.as_mut().unwrap().more = 1;
    assert!(!shortened.is_proven());
}

#[test]
fn a_text_is_cut_between_characters_and_says_so() {
    assert_eq!(cut("äöü", 6), "äöü");
    assert_eq!(cut("äöüß", 7), "äö…");
    assert_eq!(cut("a\"b\"", 6), "a\"b\"");
    assert_eq!(cut("a\"b\"", 5), "a…");
    assert_eq!(cut("a\nb", 5), "a\u{fffd}b");
}
