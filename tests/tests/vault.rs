//! The Vault that tests start for themselves: both versions of kv, a login by approle with a policy that holds, and the
//! database engine with a real Postgres.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{Postgres, Vault};

#[test]
fn a_vault_of_a_tests_own_keeps_values_gives_tokens_and_starts_again_empty() -> Result<()> {
    let mut vault = Vault::start()?;
    for (mount, version) in [("old", 1), ("new", 2)] {
        vault.enable_kv(mount, version)?;
        vault.write_kv(mount, version, "studio", &json!({ "key": mount }))?;
    }
    let read = |path: &str| vault.call("GET", path, &Value::Null);
    assert_eq!(read("old/studio")?["data"]["key"], "old");
    assert_eq!(read("new/data/studio")?["data"]["data"]["key"], "new");
    assert!(format!("{:#}", read("new/data/nothing").unwrap_err()).contains("404"));

    vault.policy("studio", r#"path "new/data/studio" { capabilities = ["read"] }"#)?;
    let role = vault.approle("studio", &["studio"], "1m")?;
    let login = json!({ "role_id": role.role_id, "secret_id": role.secret_id });
    let login = vault.call("POST", "auth/approle/login", &login)?;
    assert_eq!(login["auth"]["token_policies"], json!(["default", "studio"]));
    vault.call("POST", "sys/auth/kubernetes", &json!({ "type": "kubernetes" }))?;

    vault.stop();
    vault.start_again()?;
    assert!(vault.call("GET", "old/studio", &Value::Null).is_err(), "it kept nothing");
    assert!(!vault.log().contains(vault.root_token()));
    Ok(())
}

#[test]
fn its_database_engine_makes_users_of_a_postgres() -> Result<()> {
    let (vault, postgres) = (Vault::start()?, Postgres::start()?);
    vault.call("POST", "sys/mounts/database", &json!({ "type": "database" }))?;
    vault.call(
        "POST",
        "database/config/studio",
        &json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "studio",
            "connection_url": format!("{}?sslmode=disable", postgres.url()),
        }),
    )?;
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({ "db_name": "studio", "default_ttl": "1m", "creation_statements": [create] });
    vault.call("POST", "database/roles/studio", &role)?;
    let user = vault.call("GET", "database/creds/studio", &Value::Null)?;
    let name = user["data"]["username"].as_str().context("no user")?;
    let found =
        postgres.sql("postgres", &format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'"))?;
    assert_eq!(found, "1");
    Ok(())
}
