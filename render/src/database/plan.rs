//! What the database is to have, in the engine's form, with the defaults written out.

use crds::{
    Postgres, PostgresAudit, PostgresAuditClass, PostgresAuditScope, PostgresExtension, PostgresExtensionName,
};
use serde::Serialize;

/// Structs, not a map: the text is part of a Job that cannot be changed, and the order of a map's keys depends on features
/// that other crates turn on.
#[derive(Serialize)]
struct Plan {
    extensions: Vec<PostgresExtension>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Audit>,
}

#[derive(Serialize)]
struct Audit {
    log: Vec<PostgresAuditClass>,
    rows: bool,
    parameters: bool,
    connections: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<PostgresAuditScope>,
}

/// As JSON.
pub fn text(postgres: &Postgres) -> String {
    let extension = |name| PostgresExtension { name, version: None, schema: None };
    let usual = || [PostgresExtensionName::Pgcrypto, PostgresExtensionName::Pgaudit].map(extension).into();
    let extensions = postgres.extensions.clone().unwrap_or_else(usual);
    let is_audited = extensions.iter().any(|one| one.name == PostgresExtensionName::Pgaudit);
    let audit = is_audited.then(|| audit(postgres.audit.clone().unwrap_or_default()));
    // It holds strings, lists and booleans: serialising it cannot fail.
    serde_json::to_string(&Plan { extensions, audit }).unwrap_or_default()
}

fn audit(of: PostgresAudit) -> Audit {
    Audit {
        log: of.log.unwrap_or_else(|| vec![PostgresAuditClass::All]),
        rows: of.rows.unwrap_or(true),
        parameters: of.parameters.unwrap_or(false),
        connections: of.connections.unwrap_or(true),
        role: of.role,
        scope: of.scope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_pgcrypto_and_an_audit_of_everything() {
        let audit = r#"{"log":["all"],"rows":true,"parameters":false,"connections":true}"#;
        let extensions = r#"[{"name":"pgcrypto"},{"name":"pgaudit"}]"#;
        assert_eq!(text(&Postgres::default()), format!(r#"{{"extensions":{extensions},"audit":{audit}}}"#));
    }

    #[test]
    fn without_pgaudit_nothing_is_audited() {
        let name = PostgresExtensionName::UuidOssp;
        let extensions = Some(vec![PostgresExtension { name, version: None, schema: Some("ids".into()) }]);
        let postgres = Postgres { extensions, ..Postgres::default() };
        assert_eq!(text(&postgres), r#"{"extensions":[{"name":"uuid-ossp","schema":"ids"}]}"#);
    }
}
