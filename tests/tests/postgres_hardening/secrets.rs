//! No password and no key is in what the server logs, in what other sessions see, or in what the engine says.

use anyhow::{Context as _, Result};
use postgres_hardening::{connect, harden};
use serde_json::json;
use testbed::postgres::LOG_EVERYTHING;

use crate::{PASSWORD, READY, Scene, full, plan};

/// The only text of 64 hexadecimal digits that may be seen: the digest that everybody knows.
const KNOWN: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn no_password_and_no_key_is_seen_anywhere() -> Result<()> {
    let scene = Scene::set(&format!("{READY}{LOG_EVERYTHING}"))?;
    // Once the roles are made, which the tests do by statements with the password.
    let made = scene.postgres.log().len();
    let mut session = connect(&scene.as_role("postgres")?).await?;
    let mut said = vec![serde_json::to_string(&harden(&mut session, &full()).await?)?];
    // Others see the last statement of each session that is open. Those that were run stand in the log.
    let others =
        scene.postgres.sql("shop", "SELECT query FROM pg_stat_activity WHERE application_name <> 'psql'")?;
    assert!(others.contains("COMMIT"), "{others}");
    said.push(others);
    for role in ["postgres", "owner", "eye"] {
        said.push(serde_json::to_string(&scene.verify(role, &full()).await?)?);
    }
    let wrong = scene.as_role("eye")?.password("canary-wrong-51");
    let problem = connect(&wrong).await.err().context("it was let in")?;
    said.push(format!("{problem} {problem:?}"));
    said.push(serde_json::to_string(
        &scene.refused("eye", &plan(json!({"extensions": [{"name": "citext"}]}))?).await?,
    )?);
    said.push(serde_json::to_string(&scene.down(&full(), false).await?)?);
    let said = said.join("\n");
    let log = scene.postgres.log().split_off(made);
    assert!(
        log.contains("pgp_sym_encrypt") && log.contains("parameters: $1"),
        "the log has statements and parameters"
    );
    let url = scene.postgres.url();
    let superuser = url.split([':', '@']).nth(2).context("no password")?;
    for (place, text) in [("log", &log), ("reports", &said)] {
        for secret in [PASSWORD, "canary-wrong-51", superuser] {
            assert!(!text.contains(secret), "a password is in the {place}");
        }
        let hex =
            text.split(|c: char| !c.is_ascii_hexdigit()).find(|part| part.len() >= 64 && *part != KNOWN);
        assert_eq!(hex, None, "a key is in the {place}");
    }
    Ok(())
}
