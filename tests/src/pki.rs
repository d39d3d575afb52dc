//! The testbed's own certificate authority, its certificates and kubeconfigs. Nothing here outlives the state folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::state::State;

/// User name of the operator when a test runs it outside the cluster.
pub const OPERATOR_USER: &str = "hardened-operator";

/// The authority; certificates go to `pki/NAME.crt` and `pki/NAME.key`.
#[derive(Debug)]
pub struct Authority<'a> {
    issuer: CertifiedIssuer<'static, KeyPair>,
    state: &'a State,
}

impl<'a> Authority<'a> {
    /// Makes a fresh authority and the key that signs service account tokens.
    pub fn create(state: &'a State) -> Result<Self> {
        let mut params = params("testbed", None, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        state.write("pki/ca.crt", issuer.pem())?;
        let authority = Self { issuer, state };
        let tokens = KeyPair::generate()?;
        state.write("pki/service-account.pub", tokens.public_key_pem())?;
        authority.key("service-account", &tokens)?;
        Ok(authority)
    }

    /// A certificate for a server with these names and addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Result<()> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue(name, params(name, None, names)?, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client: `user` and, optionally, a group.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        self.issue(name, params(user, group, Vec::new())?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<()> {
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.state.write(&format!("pki/{name}.crt"), certificate.pem())?;
        self.key(name, &key)
    }

    fn key(&self, name: &str, key: &KeyPair) -> Result<()> {
        let path = self.state.write(&format!("pki/{name}.key"), key.serialize_pem())?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
    }
}

/// Writes a kubeconfig that carries the certificate of `name` in itself, so that it can be copied elsewhere.
pub fn kubeconfig(state: &State, name: &str, server: &str, file: &str) -> Result<PathBuf> {
    let data = |path: &str| fs::read(state.path(&format!("pki/{path}"))).map(ByteString);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
        "clusters": [{"name": "testbed", "cluster": {
            "server": server, "certificate-authority-data": data("ca.crt")?,
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": data(&format!("{name}.crt"))?,
            "client-key-data": data(&format!("{name}.key"))?,
        }}],
    });
    let path = state.write(file, serde_json::to_vec_pretty(&config)?)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

fn params(user: &str, group: Option<&str>, names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(30);
    Ok(params)
}
