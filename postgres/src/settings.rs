//! pgaudit's settings for a database or a role: what they are to be, and what stands in the catalogue. It writes nothing.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    plan::{Audit, AuditClass, Scope},
    session::quoted,
};

/// A setting of pgaudit that a plan decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Setting {
    /// Classes of statements.
    Log,
    /// How many rows.
    LogRows,
    /// Values of parameters.
    LogParameter,
    /// The role of object auditing.
    Role,
}

/// Where a value stands.
pub(crate) struct Standing {
    /// Of which role it is; nothing when it is everybody's.
    pub role: Option<String>,
    /// Whether it is of this database only.
    pub here: bool,
    /// `name=value`.
    pub text: String,
}

impl Setting {
    /// Each one.
    pub const ALL: [Self; 4] = [Self::Log, Self::LogRows, Self::LogParameter, Self::Role];

    /// Its name in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "pgaudit.log",
            Self::LogRows => "pgaudit.log_rows",
            Self::LogParameter => "pgaudit.log_parameter",
            Self::Role => "pgaudit.role",
        }
    }

    /// What it is to be.
    pub(crate) fn wanted(self, audit: &Audit) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Log => audit.log.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", "),
            Self::LogRows => switch(audit.rows).into(),
            Self::LogParameter => switch(audit.parameters).into(),
            Self::Role => audit.role().into(),
        }
    }

    /// Whether a value does what is wanted: of classes it may have more.
    pub(crate) fn is_met(self, value: &str, audit: &Audit) -> bool {
        match self {
            Self::Log => {
                AuditClass::EACH.into_iter().all(|class| !audit.covers(class) || covers(value, class))
            }
            _ => value == self.wanted(audit),
        }
    }
}

impl Scope {
    /// What `ALTER` is said of.
    pub(crate) fn target(&self, database: &str) -> String {
        match self {
            Self::Database => format!("DATABASE {}", quoted(database)),
            Self::Role(role) => format!("ROLE {}", quoted(role)),
        }
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Database => "the database".into(),
            Self::Role(role) => format!("role {role}"),
        }
    }
}

/// Whether a value of `pgaudit.log` has a class. Words are read from left to right, and a `-` takes a class out again.
pub(crate) fn covers(value: &str, class: AuditClass) -> bool {
    value.split(',').map(|word| word.trim().to_ascii_lowercase()).fold(false, |covered, word| {
        let (takes, word) = word.strip_prefix('-').map_or((false, &*word), |word| (true, word));
        if word == class.as_str() || word == AuditClass::All.as_str() { !takes } else { covered }
    })
}

/// Every value of pgaudit's settings that holds in this database, except those of the server's configuration.
pub(crate) async fn standing(connection: &mut PgConnection) -> sqlx::Result<Vec<Standing>> {
    let sql = "SELECT r.rolname::pg_catalog.text, s.setdatabase <> 0, c.text \
               FROM pg_catalog.pg_db_role_setting s \
               CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(text) \
               LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
               WHERE pg_catalog.starts_with(c.text, 'pgaudit.') AND s.setdatabase IN (0, \
               (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) \
               ORDER BY 1, 2, 3";
    let rows: Vec<(Option<String>, bool, String)> = sqlx::query_as(sql).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(role, here, text)| Standing { role, here, text }).collect())
}

impl Standing {
    /// The value, when it is one of this setting.
    pub(crate) fn value_of(&self, setting: Setting) -> Option<&str> {
        self.text.strip_prefix(setting.as_str())?.strip_prefix('=')
    }

    /// Whether it stands just where the scope puts it.
    pub(crate) fn is_of(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Database => self.role.is_none() && self.here,
            Scope::Role(role) => self.role.as_ref() == Some(role) && !self.here,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(log: &[AuditClass]) -> Audit {
        let scope = Scope::Database;
        Audit { log: log.into(), rows: true, parameters: false, connections: false, role: None, scope }
    }

    #[test]
    fn a_value_of_more_classes_does_and_one_of_fewer_does_not() {
        let two = audit(&[AuditClass::Read, AuditClass::Ddl]);
        for good in ["read, ddl", "DDL,READ,write", "all", "none, all", "all, -misc", "-read, read, ddl"] {
            assert!(Setting::Log.is_met(good, &two), "{good}");
        }
        for bad in ["", "none", "read", "all, -ddl", "ddl", "read, ddl, -all", "reads, ddl"] {
            assert!(!Setting::Log.is_met(bad, &two), "{bad}");
        }
        let all = audit(&[AuditClass::All]);
        assert!(Setting::Log.is_met("read, write, function, role, ddl, misc, misc_set", &all));
        assert!(!Setting::Log.is_met("read, write, function, role, ddl, misc", &all));
    }

    #[test]
    fn other_settings_are_met_by_their_very_value() {
        let audit = audit(&[AuditClass::All]);
        let wanted = Setting::ALL.map(|setting| setting.wanted(&audit));
        assert_eq!(wanted, ["all", "on", "off", "pgaudit_admin"]);
        assert!(Setting::LogParameter.is_met("off", &audit) && !Setting::LogParameter.is_met("on", &audit));
        assert!(!Setting::Role.is_met("", &audit) && !Setting::LogRows.is_met("off", &audit));
    }
}
