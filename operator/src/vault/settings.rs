//! The check of a connection in the platform's settings. Every text that goes into a path of Vault is of an allow-list.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use render::{KubernetesAuth, VaultConnection};
use reqwest::redirect::Policy;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{Connection, REQUEST, kv, session::Sessions, silence::Silence};

/// Longest name, of a role for example.
const NAME: usize = 63;
/// Longest role of a login: it may hold the names of a namespace and of a service. So may an account.
const LOGIN_ROLE: usize = 253;
/// Most parts of the path of a mount.
const PARTS: usize = 8;
/// Most parts of a path below it.
const DEEP: usize = 16;
/// Longest path below it.
const LONG: usize = 512;

impl Connection {
    /// Checks everything, in the order of the fields.
    pub fn new(name: &str, mut settings: VaultConnection) -> anyhow::Result<Self> {
        let field = |field: &str| format!("vaultConnections.{name}.{field}");
        ensure!(
            is_name(name),
            "vaultConnections: {name:?} is no name; use at most 63 letters, digits, -, _ and ., beginning and ending with \
             a letter, digit or _"
        );
        let address = address(&settings.address).with_context(|| field("address"))?;
        let http = client(&settings.ca_bundle).with_context(|| field("caBundle"))?;
        settings.namespace = settings.namespace.map(|text| text.trim_matches('/').to_owned());
        settings.namespace.take_if(|text| text.is_empty());
        if let Some(namespace) = &settings.namespace {
            ensure!(is_path(namespace), "{}: {namespace:?} {ADVICE}", field("namespace"));
        }
        let audience = &settings.audience;
        ensure!(
            !audience.is_empty() && audience.len() <= 253 && audience.bytes().all(|b| b.is_ascii_graphic()),
            "{}: {audience:?} is no audience; use the one that the role of the login has, without blanks",
            field("audience")
        );
        for (path, field) in [
            (&mut settings.kubernetes_auth.mount, field("kubernetesAuth.mount")),
            (&mut settings.pki.mount, field("pki.mount")),
        ] {
            *path = path.trim_matches('/').to_owned();
            ensure!(is_path(path), "{field}: {path:?} {ADVICE}");
        }
        check_login(&settings.kubernetes_auth, field)?;
        for mount in &mut settings.kv.mounts {
            *mount = mount.trim_matches('/').to_owned();
            ensure!(
                is_path(&mount.replace(NAMESPACE, "a")),
                "{}: {mount:?} {ADVICE}, and {{namespace}} for the service's own",
                field("kv.mounts")
            );
        }
        if let Some(role) = settings.pki.roles.iter().find(|role| !is_name(role)) {
            bail!(
                "{}: {role:?} is no role; use at most 63 letters, digits, -, _ and ., beginning and ending with a letter, \
                 digit or _",
                field("pki.roles")
            );
        }
        Ok(Self {
            settings,
            address,
            http,
            silence: Silence::default(),
            sessions: Sessions::default(),
            kv: kv::Cache::default(),
        })
    }
}

/// The role and the account, filled in with the longest names that a namespace and a service can have.
fn check_login(auth: &KubernetesAuth, field: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let longest = "a".repeat(NAME);
    let KubernetesAuth { role, service_account: account, .. } = auth;
    ensure!(
        is_login_role(&filled(role, &longest, &longest)),
        "{}: {role:?} is no role; use letters, digits, -, _ and ., and {{namespace}} and {{name}} for the service's own",
        field("kubernetesAuth.role")
    );
    ensure!(
        is_account(&filled(account, &longest, &longest)),
        "{}: {account:?} is no name of a ServiceAccount; use lowercase letters, digits, - and ., and {{namespace}} and {{name}} \
         for the service's own",
        field("kubernetesAuth.serviceAccount")
    );
    Ok(())
}

const ADVICE: &str = "is no path; use names of letters, digits, -, _ and . with / between them";

/// Credentials travel to it, so nothing but TLS, and nothing that a path could be joined to in another way.
fn address(text: &str) -> anyhow::Result<reqwest::Url> {
    let advice = "write https://HOST:PORT without user, path and query";
    let url = reqwest::Url::parse(text).with_context(|| format!("{text:?} is no address; {advice}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    ensure!(url.scheme() == "https", "{:?} is not https; {advice}", url.scheme());
    // Not shown: it may hold a password.
    ensure!(anonymous && bare, "it is more than an address; {advice}");
    Ok(url)
}

/// A client that trusts these certificates only. A redirect is an answer like any other: following one would carry the
/// token elsewhere, and so would a proxy of the environment.
fn client(ca_bundle: &str) -> anyhow::Result<reqwest::Client> {
    let advice = "put the certificate of the CA there that issued Vault's, as a block BEGIN CERTIFICATE";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle.as_bytes()) {
        let certificate = certificate.with_context(|| format!("it is not PEM; {advice}"))?;
        roots.add(certificate).with_context(|| format!("a certificate cannot be read; {advice}"))?;
    }
    ensure!(!roots.is_empty(), "it holds no certificate; {advice}");
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // HTTP/1: the library for HTTP/2 writes headers into its log, and one of them is the token.
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .timeout(REQUEST)
        .build()?)
}

/// As Vault names roles. `..`, which a path would follow upwards, is no name.
pub fn is_name(text: &str) -> bool {
    (1..=NAME).contains(&text.len()) && is_word(text)
}

/// A role of a login, with the service's names in it.
pub fn is_login_role(text: &str) -> bool {
    (1..=LOGIN_ROLE).contains(&text.len()) && is_word(text)
}

/// As Kubernetes names ServiceAccounts.
pub fn is_account(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    text.len() <= LOGIN_ROLE && text.split('.').all(is_label)
}

const NAMESPACE: &str = "{namespace}";

/// A setting for a service.
pub fn filled(pattern: &str, namespace: &str, name: &str) -> String {
    // Neither is replaced in what replaced the other: names hold no braces.
    pattern.replace(NAMESPACE, namespace).replace("{name}", name)
}

/// Names with slashes between them.
pub fn is_path(text: &str) -> bool {
    text.split('/').count() <= PARTS && text.split('/').all(is_name)
}

/// The same below a mount. No part is `..`, which would lead to another team's, empty or encoded.
pub fn is_deep_path(text: &str) -> bool {
    text.len() <= LONG && text.split('/').count() <= DEEP && text.split('/').all(is_word)
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let outer = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
