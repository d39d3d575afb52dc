//! What a server and a database are, read from the catalogue. It changes nothing.

use sqlx::PgConnection;

use crate::{
    plan::Extension,
    problem::{Doing, Problem, Reason, is_denied},
};

/// The first version with trusted extensions.
const OLDEST: i32 = 130_000;

/// An extension that is there.
pub(crate) struct Installed {
    pub version: String,
    pub schema: String,
}

/// Where a library stands that is loaded at the server's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preload {
    /// It is loaded.
    Loaded,
    /// The configuration names it, but the server was not restarted since.
    Configured,
    /// It is not, as far as this role may see.
    Missing,
}

/// Such as 150018 for 15.18; nothing below 13 is spoken to.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i32, Problem> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4";
    let version = sqlx::query_scalar(sql).fetch_one(connection).await.map_err(Problem::when(Doing::Look))?;
    supported(version)
}

fn supported(version: i32) -> Result<i32, Problem> {
    if version < OLDEST {
        let detail = format!("the server is Postgres {}", version / 10_000);
        return Err(Problem::usual(Reason::UnsupportedVersion, Doing::Look, detail));
    }
    Ok(version)
}

/// A standby takes no writes.
pub(crate) async fn assert_writable(connection: &mut PgConnection) -> Result<(), Problem> {
    let sql = "SELECT pg_catalog.pg_is_in_recovery()";
    let standby: bool =
        sqlx::query_scalar(sql).fetch_one(connection).await.map_err(Problem::when(Doing::Look))?;
    if standby {
        return Err(Problem::usual(Reason::ReadOnlyStandby, Doing::Look, "the server is a standby"));
    }
    Ok(())
}

/// Version and schema of an extension, when it is there.
pub(crate) async fn installed(
    connection: &mut PgConnection,
    extension: Extension,
) -> sqlx::Result<Option<Installed>> {
    let sql = "SELECT e.extversion, n.nspname::pg_catalog.text FROM pg_catalog.pg_extension e \
               JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1::pg_catalog.name";
    let row: Option<(String, String)> =
        sqlx::query_as(sql).bind(extension.as_str()).fetch_optional(connection).await?;
    Ok(row.map(|(version, schema)| Installed { version, schema }))
}

/// The versions that the server could create.
pub(crate) async fn available(
    connection: &mut PgConnection,
    extension: Extension,
) -> sqlx::Result<Vec<String>> {
    let sql = "SELECT version FROM pg_catalog.pg_available_extension_versions WHERE name = $1::pg_catalog.name \
               ORDER BY version";
    sqlx::query_scalar(sql).bind(extension.as_str()).fetch_all(connection).await
}

/// Whether scripts lead from one version to another.
pub(crate) async fn leads(
    connection: &mut PgConnection,
    extension: Extension,
    from: &str,
    to: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension_update_paths($1::pg_catalog.name) \
               WHERE source = $2 AND target = $3 AND path IS NOT NULL)";
    sqlx::query_scalar(sql).bind(extension.as_str()).bind(from).bind(to).fetch_one(connection).await
}

/// Whether there is such a schema.
pub(crate) async fn has_schema(connection: &mut PgConnection, schema: &str) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1::pg_catalog.name)";
    sqlx::query_scalar(sql).bind(schema).fetch_one(connection).await
}

/// Whether there is such a role.
pub(crate) async fn has_role(connection: &mut PgConnection, role: &str) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1::pg_catalog.name)";
    sqlx::query_scalar(sql).bind(role).fetch_one(connection).await
}

/// Where the library of an extension stands; one that needs none counts as loaded.
pub(crate) async fn preload(connection: &mut PgConnection, extension: Extension) -> sqlx::Result<Preload> {
    let Some(setting) = extension.loaded_setting() else { return Ok(Preload::Loaded) };
    if value(connection, setting).await?.is_some() {
        return Ok(Preload::Loaded);
    }
    let configured = is_configured(connection, extension).await?;
    Ok(if configured { Preload::Configured } else { Preload::Missing })
}

/// Whether the next start would load the library.
async fn is_configured(connection: &mut PgConnection, extension: Extension) -> sqlx::Result<bool> {
    // The last line of the configuration that names the setting wins, and it is read anew, reloaded or not.
    let sql = "SELECT setting FROM pg_catalog.pg_file_settings WHERE name = 'shared_preload_libraries' \
               ORDER BY seqno DESC LIMIT 1";
    match sqlx::query_scalar::<_, Option<String>>(sql).fetch_optional(&mut *connection).await {
        Ok(list) => return Ok(names(&list.flatten().unwrap_or_default(), extension)),
        Err(error) if !is_denied(&error) => return Err(error),
        Err(_) => {}
    }
    // Who may not read the file may know that the list waits for a restart, if not what is in it. No row: not even that.
    let sql = "SELECT pending_restart FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'";
    Ok(sqlx::query_scalar(sql).fetch_optional(connection).await?.unwrap_or(false))
}

/// Whether a value of `shared_preload_libraries` names the library.
pub(crate) fn names(list: &str, extension: Extension) -> bool {
    let library = |part: &str| part.trim().trim_matches('"').rsplit('/').next().map(str::to_owned);
    list.split(',').any(|part| library(part).as_deref() == Some(extension.as_str()))
}

/// The value of a setting in this session, when there is such a setting and the role may see it. Unlike
/// `current_setting`, the view has no settings that somebody made up for a library that is not loaded.
pub(crate) async fn value(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<String>> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = $1";
    sqlx::query_scalar::<_, Option<String>>(sql)
        .bind(name)
        .fetch_optional(connection)
        .await
        .map(Option::flatten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_in_the_list_by_its_whole_name() {
        for list in ["pgaudit", "a, pgaudit ,b", "$libdir/pgaudit", "\"pgaudit\",x"] {
            assert!(names(list, Extension::Pgaudit), "{list}");
        }
        for list in ["", "pgaudit2", "my_pgaudit", "pgauditlogtofile, auto_explain"] {
            assert!(!names(list, Extension::Pgaudit), "{list}");
        }
    }

    #[test]
    fn versions_before_13_are_not_spoken_to() {
        assert_eq!(supported(130_000), Ok(130_000));
        let problem = supported(120_022).unwrap_err();
        assert_eq!(
            (problem.reason, &*problem.detail),
            (Reason::UnsupportedVersion, "the server is Postgres 12")
        );
    }
}
