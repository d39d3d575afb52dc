//! From a bare database to one where everything is proven, as superuser and as a role that may do nothing but look.

use anyhow::{Context as _, Result};
use postgres_hardening::{Control, Extension, Outcome};
use serde_json::json;
use testbed::postgres::Options;

use crate::{COLLECTED, READY, Scene, check, full, only, open, plan};

#[tokio::test]
async fn a_bare_database_is_hardened_and_everything_is_proven() -> Result<()> {
    let settings = format!("{READY}{COLLECTED}");
    let scene = Scene::set_with(&Options { tls: Some(&[]), settings: &settings, ..Options::default() })?;
    let bare = scene.verify("postgres", &full()).await?;
    assert_eq!(
        open(&bare)[..2],
        [Extension::Pgcrypto, Extension::Pgaudit].map(|name| (Control::Extension(name), Outcome::Failed))
    );
    let hardened = scene.harden("postgres", &full()).await?;
    assert_eq!(
        hardened.changed,
        [
            "extension pgcrypto 1.3 created in schema public",
            "extension pgaudit 1.7 created in schema public",
            "role pgaudit_admin created",
            "pgaudit.log = all set for the database",
            "pgaudit.log_rows = on set for the database",
            "pgaudit.log_parameter = off set for the database",
            "pgaudit.role = pgaudit_admin set for the database",
        ]
    );
    assert_eq!(hardened.server_version / 10_000, 15);
    let proven = scene.verify("postgres", &full()).await?;
    assert_eq!(open(&proven), [], "{proven:#?}");
    assert_eq!(proven.checks.len(), 18);
    let evidence = &check(&proven, Control::AuditCanary)?.evidence;
    assert!(evidence.starts_with("ServerLog: "), "{evidence}");
    assert!(check(&proven, Control::Tls)?.evidence.starts_with("TLSv1.3, TLS_"), "{proven:#?}");
    Ok(())
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_two_at_once_do_it_once() -> Result<()> {
    let scene = Scene::set(READY)?;
    let full = full();
    let (one, other) = tokio::join!(scene.harden("postgres", &full), scene.harden("postgres", &full));
    let mut lines = [one?.changed.len(), other?.changed.len()];
    lines.sort_unstable();
    assert_eq!(lines, [0, 7]);
    let before = (scene.postgres.dump("shop")?, scene.state()?);
    for role in ["postgres", "owner"] {
        assert_eq!(scene.harden(role, &full).await?.changed, [""; 0], "nobody needs a right for nothing");
    }
    assert_eq!((scene.postgres.dump("shop")?, scene.state()?), before);
    Ok(())
}

#[tokio::test]
async fn what_a_role_without_rights_may_not_see_is_unknown_until_the_very_grant_that_is_named() -> Result<()>
{
    let scene = Scene::set_with(&Options { tls: Some(&[]), settings: READY, ..Options::default() })?;
    scene.harden("postgres", &full()).await?;
    let unknown = |control| (control, Outcome::Unknown);
    let seen = scene.verify("eye", &full()).await?;
    let hidden = [Control::PreloadLibraries, Control::Md5Passwords, Control::AuditCanary];
    assert_eq!(open(&seen), hidden.map(unknown), "{seen:#?}");
    for (control, rest) in [
        (Control::PreloadLibraries, &hidden[1..]),
        (Control::AuditCanary, &hidden[1..2]),
        (Control::Md5Passwords, &[]),
    ] {
        let seen = scene.verify("eye", &full()).await?;
        let fix = check(&seen, control)?.fix.clone().context("no fix")?;
        let (grant, to) =
            fix[fix.find("GRANT").context("no GRANT")?..].split_once(" TO ").context("no TO")?;
        assert!(to.starts_with("\"eye\""), "{fix}");
        scene.postgres.sql("shop", &format!("{grant} TO eye"))?;
        let seen = scene.verify("eye", &full()).await?;
        assert_eq!(open(&seen), rest.iter().copied().map(unknown).collect::<Vec<_>>(), "{seen:#?}");
    }
    let seen = scene.verify("eye", &full()).await?;
    let evidence = &check(&seen, Control::AuditCanary)?.evidence;
    assert!(evidence.starts_with("ClientOnly: "), "the log goes where nobody can read it: {evidence}");
    Ok(())
}

#[tokio::test]
async fn what_the_whole_server_lacks_fails_with_a_fix_and_is_not_changed() -> Result<()> {
    let settings = "shared_preload_libraries = 'pgaudit'\nlog_connections = off\npassword_encryption = md5\n";
    let scene = Scene::set(settings)?;
    assert_eq!(scene.harden("postgres", &full()).await?.changed.len(), 7);
    let seen = scene.verify("postgres", &full()).await?;
    let failed = [
        Control::LogConnections,
        Control::LogDisconnections,
        Control::PasswordEncryption,
        Control::Md5Passwords,
        Control::Tls,
    ];
    assert_eq!(open(&seen), failed.map(|control| (control, Outcome::Failed)), "{seen:#?}");
    let fix = check(&seen, Control::LogConnections)?.fix.clone().context("no fix")?;
    for word in ["ALTER SYSTEM SET log_connections = 'on'", "CloudNativePG", "parameter group", "Cloud SQL"] {
        assert!(fix.contains(word), "{fix}");
    }
    assert_eq!(check(&seen, Control::Md5Passwords)?.evidence, "roles with an MD5 password: eye, owner");
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_named_is_installed_and_updated_and_never_taken_back() -> Result<()> {
    let scene = Scene::set("")?;
    let citext = |version: &str| only(&json!({"name": "citext", "version": version}));
    let lines = scene.harden("owner", &citext("1.4")?).await?.changed;
    assert_eq!(lines, ["extension citext 1.4 created in schema public"]);
    let control = Control::Extension(Extension::Citext);
    let seen = scene.verify("owner", &citext("1.6")?).await?;
    assert_eq!(open(&seen)[0], (control, Outcome::Failed));
    let lines = scene.harden("owner", &citext("1.6")?).await?.changed;
    assert_eq!(lines, ["extension citext updated from 1.4 to 1.6"]);
    assert_eq!(check(&scene.verify("owner", &citext("1.6")?).await?, control)?.outcome, Outcome::Passed);
    let problem = scene.refused("owner", &citext("1.5")?).await?;
    let detail = "extension citext has no way from version 1.6 to 1.5; available: 1.4, 1.5, 1.6";
    assert_eq!((problem.reason.as_str(), &*problem.detail), ("NotAvailable", detail));
    Ok(())
}

#[tokio::test]
async fn every_extension_that_may_be_asked_for_is_there_in_the_schema_that_is_named() -> Result<()> {
    let scene = Scene::set("shared_preload_libraries = 'pgaudit, pg_stat_statements'")?;
    scene.postgres.sql("shop", "CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC")?;
    let names = ["pgcrypto", "pgaudit", "citext", "pg_stat_statements", "uuid-ossp"];
    let all = plan(json!({ "extensions": names.map(|name| json!({"name": name, "schema": "ext"})) }))?;
    assert_eq!(scene.harden("postgres", &all).await?.changed.len(), 5);
    let seen = scene.verify("postgres", &all).await?;
    assert_eq!(open(&seen), [(Control::Tls, Outcome::Failed)], "{seen:#?}");
    Ok(())
}
