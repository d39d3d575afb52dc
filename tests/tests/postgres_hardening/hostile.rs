//! The database belongs to somebody who means harm. Nothing of his runs with the rights of whoever hardens or verifies, and
//! nothing of his is taken for the real thing.

use anyhow::{Context as _, Result};
use postgres_hardening::{Control, Extension, Outcome, Reason, connect, harden, verify};
use serde_json::json;
use sqlx::ConnectOptions as _;

use crate::{READY, Scene, check, full, only, open, outcome, plan};

/// Functions and operators with the names of those of Postgres that raise when they are called, and settings that put them
/// first and change how statements are read.
const TRAPS: &str = "
    CREATE FUNCTION public.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap'; END $$;
    CREATE FUNCTION public.trap(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
    CREATE FUNCTION public.trap(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
    CREATE FUNCTION public.trap(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
    CREATE FUNCTION public.trap(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
    CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
    CREATE FUNCTION public.encode(bytea, text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
    CREATE FUNCTION public.concat(text, text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
    CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.trap);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.trap);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.trap);
    CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.trap);
    CREATE OPERATOR public.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = public.trap);
    ALTER DATABASE shop SET search_path = public, pg_catalog;
    ALTER DATABASE shop SET role = 'owner';
    ALTER DATABASE shop SET default_transaction_read_only = on;
    ALTER DATABASE shop SET standard_conforming_strings = off;
";

#[tokio::test]
async fn functions_operators_and_settings_of_the_owner_are_never_found() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.postgres.sql("postgres", "ALTER ROLE postgres SET search_path = public, pg_catalog")?;
    scene.postgres.sql("shop", TRAPS)?;
    // They work: whoever does not know of them is caught.
    let caught = scene.postgres.sql("shop", "SELECT 'a'::text = 'b'::text").unwrap_err();
    assert!(caught.to_string().contains("trap"), "{caught}");
    assert_eq!(scene.harden("postgres", &full()).await?.changed.len(), 7);
    let seen = scene.verify("postgres", &full()).await?;
    assert_eq!(open(&seen), [(Control::Tls, Outcome::Failed)], "{seen:#?}");
    assert_eq!(scene.down(&full(), false).await?.changed.len(), 7);
    Ok(())
}

#[tokio::test]
async fn a_session_that_finds_the_owners_objects_is_not_used() -> Result<()> {
    let scene = Scene::set("")?;
    let pgcrypto = only(&json!({"name": "pgcrypto"}))?;
    let mut usual = scene.as_role("postgres")?.connect().await?;
    let problem = harden(&mut usual, &pgcrypto).await.err().context("it was used")?;
    assert_eq!((problem.reason, &*problem.fix), (Reason::Refused, "open the session with connect()"));
    let mut other = connect(&scene.as_role("postgres")?).await?;
    sqlx::query("SET ROLE owner").execute(&mut other).await?;
    assert!(harden(&mut other, &pgcrypto).await.is_err(), "it acts as another role");
    assert_eq!(scene.state()?, "");
    Ok(())
}

#[tokio::test]
async fn an_event_trigger_with_a_function_of_somebody_else_stops_everything_before_it_runs() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.postgres.sql(
        "shop",
        "CREATE FUNCTION public.grab() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN EXECUTE 'ALTER ROLE owner SUPERUSER'; END $$; \
         CREATE EVENT TRIGGER grab ON ddl_command_start EXECUTE FUNCTION public.grab();",
    )?;
    scene.postgres.sql("shop", "ALTER EVENT TRIGGER grab DISABLE; ALTER FUNCTION public.grab() OWNER TO owner; ALTER EVENT TRIGGER grab ENABLE")?;
    scene.postgres.sql("shop", "ALTER ROLE owner NOSUPERUSER")?;
    let problem = scene.refused("postgres", &full()).await?;
    assert_eq!(problem.reason, Reason::Refused);
    assert_eq!(
        problem.detail,
        "event trigger \"grab\" would run a function of \"owner\" with the rights of this session"
    );
    assert!(scene.down(&full(), false).await.is_err());
    assert_eq!(scene.postgres.sql("shop", "SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'")?, "f");
    assert_eq!(scene.state()?, "");
    scene.postgres.sql("shop", "ALTER EVENT TRIGGER grab DISABLE")?;
    assert_eq!(scene.harden("postgres", &full()).await?.changed.len(), 7, "one that is off does no harm");
    Ok(())
}

#[tokio::test]
async fn an_event_trigger_that_raises_leaves_nothing_half_installed() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.postgres.sql(
        "shop",
        "CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF current_query() ~ 'pgaudit' THEN RAISE EXCEPTION '%', current_query(); END IF; END $$; \
         CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION public.no()",
    )?;
    let problem = scene.refused("postgres", &full()).await?;
    assert_eq!(
        (problem.reason, &*problem.detail),
        (Reason::Refused, "creating extension pgaudit: SQLSTATE P0001")
    );
    assert_eq!(scene.state()?, "", "pgcrypto was created before it");
    Ok(())
}

