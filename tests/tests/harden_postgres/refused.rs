//! What stands in the way is told by its reason, and the result is written in every case.

use anyhow::Result;
use postgres_hardening::{Reason, connect};
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use testbed::postgres::Options;

use crate::{READY, Scene};

#[test]
fn each_way_in_which_nothing_is_reached_has_its_reason_and_a_result() -> Result<()> {
    let scene = Scene::set("")?;
    let plain = Scene::set_with(&Options::default())?;
    let (url, ca) = (scene.url()?, scene.ca());
    let says = |url: &str, args: &[&str]| scene.run_as(&scene.secret("c", &[("url", url)])?, args)?.reason();
    let wrong = format!("postgres://eye:wrong@{}/shop", scene.postgres.address());
    assert_eq!(says(&wrong, &["--ca", &ca])?, Reason::AuthFailed);
    assert_eq!(says(&url, &["--ca", &ca, "--database", "nowhere"])?, Reason::DatabaseMissing);
    assert_eq!(says(&url, &["--ca", &ca, "--host", "localhost", "--port", "1"])?, Reason::Unreachable);
    for args in [&[][..], &["--ca", &plain.ca()], &["--ca", "/nowhere"], &["--tls-mode", "verify-ca"]] {
        assert_eq!(says(&url, args)?, Reason::TlsFailed, "{args:?}");
    }
    assert_eq!(says(&format!("{url}?sslrootcert=/nowhere"), &[])?, Reason::TlsFailed);
    for mode in ["disable", "prefer", "allow"] {
        let url = format!("{}?sslmode={mode}", plain.url()?);
        assert_eq!(says(&url, &["--tls-mode", "require"])?, Reason::TlsFailed, "a server without TLS");
    }
    assert_eq!(says("postgres://", &[])?, Reason::InvalidUrl);
    assert_eq!(scene.run_as("/nowhere", &[])?.reason()?, Reason::InvalidUrl);
    let verifier = ["--verifier", "/nowhere", "--verify-only"];
    assert_eq!(scene.run(&verifier)?.reason()?, Reason::InvalidUrl);
    for plan in ["", "[", r#"{"extensions": [{"name": "plpython3u"}]}"#, r#"{"audit": {"log": ["all"]}}"#] {
        let ended = scene.run(&["--plan", plan])?;
        assert!(ended.reason()? == Reason::Refused && !ended.said.contains("plpython3u"), "{}", ended.said);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_whose_every_connection_is_taken_is_waited_for() -> Result<()> {
    let few = "max_connections = 3\nsuperuser_reserved_connections = 0\n";
    let scene = Scene::set(&format!("{READY}{few}"))?;
    let connection = scene.secret("superuser", &[("url", &scene.url()?)])?;
    let options: PgConnectOptions = scene.url()?.parse()?;
    let mut all = Vec::new();
    // psql's own last session may still be ending.
    for _ in 0..50 {
        match options.clone().ssl_mode(PgSslMode::Require).connect().await {
            Ok(session) => all.push(session),
            Err(_) if all.len() == 3 => break,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    let ca = scene.ca();
    assert_eq!(scene.run_as(&connection, &["--ca", &ca])?.reason()?, Reason::TooManyConnections);
    let run = scene.start(&connection, &["--ca", &ca])?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    drop(all);
    scene.end(run)?.proven(7)?;
    Ok(())
}

#[tokio::test]
async fn a_standby_takes_nothing_and_what_a_lock_holds_up_leaves_nothing_behind() -> Result<()> {
    let primary = Scene::set(READY)?;
    let standby = Scene { postgres: primary.postgres.standby()?, folder: tempfile::tempdir()? };
    let ca = primary.ca();
    let connection = standby.secret("c", &[("url", &standby.url()?)])?;
    assert_eq!(standby.run_as(&connection, &["--ca", &ca])?.reason()?, Reason::ReadOnlyStandby);
    assert_eq!(standby.run_as(&connection, &["--ca", &ca, "--down"])?.reason()?, Reason::ReadOnlyStandby);
    let bare = primary.postgres.dump("shop")?;
    let options: PgConnectOptions = primary.url()?.parse()?;
    let mut holder = connect(&options.ssl_mode(PgSslMode::Require)).await?;
    sqlx::query("SELECT pg_catalog.pg_advisory_lock(4846174915207531)").execute(&mut holder).await?;
    let connection = primary.secret("c", &[("url", &primary.url()?)])?;
    let mut run = primary.start(&connection, &["--ca", &ca])?;
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while primary.postgres.sql("shop", waits)? == "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run.kill()?;
    run.wait()?;
    drop(holder);
    assert_eq!(primary.postgres.dump("shop")?, bare, "it was killed before its transaction was over");
    primary.run(&[])?.proven(7)?;
    Ok(())
}
