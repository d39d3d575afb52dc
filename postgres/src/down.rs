//! Takes away what a plan added, in one transaction, and nothing that others need unless that is asked for.

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harden::{begin, database},
    plan::{Audit, Extension, Plan},
    problem::{Doing, Problem, Reason},
    server,
    session::{self, RUN, execute, quoted},
    settings::{self, Setting},
};

/// At most so many objects are named.
const NAMED: i64 = 10;

/// Objects outside of an extension that need it, by their identity: those that depend on the extension itself, and those
/// that depend on one of its members.
const DEPENDENTS: &str = "\
    WITH members AS (\
        SELECT d.classid, d.objid FROM pg_catalog.pg_depend d \
        WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' \
        AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = $1::pg_catalog.name)), \
    needed AS (\
        SELECT m.classid, m.objid FROM members m UNION ALL \
        SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_extension e \
        WHERE e.extname = $1::pg_catalog.name) \
    SELECT DISTINCT pg_catalog.concat(o.type, ' ', o.identity) \
    FROM pg_catalog.pg_depend d \
    JOIN needed n ON n.classid = d.refclassid AND n.objid = d.refobjid \
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) o \
    WHERE d.deptype IN ('n', 'a') \
    AND NOT EXISTS (SELECT FROM members m WHERE m.classid = d.classid AND m.objid = d.objid) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i JOIN members m \
        ON m.classid = i.refclassid AND m.objid = i.refobjid \
        WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i') \
    ORDER BY 1 LIMIT $2";

/// Whether anything in any database needs a role: rights, ownership, memberships, or its being named for another database.
const ROLE_IS_NEEDED: &str = "\
    SELECT EXISTS (SELECT FROM pg_catalog.pg_shdepend d WHERE d.refobjid = r.oid \
            AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass) \
        OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE r.oid IN (m.roleid, m.member)) \
        OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid \
            OR pg_catalog.concat('pgaudit.role=', r.rolname) = ANY (s.setconfig)) \
    FROM pg_catalog.pg_roles r WHERE r.rolname = $1::pg_catalog.name";

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// One line for each change; none when nothing was there.
    pub changed: Vec<String>,
    /// What stays because others need it.
    pub kept: Vec<String>,
}

/// Takes away what the plan names. With `cascade` also what depends on its extensions; without it nothing is changed when
/// anything does.
pub async fn down(connection: &mut PgConnection, plan: &Plan, cascade: bool) -> Result<Removed, Problem> {
    plan.check()?;
    session::within(RUN, Doing::Look, run(connection, plan, cascade)).await
}

async fn run(connection: &mut PgConnection, plan: &Plan, cascade: bool) -> Result<Removed, Problem> {
    session::assert_safe(connection).await?;
    server::version(connection).await?;
    server::assert_writable(connection).await?;
    let mut transaction = connection.begin().await.map_err(Problem::when(Doing::Look))?;
    begin(&mut transaction).await?;
    let mut removed = Removed { changed: Vec::new(), kept: Vec::new() };
    if let Some(audit) = &plan.audit {
        removed.changed.extend(reset(&mut transaction, audit).await?);
    }
    for wanted in plan.extensions.iter().rev() {
        removed.changed.extend(drop_extension(&mut transaction, wanted.name, cascade).await?);
    }
    if let Some(audit) = &plan.audit {
        drop_role(&mut transaction, audit.role(), &mut removed).await?;
    }
    transaction.commit().await.map_err(Problem::when(Doing::Commit))?;
    Ok(removed)
}

async fn reset(connection: &mut PgConnection, audit: &Audit) -> Result<Vec<String>, Problem> {
    let database = database(connection).await?;
    let standing = settings::standing(connection).await.map_err(Problem::when(Doing::Look))?;
    let mut changed = Vec::new();
    for setting in Setting::ALL {
        let mut ours = standing.iter().filter(|one| one.is_of(&audit.scope));
        if !ours.any(|one| one.value_of(setting).is_some()) {
            continue;
        }
        let (name, target) = (setting.as_str(), audit.scope.target(&database));
        execute(connection, format!("ALTER {target} RESET {name}"))
            .await
            .map_err(Problem::when(Doing::Set))?;
        changed.push(format!("{name} reset for {}", audit.scope.words()));
    }
    Ok(changed)
}

async fn drop_extension(
    connection: &mut PgConnection,
    extension: Extension,
    cascade: bool,
) -> Result<Option<String>, Problem> {
    let there = server::installed(connection, extension).await.map_err(Problem::when(Doing::Look))?;
    if there.is_none() {
        return Ok(None);
    }
    if !cascade {
        is_free(connection, extension).await?;
    }
    let how = if cascade { "CASCADE" } else { "RESTRICT" };
    execute(connection, format!("DROP EXTENSION {} {how}", quoted(extension.as_str())))
        .await
        .map_err(Problem::when(Doing::Drop(extension)))?;
    Ok(Some(format!("extension {extension} dropped")))
}

async fn is_free(connection: &mut PgConnection, extension: Extension) -> Result<(), Problem> {
    let query = sqlx::query_scalar(DEPENDENTS).bind(extension.as_str()).bind(NAMED);
    let dependents: Vec<String> = query.fetch_all(connection).await.map_err(Problem::when(Doing::Look))?;
    if dependents.is_empty() {
        return Ok(());
    }
    let detail = format!("these depend on extension {extension}: {}", dependents.join(", "));
    let fix = "drop them first, or ask for them to be dropped with it; nothing was changed";
    Err(Problem::new(Reason::Refused, detail, fix))
}

async fn drop_role(connection: &mut PgConnection, role: &str, removed: &mut Removed) -> Result<(), Problem> {
    let query = sqlx::query_scalar(ROLE_IS_NEEDED).bind(role);
    let needed: Option<bool> =
        query.fetch_optional(&mut *connection).await.map_err(Problem::when(Doing::Look))?;
    match needed {
        None => {}
        Some(true) => removed.kept.push(format!("role {role}: others need it")),
        Some(false) => {
            let sql = format!("DROP ROLE {}", quoted(role));
            execute(connection, sql).await.map_err(Problem::when(Doing::DropRole))?;
            removed.changed.push(format!("role {role} dropped"));
        }
    }
    Ok(())
}
