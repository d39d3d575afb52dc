//! What a plan added goes away again without a trace, and what others need stays.

use anyhow::Result;
use postgres_hardening::Reason;

use crate::{READY, Scene, full};

#[tokio::test]
async fn down_leaves_the_database_as_it_was_and_up_makes_it_as_it_was_too() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene
        .postgres
        .sql("shop", "CREATE TABLE public.customers (id bigint PRIMARY KEY, name text NOT NULL)")?;
    let bare = (scene.postgres.dump("shop")?, scene.state()?);
    scene.harden("postgres", &full()).await?;
    let hardened = (scene.postgres.dump("shop")?, scene.state()?);
    assert_ne!(bare.0, hardened.0);
    assert!(hardened.0.contains("ALTER DATABASE shop SET \"pgaudit.log\""), "{}", hardened.0);
    let removed = scene.down(&full(), false).await?;
    assert_eq!(
        removed.changed,
        [
            "pgaudit.log reset for the database",
            "pgaudit.log_rows reset for the database",
            "pgaudit.log_parameter reset for the database",
            "pgaudit.role reset for the database",
            "extension pgaudit dropped",
            "extension pgcrypto dropped",
            "role pgaudit_admin dropped",
        ]
    );
    assert_eq!((scene.postgres.dump("shop")?, scene.state()?), bare);
    let again = scene.down(&full(), false).await?;
    assert_eq!((again.changed, again.kept), (Vec::new(), Vec::new()));
    scene.harden("postgres", &full()).await?;
    assert_eq!((scene.postgres.dump("shop")?, scene.state()?), hardened);
    Ok(())
}

#[tokio::test]
async fn what_depends_on_an_extension_is_named_and_nothing_is_dropped_unless_that_is_asked_for() -> Result<()>
{
    let scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql(
        "shop",
        "CREATE TABLE public.keys (id uuid, token bytea DEFAULT public.gen_random_bytes(16)); \
         CREATE VIEW public.hashes AS SELECT public.digest(token, 'sha256') AS hash FROM public.keys",
    )?;
    let before = (scene.postgres.dump("shop")?, scene.state()?);
    let problem = scene.stays(&full()).await?;
    assert_eq!(problem.reason, Reason::Refused);
    assert_eq!(
        problem.detail,
        "these depend on extension pgcrypto: default value for public.keys.token, rule \"_RETURN\" on public.hashes"
    );
    assert_eq!(
        (scene.postgres.dump("shop")?, scene.state()?),
        before,
        "pgaudit's part would have gone first"
    );
    assert_eq!(scene.down(&full(), true).await?.changed.len(), 7);
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(scene.postgres.sql("shop", tables)?, "keys", "the view went with it, the table did not");
    Ok(())
}

#[tokio::test]
async fn a_role_that_others_need_is_kept() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql("postgres", "CREATE TABLE t (id int); GRANT SELECT ON t TO pgaudit_admin")?;
    let kept = ["role pgaudit_admin: others need it"];
    assert_eq!(scene.down(&full(), false).await?.kept, kept, "a right in another database");
    scene
        .postgres
        .sql("postgres", "DROP TABLE t; ALTER DATABASE postgres SET pgaudit.role = 'pgaudit_admin'")?;
    assert_eq!(scene.down(&full(), false).await?.kept, kept, "the auditing of another database");
    scene.postgres.sql("postgres", "ALTER DATABASE postgres RESET pgaudit.role")?;
    assert_eq!(scene.down(&full(), false).await?.changed, ["role pgaudit_admin dropped"]);
    Ok(())
}
