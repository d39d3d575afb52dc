//! Is auditing that is not effective told from auditing that is?

use anyhow::Result;
use postgres_hardening::{Control, Extension, Outcome, Plan, Setting};
use serde_json::{Value, json};

use crate::{COLLECTED, READY, Scene, check, full, only, open, outcome, plan};

fn audited(audit: &Value) -> Result<Plan> {
    plan(json!({"extensions": [{"name": "pgaudit"}], "audit": audit}))
}

#[tokio::test]
async fn a_marked_statement_of_each_class_is_found_in_the_audit() -> Result<()> {
    let scene = Scene::set(READY)?;
    for class in ["all", "read", "write", "function", "ddl", "misc"] {
        let one = audited(&json!({"log": [class]}))?;
        scene.harden("postgres", &one).await?;
        let seen = scene.verify("postgres", &one).await?;
        assert_eq!(outcome(&seen, Control::AuditCanary)?, Outcome::Passed, "{class}: {seen:#?}");
        // What is audited beside it does not count.
        let other = if class == "misc" { "read" } else { "misc" };
        scene.postgres.sql("shop", &format!("ALTER DATABASE shop SET pgaudit.log = '{other}'"))?;
        let seen = scene.verify("postgres", &one).await?;
        assert_eq!(outcome(&seen, Control::AuditCanary)?, Outcome::Failed, "{class}: {seen:#?}");
    }
    for class in ["role", "misc_set"] {
        let one = audited(&json!({"log": [class]}))?;
        scene.harden("postgres", &one).await?;
        let seen = scene.verify("postgres", &one).await?;
        assert_eq!(
            outcome(&seen, Control::AuditCanary)?,
            Outcome::Unknown,
            "{class}: no statement proves it"
        );
    }
    Ok(())
}

#[tokio::test]
async fn pgaudit_that_is_there_and_writes_nothing_fails_by_deed() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql("shop", "ALTER DATABASE shop SET pgaudit.log = 'none'")?;
    let seen = scene.verify("postgres", &full()).await?;
    let failed = [Control::Tls, Control::AuditSetting(Setting::Log), Control::AuditCanary];
    assert_eq!(open(&seen), failed.map(|control| (control, Outcome::Failed)), "{seen:#?}");
    assert_eq!(check(&seen, Control::AuditCanary)?.evidence, "a marked statement was not audited");
    assert_eq!(scene.harden("postgres", &full()).await?.changed, ["pgaudit.log = all set for the database"]);
    assert_eq!(outcome(&scene.verify("postgres", &full()).await?, Control::AuditCanary)?, Outcome::Passed);
    Ok(())
}

#[tokio::test]
async fn an_audit_that_is_thrown_away_fails_though_the_session_is_told() -> Result<()> {
    let scene = Scene::set(&format!("{READY}{COLLECTED}log_min_messages = panic\n"))?;
    scene.harden("postgres", &full()).await?;
    let seen = scene.verify("postgres", &full()).await?;
    let canary = check(&seen, Control::AuditCanary)?;
    assert_eq!(canary.outcome, Outcome::Failed, "{canary:?}");
    assert!(canary.evidence.ends_with("but its log does not have it"), "{canary:?}");
    Ok(())
}

#[tokio::test]
async fn a_role_with_a_setting_of_its_own_is_found_by_everybody() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql("shop", "ALTER ROLE eye IN DATABASE shop SET pgaudit.log = 'ddl'")?;
    for role in ["postgres", "owner"] {
        let seen = scene.verify(role, &full()).await?;
        let found = check(&seen, Control::AuditOverrides)?;
        assert_eq!((found.outcome, &*found.evidence), (Outcome::Failed, "role eye has pgaudit.log = 'ddl'"));
        assert_eq!(
            outcome(&seen, Control::AuditSetting(Setting::Log))?,
            Outcome::Passed,
            "of {role}'s own session"
        );
    }
    let seen = scene.verify("eye", &full()).await?;
    assert_eq!(outcome(&seen, Control::AuditSetting(Setting::Log))?, Outcome::Failed);
    scene.postgres.sql("shop", "ALTER ROLE eye IN DATABASE shop SET pgaudit.log = 'all'")?;
    let seen = scene.verify("owner", &full()).await?;
    assert_eq!(outcome(&seen, Control::AuditOverrides)?, Outcome::Passed, "it takes nothing away");
    Ok(())
}