#[tokio::test]
async fn objects_in_the_way_of_an_extension_are_not_taken_over() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.postgres.sql(
        "shop",
        "SET ROLE owner; CREATE FUNCTION public.digest(bytea, text) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    )?;
    let problem = scene.refused("postgres", &full()).await?;
    assert_eq!(
        (problem.reason, &*problem.detail),
        (Reason::Refused, "creating extension pgcrypto: SQLSTATE 42723")
    );
    assert_eq!(scene.state()?, "");
    Ok(())
}

#[tokio::test]
async fn a_false_pgcrypto_fools_nobody() -> Result<()> {
    let scene = Scene::set("")?;
    let pgcrypto = only(&json!({"name": "pgcrypto"}))?;
    let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let trojan =
        format!("LANGUAGE sql AS $$ SELECT CASE WHEN $1 = 'abc' THEN '\\x{right}'::bytea ELSE $1 END $$");
    let of = |schema: &str| format!("CREATE FUNCTION {schema}.digest(bytea, text) RETURNS bytea {trojan}");
    scene.postgres.sql("shop", &format!("CREATE SCHEMA pgcrypto; {}; {}", of("pgcrypto"), of("public")))?;
    let seen = scene.verify("eye", &pgcrypto).await?;
    assert_eq!(outcome(&seen, Control::Extension(Extension::Pgcrypto))?, Outcome::Failed);
    assert!(check(&seen, Control::Digest).is_err(), "a schema is no extension");
    // The real one, with overloads in its own schema and the false ones beside it.
    scene.postgres.sql(
        "shop",
        "CREATE SCHEMA crypt; GRANT USAGE ON SCHEMA crypt TO PUBLIC; CREATE EXTENSION pgcrypto SCHEMA crypt; \
         CREATE FUNCTION crypt.gen_random_bytes(bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$; \
         CREATE FUNCTION crypt.digest(bytea, varchar) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$",
    )?;
    let seen = scene.verify("eye", &pgcrypto).await?;
    for control in [Control::Digest, Control::RoundTrip, Control::RandomBytes] {
        assert_eq!(outcome(&seen, control)?, Outcome::Passed, "{seen:#?}");
    }
    // The real one with another function in the place of its own.
    let swap = format!(
        "ALTER EXTENSION pgcrypto DROP FUNCTION crypt.digest(bytea, text); DROP FUNCTION crypt.digest(bytea, text); {}; \
         ALTER EXTENSION pgcrypto ADD FUNCTION crypt.digest(bytea, text)",
        of("crypt")
    );
    scene.postgres.sql("shop", &swap)?;
    let seen = scene.verify("eye", &pgcrypto).await?;
    let digest = check(&seen, Control::Digest)?;
    assert_eq!(digest.evidence, "digest(bytea, text) is not the function of extension pgcrypto");
    assert_eq!(digest.outcome, Outcome::Failed);
    Ok(())
}

#[tokio::test]
async fn hostile_names_never_reach_the_server_and_a_hostile_database_name_is_only_a_name() -> Result<()> {
    let scene = Scene::set(&format!("{READY}log_statement = all\n"))?;
    let hostile = "x\"; ALTER ROLE owner SUPERUSER; --";
    for bad in [
        json!({"extensions": [{"name": "pgcrypto", "schema": hostile}]}),
        json!({"extensions": [{"name": "pgcrypto", "version": hostile}]}),
        json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "role": hostile}}),
        json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "scope": {"role": hostile}}}),
    ] {
        let bad = plan(bad)?;
        let problem = scene.refused("postgres", &bad).await?;
        assert!(problem.reason == Reason::Refused && !problem.to_string().contains("SUPERUSER"), "{problem}");
        assert!(scene.down(&bad, true).await.is_err() && scene.verify("postgres", &bad).await.is_err());
    }
    assert!(!scene.postgres.log().contains("ALTER ROLE owner SUPERUSER"));
    scene.postgres.sql("postgres", "CREATE DATABASE \"x\"\"; ALTER ROLE owner SUPERUSER; --\"")?;
    let options = scene.as_role("postgres")?.database(hostile);
    let mut session = connect(&options).await?;
    assert_eq!(harden(&mut session, &full()).await?.changed.len(), 7);
    assert_eq!(open(&verify(&options, &full()).await?), [(Control::Tls, Outcome::Failed)]);
    assert_eq!(scene.postgres.sql("shop", "SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'")?, "f");
    Ok(())
}
