//! Event triggers: code of others that would run with this session's rights on its own statements. It changes none.

use sqlx::PgConnection;

use crate::{
    problem::{Doing, Problem, Reason},
    session::quoted,
};

/// Those that fire in this session and whose function somebody without this session's rights may replace. A function in C
/// is safe: only a superuser makes one, as pgaudit's own. One of a superuser is as safe as he is.
const FOREIGN: &str = "\
    SELECT t.evtname::pg_catalog.text, r.rolname::pg_catalog.text \
    FROM pg_catalog.pg_event_trigger t \
    JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    JOIN pg_catalog.pg_roles r ON r.oid = p.proowner \
    WHERE t.evtenabled <> 'D' AND l.lanname NOT IN ('c', 'internal') AND NOT r.rolsuper \
    AND r.rolname <> pg_catalog.current_user() ORDER BY 1 LIMIT 1";

/// Nothing is changed while code of somebody else would run along.
pub(crate) async fn assert_harmless(connection: &mut PgConnection) -> Result<(), Problem> {
    let row: Option<(String, String)> =
        sqlx::query_as(FOREIGN).fetch_optional(connection).await.map_err(Problem::when(Doing::Look))?;
    let Some((trigger, owner)) = row else { return Ok(()) };
    let (trigger, owner) = (quoted(&trigger), quoted(&owner));
    let detail =
        format!("event trigger {trigger} would run a function of {owner} with the rights of this session");
    let fix = format!(
        "look at it, then drop it: DROP EVENT TRIGGER {trigger}; or give its function to a superuser"
    );
    Err(Problem::new(Reason::Refused, detail, fix))
}
