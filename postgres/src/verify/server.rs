//! What is set for the whole server.

use sqlx::PgConnection;

use super::{Check, Control, Eye};
use crate::{plan::Plan, problem::is_denied, server};

/// Rows of the roles with an MD5 verifier. The verifiers themselves never leave the server.
const MD5: &str = "SELECT rolname::pg_catalog.text FROM pg_catalog.pg_authid \
                   WHERE pg_catalog.starts_with(rolpassword, 'md5') ORDER BY 1 LIMIT 10";

pub(super) async fn look(connection: &mut PgConnection, plan: &Plan, eye: &Eye) -> sqlx::Result<Vec<Check>> {
    let mut checks = Vec::new();
    checks.extend(preload(connection, plan, eye).await?);
    if plan.audit.as_ref().is_some_and(|audit| audit.connections) {
        checks.push(logged(connection, Control::LogConnections, "log_connections").await?);
        checks.push(logged(connection, Control::LogDisconnections, "log_disconnections").await?);
    }
    checks.push(password_encryption(connection).await?);
    checks.push(md5(connection, eye).await?);
    Ok(checks)
}

/// Nothing when no extension of the plan needs a library.
async fn preload(connection: &mut PgConnection, plan: &Plan, eye: &Eye) -> sqlx::Result<Option<Check>> {
    let control = Control::PreloadLibraries;
    let needed = plan.extensions.iter().map(|wanted| wanted.name).filter(|name| name.needs_preload());
    let needed: Vec<_> = needed.collect();
    if needed.is_empty() {
        return Ok(None);
    }
    if !eye.sees_settings {
        let fix = format!("GRANT pg_read_all_settings TO {}", eye.role);
        return Ok(Some(Check::unknown(control, "the role may not see shared_preload_libraries", fix)));
    }
    let list = server::value(connection, "shared_preload_libraries").await?.unwrap_or_default();
    let missing = needed.into_iter().find(|&extension| !server::names(&list, extension));
    let evidence = format!("shared_preload_libraries = '{list}'");
    Ok(Some(match missing {
        None => Check::passed(control, evidence),
        Some(extension) => {
            let fix = crate::remedy::preload(extension);
            Check::failed(control, evidence, fix)
        }
    }))
}

async fn logged(connection: &mut PgConnection, control: Control, name: &str) -> sqlx::Result<Check> {
    let value = server::value(connection, name).await?.unwrap_or_default();
    let evidence = format!("{name} = '{value}'");
    // From Postgres 18 on `log_connections` is a list of what is logged.
    if !["", "off"].contains(&&*value) {
        return Ok(Check::passed(control, evidence));
    }
    Ok(Check::failed(control, evidence, for_the_server(name, "on")))
}

/// How a setting of the whole server is set.
fn for_the_server(name: &str, value: &str) -> String {
    format!(
        "it is a setting of the whole server (plain Postgres: ALTER SYSTEM SET {name} = '{value}', then SELECT \
         pg_reload_conf(); CloudNativePG: {name} in spec.postgresql.parameters; RDS: {name} in the parameter group; Cloud SQL: \
         the flag {name}={value})"
    )
}

async fn password_encryption(connection: &mut PgConnection) -> sqlx::Result<Check> {
    let name = "password_encryption";
    let value = server::value(connection, name).await?.unwrap_or_default();
    let evidence = format!("{name} = '{value}'");
    if value == "scram-sha-256" {
        return Ok(Check::passed(Control::PasswordEncryption, evidence));
    }
    let fix = for_the_server(name, "scram-sha-256");
    Ok(Check::failed(Control::PasswordEncryption, evidence, fix))
}

async fn md5(connection: &mut PgConnection, eye: &Eye) -> sqlx::Result<Check> {
    let control = Control::Md5Passwords;
    match sqlx::query_scalar::<_, String>(MD5).fetch_all(connection).await {
        Ok(roles) if roles.is_empty() => Ok(Check::passed(control, "no role has an MD5 password")),
        Ok(roles) => {
            let evidence = format!("roles with an MD5 password: {}", roles.join(", "));
            let fix = "set password_encryption = 'scram-sha-256', then the password of each anew";
            Ok(Check::failed(control, evidence, fix))
        }
        Err(error) if is_denied(&error) => {
            let fix = format!(
                "verify once as superuser; GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO {} would do too, but \
                 also let the role read the verifier of every password",
                eye.role
            );
            Ok(Check::unknown(control, "the role may not see how passwords are stored", fix))
        }
        Err(error) => Err(error),
    }
}
