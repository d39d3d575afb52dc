//! Secrets from Azure Key Vault, played by lowkey-vault: which value counts, what an outage leaves, and that nothing of it is shown.

mod elsewhere;

use std::{env, path::Path, sync::Arc};

use rustix::process::Signal;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testbed::{Lowkey, lowkey::JAR};

use crate::{
    process::{Service, policy, wait_until},
    provider::Provider,
    secrets::{self, check},
    tokens::Key,
    vault::{health, secret_of, signs_with, wait_for_backend},
};

/// What each login proves who it is with.
const PROOF: &str = "proof-canary-of-the-login";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
/// On 2033-05-18.
const END: i64 = 2_000_000_000;

/// The vault, where a jar of it is named.
fn vault() -> Option<Lowkey> {
    env::var_os(JAR).map(|jar| Lowkey::start(Path::new(&jar)).unwrap())
}

/// How the service asks the vault, and what it falls back to.
struct Login {
    settings: Vec<(&'static str, String)>,
    files: [NamedTempFile; 2],
    spare: Key,
    token: String,
    /// The one that gives tokens for the proof.
    provider: Provider,
}

impl Login {
    /// As App Service has it: a plain port of the machine gives the token to who has the header.
    fn by_managed_identity(vault: &Lowkey) -> Self {
        let mut token = vault.token().unwrap();
        // It writes a number; the one of App Service writes a text, and the SDK believes no other.
        token["expires_on"] = json!(token["expires_on"].as_i64().unwrap().to_string());
        let provider = Provider::start(&[(200, &token.to_string())]);
        let endpoint = format!("http://{}/identity", provider.address);
        let mut login = Self::new(vault, provider, &token);
        login.set("AZURE_AUTH", "managed-identity");
        login.set("IDENTITY_ENDPOINT", &endpoint);
        login.set("IDENTITY_HEADER", PROOF);
        login
    }

    /// As Entra ID has it, over TLS: the settings name the file with the proof.
    fn by_file(vault: &Lowkey, auth: &str, file: &'static str) -> Self {
        let token = vault.token().unwrap();
        let provider = Provider::start_with(&[(200, &token.to_string())], Some(tls(vault)));
        let host = format!("https://localhost:{}", provider.address.port());
        let mut login = Self::new(vault, provider, &token);
        let proof = login.files[1].path().to_str().unwrap().to_owned();
        for (name, value) in [
            ("AZURE_AUTH", auth),
            ("AZURE_AUTHORITY_HOST", &host),
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", "client-of-the-app"),
            (file, &proof),
        ] {
            login.set(name, value);
        }
        login
    }

