//! The Vault that tests start for themselves: both versions of kv, a login by approle with a policy that holds, the
//! database engine with a real Postgres, certificates, and the audit log.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::certificate::Pair;
use testbed::{Postgres, Vault};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, RevokedCertificate};

/// What certificates are issued for.
const NAME: &str = "studio.example.com";

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

#[tokio::test]
async fn one_of_two_nodes_stands_by_redirects_and_takes_over_with_all_that_was_written() -> Result<()> {
    let vault = Vault::start_with_standby()?;
    vault.enable_kv("new", 2)?;
    vault.write_kv("new", 2, "studio", &json!({ "key": "value" }))?;
    let path = "new/data/studio";
    for (asked, status) in [("sys/health", "429"), (path, "307"), ("auth/token/lookup-self", "307")] {
        let answer = format!("{:#}", vault.call_standby("GET", asked, &Value::Null).unwrap_err());
        assert!(answer.contains(&format!(": {status} ")), "{answer}");
    }
    vault.lead(false).await?;
    assert_eq!(vault.call_standby("GET", path, &Value::Null)?["data"]["data"]["key"], "value");
    assert!(format!("{:#}", vault.call("GET", path, &Value::Null).unwrap_err()).contains(": 307 "));
    vault.lead(true).await?;
    assert_eq!(vault.call("GET", path, &Value::Null)?["data"]["data"]["key"], "value");
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

/// A mount of the engine pki with a root of its own, which is returned, and a role for one name.
fn authority(vault: &Vault) -> Result<String> {
    vault.call("POST", "sys/mounts/pki", &json!({ "type": "pki", "config": { "max_lease_ttl": "24h" } }))?;
    let root = json!({ "common_name": "Studio", "key_type": "ec", "key_bits": 256, "ttl": "24h" });
    let root = vault.call("POST", "pki/root/generate/internal", &root)?;
    let names = json!({
        "allowed_domains": NAME, "allow_bare_domains": true, "key_type": "ec", "key_bits": 256, "max_ttl": "1h",
    });
    vault.call("POST", "pki/roles/studio", &names)?;
    text(&root, "certificate")
}

fn issue(vault: &Vault, name: &str) -> Result<Pair> {
    let wanted = json!({ "common_name": name, "ttl": "10m", "private_key_format": "pkcs8" });
    let answer = vault.call("POST", "pki/issue/studio", &wanted)?;
    let [ca, certificate, key] = ["issuing_ca", "certificate", "private_key"];
    Ok(Pair { ca: text(&answer, ca)?, certificate: text(&answer, certificate)?, key: text(&answer, key)? })
}

/// The serial numbers of the list that clients fetch.
fn revoked(vault: &Vault) -> Result<Vec<String>> {
    let list = text(&vault.call("GET", "pki/cert/crl", &Value::Null)?, "certificate")?;
    let (_, list) = parse_x509_pem(list.as_bytes())?;
    let (_, list) = CertificateRevocationList::from_der(&list.contents)?;
    Ok(list.iter_revoked_certificates().map(RevokedCertificate::raw_serial_as_string).collect())
}

fn text(answer: &Value, name: &str) -> Result<String> {
    answer["data"][name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
}

#[test]
fn its_pki_engine_issues_certificates_of_its_root_for_allowed_names_and_lists_those_it_revoked() -> Result<()>
{
    let vault = Vault::start()?;
    let root = authority(&vault)?;
    let (first, second) = (issue(&vault, NAME)?, issue(&vault, NAME)?);
    for pair in [&first, &second] {
        pair.check(&root, &[NAME.to_owned()])?;
    }
    let refused = format!("{:#}", issue(&vault, "else.example.com").unwrap_err());
    assert!(refused.contains("not allowed by this role"), "{refused}");

    assert!(revoked(&vault)?.is_empty());
    vault.call("POST", "pki/revoke", &json!({ "serial_number": first.serial()? }))?;
    assert_eq!(revoked(&vault)?, [first.serial()?]);
    assert_ne!(first.serial()?, second.serial()?);
    Ok(())
}

#[test]
fn its_audit_log_tells_who_was_refused_what_and_shows_no_secret() -> Result<()> {
    let vault = Vault::start()?;
    vault.enable_audit()?;
    vault.enable_kv("studio", 2)?;
    for path in ["own", "foreign"] {
        vault.write_kv("studio", 2, path, &json!({ "key": "canary-of-the-audit-log" }))?;
    }
    vault.policy("own", r#"path "studio/data/own" { capabilities = ["read"] }"#)?;
    let made = json!({ "policies": ["own"], "display_name": "studio", "ttl": "5m" });
    let made = vault.call("POST", "auth/token/create", &made)?;
    let token = made["auth"]["client_token"].as_str().context("no token")?;
    let read = |path: &str| vault.call_as(token, "GET", &format!("studio/data/{path}"), &Value::Null);
    read("own")?;
    assert!(format!("{:#}", read("foreign").unwrap_err()).contains("403"));

    let lines = vault.audited()?;
    let answers = |path: &str| -> Vec<_> {
        let of = |line: &&Value| line["type"] == "response" && line["request"]["operation"] == "read";
        lines.iter().filter(of).filter(|line| line["request"]["path"] == path).collect()
    };
    let (given, refused) = (answers("studio/data/own"), answers("studio/data/foreign"));
    assert_eq!((given.len(), refused.len()), (1, 1), "{lines:#?}");
    assert_eq!(given[0].get("error"), None);
    assert!(
        refused[0]["error"].as_str().is_some_and(|error| error.contains("permission denied")),
        "{refused:?}"
    );
    assert_eq!(refused[0]["auth"]["display_name"], "token-studio");
    assert_eq!(refused[0]["auth"]["accessor"], given[0]["auth"]["accessor"]);
    let log = Value::from(lines).to_string();
    for secret in ["canary-of-the-audit-log", token, vault.root_token()] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    Ok(())
}
