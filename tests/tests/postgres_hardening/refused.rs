//! What stands in the way has its reason, and nothing is half done.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres_hardening::{Outcome, Reason, connect, harden};
use rustix::process::Signal;
use serde_json::json;
use testbed::postgres::Options;
use testbed::{Look, wait_until};

use crate::{READY, Scene, full, only, plan};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_library_that_is_not_loaded_is_told_from_one_that_waits_for_a_restart() -> Result<()> {
    let mut scene = Scene::set("log_disconnections = on")?;
    let problem = scene.refused("postgres", &full()).await?;
    assert_eq!(problem.reason, Reason::PreloadMissing);
    assert!(
        problem.reason.is_terminal() && problem.fix.contains("ALTER SYSTEM SET shared_preload_libraries"),
        "{problem}"
    );
    assert_eq!(scene.state()?, "", "pgcrypto comes first in the plan");
    scene.postgres.sql("shop", "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pgaudit'")?;
    let problem = scene.refused("postgres", &full()).await?;
    assert_eq!(problem.reason, Reason::RestartPending);
    assert!(!problem.reason.is_terminal() && problem.fix.contains("kubectl cnpg restart"), "{problem}");
    assert_eq!(scene.state()?, "");
    scene.postgres.sql("shop", "SELECT pg_reload_conf()")?;
    assert_eq!(scene.refused("owner", &full()).await?.reason, Reason::PreloadMissing, "he sees neither");
    scene.postgres.sql("shop", "GRANT pg_read_all_settings TO owner")?;
    // Until the server has read its file again.
    wait_until(SOON, "the owner to see it", async || match scene.refused("owner", &full()).await {
        Ok(problem) if problem.reason == Reason::RestartPending => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    let problem = scene.refused("postgres", &only(&json!({"name": "pg_stat_statements"}))?).await?;
    assert_eq!(problem.reason, Reason::PreloadMissing);
    scene.postgres.stop();
    scene.postgres.start_again()?;
    assert_eq!(scene.harden("postgres", &full()).await?.changed.len(), 7);
    Ok(())
}

#[tokio::test]
async fn no_superuser_is_needed_for_a_trusted_extension_and_without_one_nothing_is_half_installed()
-> Result<()> {
    let scene = Scene::set(READY)?;
    let problem = scene.refused("owner", &full()).await?;
    assert_eq!(problem.reason, Reason::NotSuperuser);
    assert_eq!(problem.detail, "creating extension pgaudit: SQLSTATE 42501");
    assert_eq!(scene.state()?, "", "pgcrypto was created before it in the same transaction");
    let pgcrypto = only(&json!({"name": "pgcrypto"}))?;
    let problem = scene.refused("eye", &pgcrypto).await?;
    assert_eq!(problem.reason, Reason::NotSuperuser);
    assert!(problem.fix.starts_with("no superuser is needed: "), "{problem}");
    assert_eq!(scene.harden("owner", &pgcrypto).await?.changed.len(), 1);
    let seen = scene.verify("owner", &pgcrypto).await?;
    let failed: Vec<_> = seen.open().filter(|check| check.outcome == Outcome::Failed).collect();
    assert_eq!(failed.len(), 1, "no TLS here: {failed:#?}");
    Ok(())
}

#[tokio::test]
async fn a_version_that_the_server_does_not_have_is_told_with_those_that_it_has() -> Result<()> {
    let scene = Scene::set("")?;
    let both = plan(json!({"extensions": [{"name": "citext"}, {"name": "pgcrypto", "version": "9.9"}]}))?;
    let problem = scene.refused("postgres", &both).await?;
    assert_eq!(problem.reason, Reason::NotAvailable);
    assert_eq!(problem.detail, "extension pgcrypto has no version 9.9; available: 1.3");
    assert_eq!(problem.fix, "ask for one of 1.3, or for none");
    assert_eq!(scene.state()?, "");
    Ok(())
}

#[tokio::test]
async fn a_schema_that_is_missing_or_another_one_is_told_and_nothing_is_moved() -> Result<()> {
    let scene = Scene::set("")?;
    let nowhere = only(&json!({"name": "pgcrypto", "schema": "nowhere"}))?;
    let problem = scene.refused("postgres", &nowhere).await?;
    assert_eq!(problem.reason, Reason::SchemaMissing);
    assert_eq!(problem.detail, "there is no schema nowhere for extension pgcrypto");
    scene
        .postgres
        .sql("shop", "CREATE SCHEMA crypt; CREATE EXTENSION pgcrypto SCHEMA crypt; CREATE SCHEMA nowhere")?;
    let problem = scene.refused("postgres", &nowhere).await?;
    assert_eq!(problem.reason, Reason::WrongSchema);
    assert_eq!(problem.detail, "extension pgcrypto is in schema \"crypt\"");
    let schema = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pgcrypto'";
    assert_eq!(scene.postgres.sql("shop", schema)?, "crypt");
    assert_eq!(scene.harden("postgres", &only(&json!({"name": "pgcrypto"}))?).await?.changed, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_standby_takes_nothing_but_can_be_verified() -> Result<()> {
    let primary = Scene::set(READY)?;
    primary.harden("postgres", &full()).await?;
    let standby = Scene { postgres: primary.postgres.standby()?, tls: false };
    let problem = standby.refused("postgres", &full()).await?;
    assert_eq!(problem.reason, Reason::ReadOnlyStandby);
    assert!(problem.fix.contains("CLUSTER-rw"), "{problem}");
    let mut session = connect(&standby.as_role("postgres")?).await?;
    let problem =
        postgres_hardening::down(&mut session, &full(), false).await.err().context("it went down")?;
    assert_eq!(problem.reason, Reason::ReadOnlyStandby);
    let seen = standby.verify("postgres", &full()).await?;
    let failed: Vec<_> = seen.open().map(|check| &*check.evidence).collect();
    assert_eq!(failed, ["the connection is not encrypted"]);
    Ok(())
}

#[tokio::test]
async fn each_way_in_which_a_session_does_not_begin_has_its_reason() -> Result<()> {
    let mut scene = Scene::set("")?;
    let reason = async |options: &sqlx::postgres::PgConnectOptions| {
        connect(options).await.err().map(|problem| problem.reason)
    };
    let eye = scene.as_role("eye")?;
    assert_eq!(reason(&eye.clone().password("wrong")).await, Some(Reason::AuthFailed));
    assert_eq!(reason(&eye.clone().database("nowhere")).await, Some(Reason::DatabaseMissing));
    let tls = eye.clone().ssl_mode(sqlx::postgres::PgSslMode::Require);
    assert_eq!(reason(&tls).await, Some(Reason::TlsFailed));
    scene.postgres.sql("shop", "ALTER ROLE eye CONNECTION LIMIT 0")?;
    assert_eq!(reason(&eye).await, Some(Reason::TooManyConnections));
    scene
        .postgres
        .sql("shop", "ALTER ROLE eye CONNECTION LIMIT -1; REVOKE CONNECT ON DATABASE shop FROM PUBLIC")?;
    assert_eq!(reason(&eye).await, Some(Reason::Refused));
    scene.postgres.signal(Signal::STOP);
    // It takes the connection and never answers.
    let answered = tokio::time::timeout(SOON, reason(&eye)).await?;
    assert_eq!(answered, Some(Reason::Unreachable));
    scene.postgres.stop();
    assert_eq!(reason(&eye).await, Some(Reason::Unreachable));
    let other = Scene::set_with(&Options { tls: Some(&[]), ..Options::default() })?;
    let stranger = other.as_role("eye")?.ssl_root_cert("/nowhere");
    assert_eq!(reason(&stranger).await, Some(Reason::TlsFailed));
    let third = Scene::set_with(&Options { tls: Some(&[]), ..Options::default() })?;
    let stranger = other.as_role("eye")?.ssl_root_cert(third.postgres.ca_file());
    assert_eq!(reason(&stranger).await, Some(Reason::TlsFailed), "another authority");
    Ok(())
}

#[tokio::test]
async fn what_a_lock_holds_up_is_over_in_time_and_to_be_tried_again() -> Result<()> {
    let scene = Scene::set("")?;
    let mut holder = connect(&scene.as_role("postgres")?).await?;
    let mut session = connect(&scene.as_role("postgres")?).await?;
    sqlx::query("SELECT pg_catalog.pg_advisory_lock(4846174915207531)").execute(&mut holder).await?;
    sqlx::query("SET lock_timeout = '1s'").execute(&mut session).await?;
    let problem =
        harden(&mut session, &only(&json!({"name": "pgcrypto"}))?).await.err().context("it went on")?;
    assert_eq!((problem.reason, problem.reason.is_terminal()), (Reason::Unreachable, false));
    assert!(problem.detail.ends_with("SQLSTATE 55P03"), "{problem}");
    Ok(())
}
