//! HTTP to services that others run: trust roots, timeouts and sizes are given here, nothing is taken from the
//! environment, and no redirect is followed.

use std::{error::Error, fs, io, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Client, Response, Url, redirect, retry};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use thiserror::Error;

use crate::config::Environment;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum OutboundError {
    /// The file of further roots cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds no usable roots.
    #[error("{path}: {reason}; give CA certificates as PEM")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS or HTTP refuse the settings.
    #[error("set up the HTTP client")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
}

/// Why a body was not read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke.
    #[error("read the answer")]
    Broken(#[source] reqwest::Error),
}

/// The address of a service: https, because http would let anybody on the way answer; in development also http to loopback.
pub fn address(text: &str, environment: Environment) -> Result<Url, &'static str> {
    let uri: Url = text.parse().map_err(|_| "is no URL; write https://HOST/PATH")?;
    if !uri.username().is_empty() || uri.password().is_some() {
        return Err("holds a password, which everybody who sees this process would read; leave it out");
    }
    let host = uri.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme() {
        "https" => Ok(uri),
        "http" if loopback && environment == Environment::Development => Ok(uri),
        _ => Err("must be https; http only to loopback and in development"),
    }
}

/// A client for one purpose. `timeout` is for a whole request. Its connections end with the runtime that they were made
/// on, so keep it to one.
pub fn client(ca_file: Option<&PathBuf>, timeout: Duration) -> Result<Client, OutboundError> {
    Client::builder()
        .tls_backend_preconfigured(trust(ca_file)?)
        // A proxy from the environment would see every request, and a redirect leads to where nobody has allowed.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(timeout)
        .timeout(timeout)
        .user_agent(env!("CARGO_PKG_NAME"))
        .build()
        .map_err(|e| OutboundError::Setup(e.into()))
}

/// TLS that trusts the public roots and those of the file.
pub fn trust(ca_file: Option<&PathBuf>) -> Result<ClientConfig, OutboundError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|e| OutboundError::Setup(e.into()))?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth())
}

/// The public roots, since an image FROM scratch has no others, and those of the file.
fn roots(ca_file: Option<&PathBuf>) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = ca_file else { return Ok(roots) };
    let text = fs::read(path).map_err(|source| OutboundError::Read { path: path.clone(), source })?;
    let refused = |reason: String| OutboundError::Roots { path: path.clone(), reason };
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| refused(e.to_string()))?;
        roots.add(certificate).map_err(|e| refused(e.to_string()))?;
        found += 1;
    }
    if found == 0 {
        return Err(refused("no certificate in the file".into()));
    }
    Ok(roots)
}

/// The body, unless it is longer than `limit`: whoever answers must not decide how much memory that takes.
pub async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| BodyError::Broken(e.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_root_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no certificate").unwrap();
        let error = client(Some(&file.path().into()), Duration::from_secs(1)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
        let missing = PathBuf::from("/nonexistent/ca.crt");
        assert!(matches!(roots(Some(&missing)), Err(OutboundError::Read { .. })));
        assert!(client(None, Duration::from_secs(1)).is_ok());
    }
}
