//! The plan as an init script and as settings of the server, for a Postgres that is made anew. Texts only.

use crate::{
    plan::{Extension, Invalid, Plan, Scope},
    session::{literal, quoted},
    settings::Setting,
};

/// What the server's configuration must have, by name. Values are as `postgresql.conf` writes them.
pub fn server_settings(plan: &Plan) -> Result<Vec<(&'static str, String)>, Invalid> {
    plan.check()?;
    let libraries = plan.extensions.iter().map(|wanted| wanted.name).filter(|e| e.needs_preload());
    let libraries: Vec<_> = libraries.map(Extension::as_str).collect();
    let mut all = Vec::new();
    if !libraries.is_empty() {
        all.push(("shared_preload_libraries", literal(&libraries.join(","))));
    }
    if plan.audit.as_ref().is_some_and(|audit| audit.connections) {
        all.extend([("log_connections", "on".to_owned()), ("log_disconnections", "on".to_owned())]);
    }
    all.push(("password_encryption", literal("scram-sha-256")));
    Ok(all)
}

/// What a superuser runs once in the new database. A second run changes nothing.
pub fn init_sql(plan: &Plan) -> Result<String, Invalid> {
    plan.check()?;
    let mut lines = vec!["SET search_path = pg_catalog;".to_owned()];
    for wanted in &plan.extensions {
        let (name, schema) = (quoted(wanted.name.as_str()), quoted(wanted.target_schema()));
        let version = wanted.version.as_deref().map(|v| format!(" VERSION {}", literal(v)));
        lines.push(format!(
            "CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema}{};",
            version.unwrap_or_default()
        ));
    }
    let Some(audit) = &plan.audit else { return Ok(finished(&lines)) };
    let role = audit.role();
    lines.extend([
        "DO $$".into(),
        "BEGIN".into(),
        format!("    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) THEN", literal(role)),
        format!("        CREATE ROLE {} NOLOGIN;", quoted(role)),
        "    END IF;".into(),
    ]);
    for setting in Setting::ALL {
        let (name, value) = (setting.as_str(), literal(&setting.wanted(audit)));
        lines.push(match &audit.scope {
            Scope::Database => format!(
                "    EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), {value});"
            ),
            Scope::Role(role) => format!("    ALTER ROLE {} SET {name} = {value};", quoted(role)),
        });
    }
    lines.extend(["END".into(), "$$;".into()]);
    Ok(finished(&lines))
}

fn finished(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}