    fn new(vault: &Lowkey, provider: Provider, token: &Value) -> Self {
        let files = [policy(r#"{"version": 1, "trustedHosts": ["localhost"]}"#), policy(PROOF)];
        let token = token["access_token"].as_str().unwrap().to_owned();
        let spare = Key::ed25519("");
        let path = files[0].path().to_str().unwrap().to_owned();
        let mut login = Self { settings: Vec::new(), files, spare, token, provider };
        login.set("ENVIRONMENT", "staging");
        login.set("POLICY_FILE", &path);
        login.set("REQUIRED_GROUPS", "auth");
        login.set("SECRET_BACKENDS", "azure");
        login.set("SECRETS_REFRESH", "1");
        login.set("RUST_LOG", "trace");
        login.set("AZURE_VAULT_URL", &vault.address());
        login.set("AZURE_CA_FILE", vault.ca_file().to_str().unwrap());
        login
    }

    /// The last one of a name counts.
    fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// The columns of `check-config` for a secret, which must find no fault.
    fn row(&self, name: &str) -> Vec<String> {
        let (code, table, problems) = check(&self.settings(), &[]);
        assert_eq!((code, problems.as_str()), (Some(0), ""), "{table}");
        let row = table.lines().find(|line| line.starts_with(name)).unwrap();
        row.split_whitespace().map(str::to_owned).collect()
    }

    /// None of these, nor what the service logs in with, is shown anywhere.
    fn assert_hidden(&self, service: &Service, keys: &[&Key]) {
        let (_, out, err) = check(&self.settings(), &[]);
        let log = Value::from(service.log()).to_string();
        assert!(log.contains(r#""target":"secrets""#), "the log was on");
        for text in [log, health(service), out, err] {
            let keys = keys.iter().map(|key| secret_of(key));
            for secret in keys.chain([secret_of(&self.spare), &self.token, "canary"]) {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}

/// With the certificate of the vault.
fn tls(vault: &Lowkey) -> Arc<ServerConfig> {
    let [certificate, key] = vault.pair();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

fn is(line: &Value, name: &str, outcome: &str) -> bool {
    secrets::is(line, name, outcome) && line["backend"] == "azure"
}

#[test]
#[ignore = "soak: needs LOWKEY_VAULT_JAR, the jar of lowkey-vault-app on Maven Central"]
fn the_secret_of_azure_wins_rotates_without_a_restart_and_outlasts_an_outage_unseen() {
    let Some(mut vault) = vault() else {
        println!("SOAK azure: not run, {JAR} is not set");
        return;
    };
    let [first, second] = [(); 2].map(|()| Key::ed25519(""));
    let put = |vault: &Lowkey, key: &Key| vault.put("JWT-SIGNING-KEY", &key.pem, None).unwrap();
    let version = put(&vault, &first);
    let mut login = Login::by_managed_identity(&vault);
    assert_eq!(login.row("JWT_SIGNING_KEY"), ["JWT_SIGNING_KEY", "azure", &*version, "-"]);
    login.set("SECRET_BACKENDS", "azure,environment");
    login.set("JWT_SIGNING_KEY", &login.spare.pem.clone());
    login.set("AI_API_KEY", "ai-canary-of-the-environment-XyZ9-qW3r");
    let service = Service::start(&login.settings());
    let read = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "read"));
    assert_eq!(read["version"], *version, "{read}");
    assert!(signs_with(&service, &first), "the first backend wins");
    service.wait_for_log(|line| secrets::is(line, "AI_API_KEY", "read") && line["backend"] == "environment");
    wait_for_backend(&service, "azure", true);

    let version = put(&vault, &second);
    let changed = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "changed"));
    assert_eq!(changed["version"], *version, "{changed}");
    wait_until("the new key", || signs_with(&service, &second).then_some(()));

    vault.signal(Signal::STOP);
    wait_for_backend(&service, "azure", false);
    assert!(signs_with(&service, &second), "the environment's value took the place of that of Azure");
    let late = Service::start(&login.settings());
    assert!(signs_with(&late, &login.spare), "a start without Azure takes the next backend");
    vault.signal(Signal::CONT);
    for service in [&service, &late] {
        wait_until("the key of Azure", || signs_with(service, &second).then_some(()));
        wait_for_backend(service, "azure", true);
    }

    vault.delete("JWT-SIGNING-KEY").unwrap();
    wait_until("the next backend's key", || signs_with(&service, &login.spare).then_some(()));
    wait_for_backend(&service, "azure", true);
    vault.recover("JWT-SIGNING-KEY").unwrap();
    wait_until("the recovered key", || signs_with(&service, &second).then_some(()));
    vault.stop();
    wait_for_backend(&service, "azure", false);
    assert!(signs_with(&service, &second), "a refused connection leaves it too");
    for service in [&service, &late] {
        login.assert_hidden(service, &[&first, &second]);
    }
    let asked = login.provider.asked();
    assert!(asked.iter().all(|asked| asked.head.contains(PROOF)), "{asked:?}");
}

#[test]
#[ignore = "soak: needs LOWKEY_VAULT_JAR, the jar of lowkey-vault-app on Maven Central"]
fn azure_is_read_by_each_login_and_only_from_a_server_that_the_ca_file_vouches_for() {
    let Some(vault) = vault() else {
        println!("SOAK azure, each login: not run, {JAR} is not set");
        return;
    };
    let key = Key::ed25519("");
    let version = vault.put("JWT-SIGNING-KEY", &key.pem, Some(END)).unwrap();
    let expected = ["JWT_SIGNING_KEY", "azure", &*version, "2033-05-18"];
    let managed = Login::by_managed_identity(&vault);
    assert_eq!(managed.row("JWT_SIGNING_KEY"), expected);
    for (auth, file, field) in [
        ("client-secret", "AZURE_CLIENT_SECRET_FILE", "client_secret"),
        ("workload-identity", "AZURE_FEDERATED_TOKEN_FILE", "client_assertion"),
    ] {
        let login = Login::by_file(&vault, auth, file);
        assert_eq!(login.row("JWT_SIGNING_KEY"), expected, "{auth}");
        let asked = login.provider.asked();
        assert!(asked[0].head.starts_with(&format!("POST /{TENANT}/oauth2/v2.0/token")), "{asked:?}");
        assert!(asked[0].body.contains(&format!("{field}={PROOF}")), "{asked:?}");
        login.assert_hidden(&Service::start(&login.settings()), &[&key]);
    }

    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (other, told) =
        (policy(&stranger.cert.pem()), format!("no answer from Azure at {}", vault.address()));
    for distrust in [Some(other.path().to_str().unwrap()), None] {
        let mut settings = managed.settings();
        settings.retain(|(name, _)| *name != "AZURE_CA_FILE");
        settings.extend(distrust.map(|file| ("AZURE_CA_FILE", file)));
        let (code, table, problems) = check(&settings, &[]);
        assert!(code == Some(2) && problems.contains(&told), "{code:?} {table} {problems}");
    }
}