#[tokio::test]
async fn the_sessions_of_one_role_are_audited_and_only_they_can_prove_it() -> Result<()> {
    let scene = Scene::set(READY)?;
    let scoped = audited(&json!({"log": ["all"], "role": "auditor", "scope": {"role": "eye"}}))?;
    let hardened = scene.harden("postgres", &scoped).await?;
    let lines = &hardened.changed[1..3];
    assert_eq!(lines, ["role auditor created", "pgaudit.log = all set for role eye"]);
    assert_eq!(scene.harden("postgres", &scoped).await?.changed, [""; 0]);
    scene.postgres.sql("shop", "GRANT SET ON PARAMETER pgaudit.log_client TO eye, owner")?;
    let seen = scene.verify("eye", &scoped).await?;
    assert_eq!(outcome(&seen, Control::AuditCanary)?, Outcome::Passed, "{seen:#?}");
    let seen = scene.verify("owner", &scoped).await?;
    assert_eq!(outcome(&seen, Control::AuditCanary)?, Outcome::Unknown, "{seen:#?}");
    assert_eq!(
        outcome(&seen, Control::AuditSetting(Setting::Log))?,
        Outcome::Passed,
        "it is in the catalogue"
    );
    scene.down(&scoped, false).await?;
    let seen = scene.verify("eye", &scoped).await?;
    assert_eq!(outcome(&seen, Control::AuditCanary)?, Outcome::Failed, "{seen:#?}");
    assert_eq!(outcome(&seen, Control::AuditSetting(Setting::Log))?, Outcome::Failed);
    Ok(())
}

#[tokio::test]
async fn an_extension_that_somebody_dropped_is_missed() -> Result<()> {
    let scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql("shop", "DROP EXTENSION pgaudit; DROP EXTENSION pgcrypto")?;
    let seen = scene.verify("eye", &full()).await?;
    for name in [Extension::Pgaudit, Extension::Pgcrypto] {
        assert_eq!(outcome(&seen, Control::Extension(name))?, Outcome::Failed);
    }
    assert!(check(&seen, Control::RoundTrip).is_err(), "what is not there is not called");
    assert_eq!(scene.harden("postgres", &full()).await?.changed.len(), 2);
    Ok(())
}

#[tokio::test]
async fn settings_of_a_library_that_is_no_longer_loaded_are_none() -> Result<()> {
    let mut scene = Scene::set(READY)?;
    scene.harden("postgres", &full()).await?;
    scene.postgres.sql("shop", "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain'")?;
    scene.postgres.stop();
    scene.postgres.start_again()?;
    // Postgres itself says 'all' here: a setting with a dot in its name may be made up.
    assert_eq!(scene.postgres.sql("shop", "SELECT current_setting('pgaudit.log')")?, "all");
    let seen = scene.verify("postgres", &full()).await?;
    for control in [Control::PreloadLibraries, Control::AuditSetting(Setting::Log), Control::AuditCanary] {
        assert_eq!(outcome(&seen, control)?, Outcome::Failed, "{seen:#?}");
    }
    // pgaudit's own event triggers fail now, and with them whatever changes an object.
    let problem = scene.refused("postgres", &only(&json!({"name": "citext"}))?).await?;
    assert_eq!(problem.detail, "shared_preload_libraries does not have pgaudit");
    assert_eq!(scene.down(&full(), false).await?.changed.len(), 7);
    assert_eq!(scene.harden("postgres", &only(&json!({"name": "citext"}))?).await?.changed.len(), 1);
    Ok(())
}
