//! Settings of the whole server are changed only where that is allowed, what others set stays, and the server is not restarted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use postgres_hardening::Reason;

use crate::{EYE, Scene};

const LIBRARIES: &str = "SELECT setting FROM pg_file_settings WHERE name = 'shared_preload_libraries' \
                         ORDER BY seqno DESC LIMIT 1";
const OTHERS: &str = "\
shared_preload_libraries = 'pg_stat_statements,auto_explain'
log_connections = off
logging_collector = on
";
const START: &str = "SELECT pg_postmaster_start_time()";

fn altered(scene: &Scene) -> Result<String> {
    scene.postgres.sql("shop", "SELECT pg_read_file('postgresql.auto.conf')")
}

#[test]
fn without_being_allowed_to_nothing_of_the_server_is_altered() -> Result<()> {
    let scene = Scene::set(OTHERS)?;
    let before = altered(&scene)?;
    let begin = Instant::now();
    let ended = scene.run(&["--seconds", "60"])?;
    assert!(begin.elapsed() < Duration::from_secs(30), "nothing but a change of somebody helps");
    assert_eq!(ended.reason()?, Reason::PreloadMissing);
    assert!(ended.said.contains("ALTER SYSTEM SET shared_preload_libraries"), "{}", ended.said);
    assert_eq!((altered(&scene)?, ended.report.changed.len()), (before.clone(), 0));
    // Allowed by the platform, but not by Postgres.
    scene.postgres.sql("shop", "GRANT pg_read_all_settings TO eye; GRANT ALL ON DATABASE shop TO eye")?;
    let eye = scene.secret("eye", &[("username", "eye"), ("password", EYE)])?;
    let (port, ca) = (scene.port(), scene.ca());
    let place = ["--host", "127.0.0.1", "--port", &port, "--database", "shop", "--ca", &ca, "--alter-system"];
    let ended = scene.run_as(&eye, &place)?;
    assert_eq!(ended.reason()?, Reason::PreloadMissing);
    assert_eq!((altered(&scene)?, ended.report.changed.len()), (before, 0));
    Ok(())
}

#[test]
fn a_library_is_added_to_those_of_others_once_and_a_restart_is_asked_for_and_not_made() -> Result<()> {
    let mut scene = Scene::set(OTHERS)?;
    let started = scene.postgres.sql("shop", START)?;
    let bare = scene.postgres.dump("shop")?;
    let ended = scene.run(&["--alter-system"])?;
    assert_eq!(ended.reason()?, Reason::RestartPending);
    let fix = &ended.report.problem.as_ref().context("no problem")?.fix;
    assert!(fix.starts_with("restart the server"), "{fix}");
    assert_eq!(
        ended.report.changed,
        [
            "pgaudit added to shared_preload_libraries, for the server's next start",
            "log_connections = on set for the server",
            "log_disconnections = on set for the server",
        ]
    );
    assert_eq!(scene.postgres.sql("shop", LIBRARIES)?, "pg_stat_statements, auto_explain, pgaudit");
    let shown = "SELECT current_setting('log_connections') || current_setting('log_disconnections')";
    assert_eq!(scene.postgres.sql("shop", shown)?, "onon");
    assert_eq!(scene.postgres.dump("shop")?, bare);
    let file = altered(&scene)?;
    let again = scene.run(&["--alter-system"])?;
    assert_eq!((again.reason()?, again.report.changed.len()), (Reason::RestartPending, 0));
    assert_eq!((altered(&scene)?, scene.postgres.sql("shop", START)?), (file.clone(), started));
    // Whoever waits sees the restart of somebody else.
    let connection = scene.secret("superuser", &[("url", &scene.url()?)])?;
    let run = scene.start(&connection, &["--ca", &scene.ca(), "--alter-system"])?;
    scene.postgres.stop();
    scene.postgres.start_again()?;
    scene.end(run)?.proven(7)?;
    assert_eq!(altered(&scene)?, file);
    let both = r#"{"extensions": [{"name": "pg_stat_statements"}, {"name": "pgaudit"}]}"#;
    scene.run(&["--alter-system", "--plan", both])?.proven(1)?;
    Ok(())
}

#[test]
fn what_is_not_asked_for_is_not_altered_and_what_others_began_is_finished() -> Result<()> {
    let scene = Scene::set("log_connections = on\nlog_disconnections = off\n")?;
    let quiet = r#"{"extensions": [{"name": "pgcrypto"}]}"#;
    scene.run(&["--alter-system", "--plan", quiet])?.proven(1)?;
    assert!(!altered(&scene)?.contains("log_"), "the plan does not ask for connections");
    // By somebody who was killed before it took effect.
    let begun =
        "ALTER SYSTEM SET shared_preload_libraries = 'pgaudit'; ALTER SYSTEM SET log_disconnections = on";
    for statement in begun.split("; ") {
        scene.postgres.sql("shop", statement)?;
    }
    let ended = scene.run(&["--alter-system"])?;
    assert_eq!((ended.reason()?, ended.report.changed.len()), (Reason::RestartPending, 0));
    assert_eq!(scene.postgres.sql("shop", "SHOW log_disconnections")?, "on");
    Ok(())
}
