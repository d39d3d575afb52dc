//! Requests to other services: TLS with public roots and an optional CA of one's own, no redirects, no proxy from the
//! environment, a limit on time and on bytes.

use std::{path::Path, time::Duration};

use reqwest::{Client, Response, Url, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::config::Environment;

/// Checks an address: https, or in development http to this machine.
pub fn address(text: &str, environment: Environment) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "not a URL such as https://api.example.com/v1".to_owned())?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let allowed = url.scheme() == "https"
        || (url.scheme() == "http" && local && environment == Environment::Development);
    if !allowed {
        return Err("must begin with https:// (in development http:// to this machine is allowed)".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials".into());
    }
    Ok(url)
}

/// Whom to trust. The image has no root certificates of a system, so the public ones are compiled in.
pub fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|e| format!("read {}: {e}", path.display()))?;
        for certificate in certificates {
            let added =
                certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
            added.map_err(|e| format!("read {}: {e}", path.display()))?;
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// A client.
pub fn client(ca_file: Option<&Path>, timeout: Duration) -> Result<Client, String> {
    let client = Client::builder()
        .tls_backend_preconfigured(trust(ca_file)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(timeout)
        .build();
    client.map_err(|e| e.to_string())
}

/// The body, up to a limit.
pub async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|e| e.without_url().to_string())? {
        if body.len() + part.len() > limit {
            return Err(format!("the answer is longer than {limit} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
