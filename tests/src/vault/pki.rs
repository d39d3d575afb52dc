//! The engine for certificates as a platform sets it up: an issuer below a root, and roles that give a service its own
//! names only.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Vault;

impl Vault {
    /// Mounts `pki` with an issuer of a root, which is returned (PEM).
    pub fn enable_pki(&self) -> Result<String> {
        for mount in ["root", "pki"] {
            let config = json!({ "max_lease_ttl": "8760h" });
            self.call("POST", &format!("sys/mounts/{mount}"), &json!({ "type": "pki", "config": config }))?;
        }
        // No certificate may begin before its issuer does.
        let key = |name: &str, before: &str| {
            json!({
                "common_name": name, "key_type": "ec", "key_bits": 256, "ttl": "8000h",
                "not_before_duration": before,
            })
        };
        let root = self.call("POST", "root/root/generate/internal", &key("Root of Vault", "2h"))?;
        let root = text(&root, "certificate")?;
        let mut issuer = key("Issuer of Vault", "1h");
        let request = self.call("POST", "pki/intermediate/generate/internal", &issuer)?;
        issuer["csr"] = json!(text(&request, "csr")?);
        issuer["ttl"] = json!("7000h");
        let issuer = text(&self.call("POST", "root/root/sign-intermediate", &issuer)?, "certificate")?;
        self.call(
            "POST",
            "pki/intermediate/set-signed",
            &json!({ "certificate": format!("{issuer}\n{root}") }),
        )?;
        Ok(root)
    }

    /// Makes a role of `pki` for the names that a service has in its cluster and `hosts`. Which service, the account tells
    /// that logged in by `kubernetes`: docs/operations.md shows this role to platforms.
    pub fn pki_role(&self, role: &str, hosts: &[&str], more: &Value) -> Result<()> {
        let methods = self.call("GET", "sys/auth", &Value::Null)?;
        let accessor = methods["data"]["kubernetes/"]["accessor"].as_str().context("no accessor")?;
        let of = |field: &str| {
            format!("{{{{identity.entity.aliases.{accessor}.metadata.service_account_{field}}}}}")
        };
        let (name, namespace) = (of("name"), of("namespace"));
        let own = ["", ".NAMESPACE", ".NAMESPACE.svc", ".NAMESPACE.svc.cluster.local"];
        let own = own.map(|suffix| format!("{name}{}", suffix.replace("NAMESPACE", &namespace)));
        let domains: Vec<_> = own.into_iter().chain(hosts.iter().map(|host| (*host).to_owned())).collect();
        let mut settings = json!({
            "allowed_domains": domains, "allowed_domains_template": true, "allow_bare_domains": true,
            "allow_localhost": false, "client_flag": false, "key_type": "any", "max_ttl": "6000h",
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            settings[field] = value.clone();
        }
        self.call("POST", &format!("pki/roles/{role}"), &settings).map(drop)
    }
}

fn text(answer: &Value, name: &str) -> Result<String> {
    answer["data"][name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
}
