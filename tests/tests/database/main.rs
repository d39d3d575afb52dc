//! Is a database hardened and proven by Jobs of the real image on a real node, and is it noticed when somebody takes from it?
//! With a real Postgres of pgaudit and TLS. Needs root, and no other node on this host.

mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crds::AuditProof;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::json;

use scene::{AUDITOR, CANARIES, INTERVAL, Scene, has_canary};

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_database_becomes_proven_and_whatever_is_taken_from_it_is_noticed() -> Result<()> {
    let Some(mut scene) = Scene::set().await? else { return Ok(()) };
    let bare = scene.postgres.sql("shop", "SELECT count(*) FROM pg_extension")?;
    ensure!(bare == "1", "{bare} extensions before");
    let begin = Instant::now();
    scene.ask().await?;
    scene.until("True", "Ready", "in the server's log").await?;
    let proven = begin.elapsed();
    evidence(&scene).await?;

    let dropped = scene.noticed("DROP EXTENSION pgcrypto", "extension pgcrypto").await?;
    let silenced = scene.noticed("ALTER DATABASE shop SET pgaudit.log = 'none'", "pgaudit.log").await?;
    restarted(&mut scene).await?;
    changed_under_way(&scene).await?;
    let refused = refused(&mut scene).await?;
    scene.few_jobs().await?;
    nothing_shown(&scene).await?;
    println!(
        "SOAK proven {:.1} s after it was asked for; noticed after {:.1} s (extension) and {:.1} s (pgaudit) at an interval of \
         {INTERVAL:?}; {refused}",
        proven.as_secs_f32(),
        dropped.as_secs_f32(),
        silenced.as_secs_f32(),
    );
    scene.forget().await
}

async fn evidence(scene: &Scene) -> Result<()> {
    let service = scene.stage.service.get().await?;
    let seen = service.status.and_then(|status| status.database).context("no evidence")?;
    let extensions: Vec<_> = seen.extensions.iter().map(|e| (&*e.name, &*e.version, &*e.schema)).collect();
    assert_eq!(extensions, [("pgcrypto", "1.3", "public"), ("pgaudit", "1.7", "public")]);
    let settings: Vec<_> = seen.settings.iter().map(|s| (&*s.name, &*s.value)).collect();
    let wanted = [
        ("pgaudit.log", "all"),
        ("pgaudit.log_rows", "on"),
        ("pgaudit.log_parameter", "off"),
        ("pgaudit.role", "pgaudit_admin"),
    ];
    assert_eq!(settings, wanted);
    assert_eq!(seen.audit, Some(AuditProof::ServerLog));
    ensure!(seen.verified_at.is_some() && seen.failures == Some(0), "{:?}", seen.verified_at);
    ensure!(seen.server_version.as_deref().is_some_and(|version| version.starts_with("15.")));
    let tls = seen.tls.context("no TLS")?;
    ensure!(tls.starts_with("TLSv1.3, TLS_") && tls.ends_with(", verified"), "{tls}");
    // The line that was proven is one of the verifying login.
    let log = scene.server_log()?;
    ensure!(log.lines().any(|line| line.contains("AUDIT: SESSION")), "no audit in the log");
    ensure!(log.contains(&format!("user={AUDITOR}")) || log.contains(AUDITOR), "the auditor never came");
    Ok(())
}

/// Another operator goes on from status: it hardens nothing anew.
async fn restarted(scene: &mut Scene) -> Result<()> {
    let before = scene.database().await?;
    scene.stage.operator.stop().await?;
    scene.stage.operator.restart().await?;
    scene.until_verified_after(before.verified_at.clone()).await?;
    let after = scene.database().await?;
    assert_eq!((after.input, after.hardened), (before.input, before.hardened));
    Ok(())
}

/// The spec changes while a Job works: the last word counts, and one Job for it is enough.
async fn changed_under_way(scene: &Scene) -> Result<()> {
    let extensions =
        |names: &[&str]| json!(names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
    for names in [&["pgcrypto", "pgaudit", "citext"][..], &["pgcrypto", "pgaudit", "uuid-ossp"]] {
        scene.patch(&json!({"extensions": extensions(names)})).await?;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    scene.until_extension("uuid-ossp").await?;
    scene.until("True", "Ready", "in the server's log").await
}

/// What keeps a Job out is told in words, and is over when it is mended.
async fn refused(scene: &mut Scene) -> Result<String> {
    let begin = Instant::now();
    scene.login(CANARIES[2]).await?;
    scene.until("False", "AuthFailed", "SQLSTATE 28P01").await?;
    let password = begin.elapsed();
    scene.login(CANARIES[0]).await?;
    scene.until("True", "Ready", "in the server's log").await?;

    scene.trust_another().await?;
    scene.until("False", "TlsFailed", "certificate").await?;
    scene.trust_right().await?;
    scene.until("True", "Ready", "in the server's log").await?;

    scene.postgres.stop();
    let begin = Instant::now();
    scene.until("False", "Unreachable", "").await?;
    let down = begin.elapsed();
    scene.postgres.start_again()?;
    scene.until("True", "Ready", "in the server's log").await?;
    Ok(format!(
        "a wrong password told after {:.1} s, a stopped server after {:.1} s",
        password.as_secs_f32(),
        down.as_secs_f32()
    ))
}

/// No password and no key in any object but the Secrets, nor in what the operator and Postgres have logged.
async fn nothing_shown(scene: &Scene) -> Result<()> {
    scene.stage.shows_none_of::<Job>(&CANARIES, 1).await?;
    scene.stage.shows_none_of::<Pod>(&CANARIES, 1).await?;
    scene.stage.shows_none_of::<Event>(&CANARIES, 1).await?;
    let service = json!(scene.stage.service.get().await?);
    ensure!(!has_canary(&service.to_string()), "{service:#}");
    ensure!(!has_canary(&scene.stage.operator.log()), "the operator's log");
    let log = scene.server_log()?;
    // Postgres logs the statements by which the test itself sets passwords.
    let other: Vec<_> = log.lines().filter(|line| !line.contains("PASSWORD")).collect();
    ensure!(!has_canary(&other.join("\n")) && other.len() > 20, "the database's log");
    Ok(())
}
