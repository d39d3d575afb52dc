//! What the admin of a Vault runs for a namespace: the policy that says what its services may read and have signed, and the
//! role by which they log in. Nothing is sent to a Vault.

use std::fmt::Write;

use anyhow::{Result, bail};
use render::{Settings, VaultConnection};
use serde_json::json;

/// A service of any name, where each has a role or an account of its own.
const SERVICE: &str = "SERVICE";

/// The commands for each connection of the settings.
pub fn commands(namespace: &str, settings: &Settings) -> Result<String> {
    if settings.vault_connections.is_empty() {
        bail!(
            "--vault: the settings have no vaultConnections; give the file with the chart's value `settings`"
        );
    }
    let mut answer = String::new();
    for (name, connection) in &settings.vault_connections {
        connection_commands(&mut answer, namespace, name, connection)?;
    }
    Ok(answer)
}

fn connection_commands(
    answer: &mut String,
    namespace: &str,
    name: &str,
    connection: &VaultConnection,
) -> Result<()> {
    let filled = |pattern: &str| pattern.replace("{namespace}", namespace).replace("{name}", SERVICE);
    let auth = &connection.kubernetes_auth;
    let (role, account) = (filled(&auth.role), filled(&auth.service_account));
    let each = if role.contains(SERVICE) { format!(", for each service {SERVICE}") } else { String::new() };
    writeln!(
        answer,
        "# Connection {name}: in the Vault at {}, for namespace {namespace}{each}",
        connection.address
    )?;
    if let Some(namespace) = &connection.namespace {
        writeln!(answer, "export VAULT_NAMESPACE={namespace}")?;
    }
    writeln!(answer, "vault policy write {role} - <<'POLICY'")?;
    for mount in &connection.kv.mounts {
        let (own, mount) = (mount.contains("{namespace}"), filled(mount));
        // A mount that is the namespace's needs no folder for it.
        let below = if own { "*".to_owned() } else { format!("{namespace}/*") };
        writeln!(answer, "path \"{mount}/data/{below}\" {{ capabilities = [\"read\"] }}   # KV version 2")?;
        writeln!(answer, "path \"{mount}/{below}\" {{ capabilities = [\"read\"] }}   # KV version 1")?;
    }
    for signer in &connection.pki.roles {
        writeln!(
            answer,
            "path \"{}/sign/{signer}\" {{ capabilities = [\"update\"] }}",
            connection.pki.mount
        )?;
    }
    if !connection.pki.roles.is_empty() {
        writeln!(
            answer,
            "path \"{}/revoke-with-key\" {{ capabilities = [\"update\"] }}",
            connection.pki.mount
        )?;
    }
    for own in ["renew-self", "revoke-self"] {
        writeln!(answer, "path \"auth/token/{own}\" {{ capabilities = [\"update\"] }}")?;
    }
    let accounts = if account.contains(SERVICE) && !role.contains(SERVICE) { "*" } else { &account };
    writeln!(answer, "POLICY")?;
    // As JSON, which no shell has to take apart.
    writeln!(answer, "vault write auth/{}/role/{role} - <<'ROLE'", auth.mount)?;
    let bound = json!({
        "bound_service_account_names": accounts, "bound_service_account_namespaces": namespace,
        "audience": connection.audience, "alias_name_source": "serviceaccount_uid",
        "token_policies": role, "token_no_default_policy": true, "token_ttl": "10m", "token_max_ttl": "1h",
    });
    writeln!(answer, "{}\nROLE", serde_json::to_string_pretty(&bound)?)?;
    if !account.contains(SERVICE) {
        writeln!(
            answer,
            "kubectl create serviceaccount {account} -n {namespace}   # without a right of its own"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(connection: &str) -> Settings {
        let yaml = format!(
            "vaultConnections: {{platform: {{address: 'https://vault:8200', caBundle: x, {connection}}}}}"
        );
        serde_saphyr::from_str(&yaml).expect("settings")
    }

    #[test]
    fn a_namespace_with_one_account_gets_one_role_and_its_own_folder() {
        let auth = "kubernetesAuth: {role: 'hardened-{namespace}', serviceAccount: hardened-vault}";
        let text =
            commands("shop", &settings(&format!("{auth}, kv: {{mounts: [secret, 'teams/{{namespace}}']}}")))
                .expect("text");
        for part in [
            "# Connection platform: in the Vault at https://vault:8200, for namespace shop\n",
            "path \"secret/data/shop/*\"",
            "path \"teams/shop/data/*\"",
            "\"bound_service_account_names\": \"hardened-vault\"",
            "\"bound_service_account_namespaces\": \"shop\"",
            "kubectl create serviceaccount hardened-vault -n shop",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("sign") && !text.contains(SERVICE), "{text}");
    }

    #[test]
    fn accounts_of_services_share_the_role_of_the_namespace_or_have_their_own() {
        let pki = "pki: {roles: [web]}";
        let shared =
            commands("shop", &settings(&format!("kubernetesAuth: {{role: 'ns-{{namespace}}'}}, {pki}")))
                .expect("text");
        assert!(shared.contains("role/ns-shop - <<") && shared.contains("names\": \"*\""), "{shared}");
        assert!(shared.contains("pki/sign/web") && shared.contains("pki/revoke-with-key"), "{shared}");
        let own = commands(
            "shop",
            &settings(&format!("kubernetesAuth: {{role: '{{namespace}}-{{name}}'}}, {pki}")),
        )
        .expect("text");
        assert!(own.contains("role/shop-SERVICE - <<") && own.contains("names\": \"SERVICE\""), "{own}");
        assert!(own.contains("for each service SERVICE"), "{own}");
    }
}
