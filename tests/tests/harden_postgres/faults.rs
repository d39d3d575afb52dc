//! What goes wrong on the way is over by the next try, or by the next run.

use std::time::Duration;

use anyhow::{Result, ensure};
use postgres_hardening::connect;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::{READY, Scene};

#[test]
fn a_server_that_comes_up_in_time_is_hardened() -> Result<()> {
    let mut scene = Scene::set(READY)?;
    let connection = scene.secret("superuser", &[("url", &scene.url()?)])?;
    scene.postgres.stop();
    let run = scene.start(&connection, &["--ca", &scene.ca()])?;
    std::thread::sleep(Duration::from_secs(1));
    scene.postgres.start_again()?;
    scene.end(run)?.proven(7)?;
    Ok(())
}

#[test]
fn a_secret_that_is_corrected_in_time_is_read_again() -> Result<()> {
    let scene = Scene::set(READY)?;
    let wrong = format!("postgres://postgres:wrong@{}/shop", scene.postgres.address());
    let connection = scene.secret("superuser", &[("url", &wrong)])?;
    let run = scene.start(&connection, &["--ca", &scene.ca()])?;
    std::thread::sleep(Duration::from_secs(1));
    std::fs::write(format!("{connection}/url"), scene.url()?)?;
    scene.end(run)?.proven(7)?;
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_killed_right_after_its_commit_is_finished_by_the_next() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.run(&[])?.proven(7)?;
    let whole = scene.postgres.dump("shop")?;
    assert!(scene.run(&["--down"])?.is_well);
    let options: PgConnectOptions = scene.url()?.parse()?;
    let mut watcher = connect(&options.ssl_mode(PgSslMode::Require)).await?;
    let connection = scene.secret("superuser", &[("url", &scene.url()?)])?;
    let mut run = scene.start(&connection, &["--ca", &scene.ca()])?;
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pgaudit')";
    while !sqlx::query_scalar::<_, bool>(there).fetch_one(&mut watcher).await? {
        ensure!(run.try_wait()?.is_none(), "it ended before its changes were visible");
    }
    run.kill()?;
    run.wait()?;
    ensure!(!scene.result().exists(), "it was killed too late");
    scene.run(&[])?.proven(0)?;
    assert_eq!(scene.postgres.dump("shop")?, whole);
    Ok(())
}
