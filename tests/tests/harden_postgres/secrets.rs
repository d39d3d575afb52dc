//! No password is in the program's arguments, environment, output or result, in what other sessions see, or in the server's log.

use std::io::Read as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use postgres_hardening::connect;
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use testbed::postgres::LOG_EVERYTHING;

use crate::{EYE, READY, Scene};

const CANARY: &str = "canary-7f3a91d2c4";
const OTHER: &str = "canary-5b0e83aa17";

fn log(scene: &Scene) -> Result<String> {
    let collected = scene.postgres.sql("shop", "SELECT pg_read_file(pg_current_logfile())")?;
    Ok(scene.postgres.log() + &collected)
}

/// Whether it ended well, how often its sessions were seen, and what it wrote. What others see of it meanwhile is added.
async fn watched(
    command: &mut Command,
    watcher: &mut PgConnection,
    seen: &mut String,
) -> Result<(bool, usize, String)> {
    let sql = "SELECT concat_ws(' ', query, application_name, usename) FROM pg_stat_activity \
               WHERE pid <> pg_backend_pid()";
    let mut run = command.spawn()?;
    let mut stdout = run.stdout.take().context("no output")?;
    let mut stderr = run.stderr.take().context("no errors")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).and(stderr.read_to_string(&mut text)).map(|_| text)
    });
    let mut others = 0;
    let status = loop {
        for file in ["cmdline", "environ"] {
            // It may just have ended.
            *seen += &std::fs::read_to_string(format!("/proc/{}/{file}", run.id())).unwrap_or_default();
        }
        let activity: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *watcher).await?;
        others += activity.iter().filter(|line| line.ends_with(" root") || line.ends_with(" eye")).count();
        *seen += &activity.join("\n");
        if let Some(status) = run.try_wait()? {
            break status;
        }
    };
    let output = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    Ok((status.success(), others, output))
}

#[tokio::test]
async fn no_password_is_seen_anywhere() -> Result<()> {
    // What makes the roles is logged too, so that comes before everything is.
    let scene = Scene::set(READY)?;
    scene.postgres.sql(
        "shop",
        &format!(
            "CREATE ROLE root SUPERUSER LOGIN PASSWORD '{CANARY}'; ALTER ROLE eye PASSWORD '{OTHER}'; \
             GRANT pg_read_all_settings TO eye; GRANT SET ON PARAMETER pgaudit.log_client TO eye; \
             GRANT SELECT (rolname, rolpassword) ON pg_authid TO eye"
        ),
    )?;
    for line in LOG_EVERYTHING.lines() {
        let (name, value) = line.split_once(" = ").context("no setting")?;
        scene.postgres.sql("shop", &format!("ALTER SYSTEM SET {name} = '{value}'"))?;
    }
    scene.postgres.sql("shop", "SELECT pg_reload_conf()")?;
    let options: PgConnectOptions = scene.url()?.parse()?;
    let mut watcher = connect(&options.ssl_mode(PgSslMode::Require)).await?;
    let place = scene.postgres.address();
    let url = format!("postgres://root:{CANARY}@{place}/shop?sslpassword={CANARY}&sslmode=disable");
    let connection = scene.secret("c", &[("url", &url), ("password", CANARY)])?;
    let verifier = scene.secret("v", &[("username", "eye"), ("password", OTHER)])?;
    let mut seen = String::new();
    for (connection, args, is_well) in [
        (&connection, &["--alter-system"][..], true),
        (&connection, &["--verify-only"], true),
        (&connection, &["--port", "1"], false),
        (&scene.secret("w", &[("url", &format!("postgres://root:{OTHER}@{place}/shop"))])?, &[], false),
        (&scene.secret("n", &[("url", &format!("postgres://root:{CANARY}@{place}:x/shop"))])?, &[], false),
    ] {
        let ca = scene.ca();
        let args = [args, &["--ca", &ca, "--verifier", &verifier]].concat();
        let mut command = scene.command(connection, &args)?;
        let (ended_well, others, output) =
            watched(command.env("RUST_LOG", "trace"), &mut watcher, &mut seen).await?;
        ensure!(ended_well == is_well && (others > 0 || !is_well), "{args:?}: {output}");
        seen += &output;
        seen += &std::fs::read_to_string(scene.result())?;
    }
    let logged = log(&scene)?;
    let statements = logged.split("pg_reload_conf").last().context("no log")?;
    ensure!(statements.contains("pgp_sym_encrypt") && statements.contains("parameters: $1"), "{statements}");
    ensure!(seen.contains("--connection") && seen.contains("extension pgcrypto 1.3 created"), "{seen}");
    for (place, text) in [("what was seen", &*seen), ("the log", statements)] {
        for secret in [CANARY, OTHER, EYE] {
            ensure!(!text.contains(secret), "a password is in {place}");
        }
    }
    Ok(())
}
