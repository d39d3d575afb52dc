//! Errors become reasons by class and code, and nothing of their text is told.

use std::{borrow::Cow, error::Error, fmt};

use sqlx::error::{DatabaseError, ErrorKind as DatabaseErrorKind};

use super::*;

const CANARY: &str = "canary-9b1f";

/// What a server said, with a secret in its text.
#[derive(Debug)]
struct Said(&'static str);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CANARY)
    }
}

impl Error for Said {}

impl DatabaseError for Said {
    fn message(&self) -> &str {
        CANARY
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> DatabaseErrorKind {
        DatabaseErrorKind::Other
    }
}

fn said(code: &'static str, doing: Doing) -> Problem {
    let problem = Problem::of(&sqlx::Error::Database(Box::new(Said(code))), doing);
    assert!(!format!("{problem} {problem:?}").contains(CANARY), "{problem}");
    problem
}

#[test]
fn each_code_has_its_reason() {
    let create = Doing::Create(Extension::Citext);
    for (code, reason) in [
        ("42501", Reason::NotSuperuser),
        ("0A000", Reason::NotAvailable),
        ("58P01", Reason::NotAvailable),
        ("55000", Reason::Refused),
        ("28P01", Reason::AuthFailed),
        ("28000", Reason::AuthFailed),
        ("3D000", Reason::DatabaseMissing),
        ("53300", Reason::TooManyConnections),
        ("57P01", Reason::Unreachable),
        ("57P03", Reason::Unreachable),
        ("57014", Reason::Unreachable),
        ("08006", Reason::Unreachable),
        ("55P03", Reason::Unreachable),
        ("25006", Reason::ReadOnlyStandby),
        ("3F000", Reason::SchemaMissing),
        ("P0001", Reason::Refused),
        ("42723", Reason::Refused),
    ] {
        let problem = said(code, create);
        assert_eq!(
            (problem.reason, problem.detail),
            (reason, format!("creating extension citext: SQLSTATE {code}"))
        );
    }
    assert_eq!(said("55000", Doing::Create(Extension::Pgaudit)).reason, Reason::PreloadMissing);
    assert_eq!(said("42501", Doing::Connect).reason, Reason::Refused);
}

#[test]
fn what_is_no_code_is_not_repeated() {
    let problem = said("canary", Doing::Look);
    assert_eq!(problem.reason, Reason::Refused);
    assert_eq!(problem.detail, "looking at the server: an answer that is none of Postgres");
}

#[test]
fn errors_without_a_code_are_told_apart_by_their_class() {
    let io =
        |kind: ErrorKind| Problem::of(&sqlx::Error::Io(std::io::Error::new(kind, CANARY)), Doing::Connect);
    for (kind, reason) in [
        (ErrorKind::ConnectionRefused, Reason::Unreachable),
        (ErrorKind::UnexpectedEof, Reason::Unreachable),
        (ErrorKind::InvalidData, Reason::TlsFailed),
        (ErrorKind::NotFound, Reason::TlsFailed),
    ] {
        let problem = io(kind);
        assert_eq!(problem.reason, reason);
        assert!(!problem.to_string().contains(CANARY), "{problem}");
    }
    assert_eq!(Problem::of(&sqlx::Error::Tls(CANARY.into()), Doing::Connect).reason, Reason::TlsFailed);
    assert_eq!(
        Problem::of(&sqlx::Error::Configuration(CANARY.into()), Doing::Connect).reason,
        Reason::InvalidUrl
    );
}

#[test]
fn the_fix_for_rights_never_asks_for_more_than_is_needed() {
    let trusted = said("42501", Doing::Create(Extension::Pgcrypto)).fix;
    assert!(trusted.starts_with("no superuser is needed"), "{trusted}");
    let untrusted = said("42501", Doing::Create(Extension::Pgaudit)).fix;
    for word in ["superuser", "CloudNativePG", "rds_superuser", "cloudsqlsuperuser"] {
        assert!(untrusted.contains(word), "{untrusted}");
    }
}

#[test]
fn the_fixes_for_a_library_name_every_offering() {
    for reason in [Reason::PreloadMissing, Reason::RestartPending] {
        let fix = Problem::usual(reason, Doing::Create(Extension::Pgaudit), "").fix;
        for word in ["plain Postgres", "CloudNativePG", "RDS", "Cloud SQL"] {
            assert!(fix.contains(word), "{fix}");
        }
    }
}

#[test]
fn names_of_others_stay_on_one_line_and_short() {
    let problem = Problem::new(Reason::Refused, format!("a\n\u{1b}[31mb{}", "x".repeat(2000)), "");
    assert_eq!(problem.detail.chars().count(), 1000);
    assert!(!problem.detail.contains(char::is_control), "{problem}");
}
