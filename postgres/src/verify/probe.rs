//! The marked statement of the canary, and what pgaudit's line of it looks like. It runs nothing.

use crate::{
    plan::{Audit, AuditClass},
    session::{literal, quoted},
};

/// What the statement is, by the class that is audited. None needs a right that not everybody has, and none leaves a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Select,
    Do,
    Set,
    Create,
    Insert,
}

impl Probe {
    pub(super) fn of(audit: &Audit) -> Option<Self> {
        let by_class = [
            (AuditClass::Read, Self::Select),
            (AuditClass::Function, Self::Do),
            (AuditClass::Misc, Self::Set),
            (AuditClass::Ddl, Self::Create),
            (AuditClass::Write, Self::Insert),
        ];
        by_class.into_iter().find(|(class, _)| audit.covers(*class)).map(|(_, probe)| probe)
    }

    /// As pgaudit writes it in its lines.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Select => "READ",
            Self::Do => "FUNCTION",
            Self::Set => "MISC",
            Self::Create => "DDL",
            Self::Insert => "WRITE",
        }
    }

    /// Whether pgaudit says of a session that it ran the statement. The class counts: each line has the whole message to the
    /// server, so one of another class would prove that class.
    pub(super) fn is_line(self, notice: &str, marker: &str) -> bool {
        let mut fields = notice.splitn(5, ',');
        fields.next() == Some("AUDIT: SESSION")
            && fields.nth(2) == Some(self.class())
            && fields.next().is_some_and(|rest| rest.contains(marker))
    }

    /// One message to the server.
    pub(super) fn sql(self, marker: &str) -> String {
        let (text, name) = (literal(marker), quoted(marker));
        match self {
            Self::Select => format!("SELECT {text}"),
            Self::Do => format!("DO LANGUAGE plpgsql {}", literal(&format!("BEGIN NULL; END -- {marker}"))),
            Self::Set => format!("SET application_name = {text}"),
            Self::Create | Self::Insert => format!(
                "BEGIN; CREATE TEMPORARY TABLE {name} (line pg_catalog.text); \
                 INSERT INTO pg_temp.{name} VALUES ({text}); ROLLBACK"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scope;

    #[test]
    fn the_statement_is_of_a_class_that_is_audited() {
        let of = |log: &[AuditClass]| {
            let (scope, role) = (Scope::Database, None);
            Probe::of(&Audit {
                log: log.into(),
                rows: false,
                parameters: false,
                connections: false,
                role,
                scope,
            })
        };
        assert_eq!(of(&[AuditClass::All]), Some(Probe::Select));
        assert_eq!(of(&[AuditClass::Write, AuditClass::Function]), Some(Probe::Do));
        assert_eq!(of(&[AuditClass::Ddl]), Some(Probe::Create));
        assert_eq!(of(&[AuditClass::Misc]), Some(Probe::Set));
        assert_eq!(of(&[AuditClass::Write]), Some(Probe::Insert));
        assert_eq!(of(&[AuditClass::Role]), None);
    }

    #[test]
    fn only_a_line_of_pgaudit_of_the_class_with_the_marker_is_one() {
        let is_line = |notice: &str| Probe::Select.is_line(notice, "canary_1");
        assert!(is_line("AUDIT: SESSION,1,1,READ,SELECT,,,SELECT 'canary_1',<not logged>"));
        for other in [
            "AUDIT: SESSION,1,1,MISC,BEGIN,,,BEGIN; SELECT 'canary_1',<not logged>",
            "AUDIT: SESSION,1,1,READ,SELECT,,,SELECT 'canary_2',<not logged>",
            "statement: SELECT 'canary_1'",
            "statement: AUDIT: SESSION,1,1,READ,SELECT,,,SELECT 'canary_1'",
            "AUDIT: SESSION,1,1,READ",
        ] {
            assert!(!is_line(other), "{other}");
        }
    }
}
