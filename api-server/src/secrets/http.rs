//! HTTPS as the backends need it: roots that are compiled in (the image has no system roots), no redirects, short
//! waits. It sends nothing itself.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::redirect::Policy;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::backend::BackendError;

/// A connection and a whole request each; a backend that needs longer is as good as gone, and the last good values count.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The certificates in the file; without one those that browsers trust.
pub fn roots(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let Some(path) = ca else { return Ok(webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec()) };
    let refused =
        |e: &dyn std::fmt::Display| BackendError::Refused(format!("CA file {}: {e}", path.display()));
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| refused(&e))?;
    if certificates.is_empty() {
        return Err(refused(&"it holds no certificate"));
    }
    // The AWS SDK panics on what rustls cannot read, so it is tried here.
    certificates.iter().try_for_each(|c| RootCertStore::empty().add(c.clone())).map_err(|e| refused(&e))?;
    Ok(certificates)
}

/// A client that trusts them. Redirects are answers like any other: following one would carry the token elsewhere.
pub fn client(ca: Option<&Path>) -> Result<reqwest::Client, BackendError> {
    let failed = |e: &dyn std::fmt::Display| BackendError::Refused(format!("set up TLS: {e}"));
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots(ca)?);
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_root_certificates(store)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|e| failed(&e))
}

/// Whether the address may be asked: credentials and values travel in clear over `http://`, so only to this machine,
/// and in development.
pub fn is_safe(url: &str, development: bool) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let clean = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    clean && (url.scheme() == "https" || (url.scheme() == "http" && (is_loopback(&url) || development)))
}

/// Whether the address is this machine's.
pub fn is_loopback(url: &reqwest::Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_over_tls_or_stay_on_this_machine() {
        for (url, production, development) in [
            ("https://vault.example:8200", true, true),
            ("http://127.0.0.1:8200", true, true),
            ("http://[::1]:8200", true, true),
            ("http://vault.example:8200", false, true),
            ("http://127.0.0.1.example", false, true),
            ("https://user:password@vault.example", false, false),
            ("https://vault.example?token=a", false, false),
            ("ftp://vault.example", false, false),
            ("vault.example", false, false),
        ] {
            assert_eq!((is_safe(url, false), is_safe(url, true)), (production, development), "{url}");
        }
    }

    #[test]
    fn the_public_roots_are_compiled_in_and_a_file_replaces_them() {
        assert!(roots(None).unwrap().len() > 100);
        let key = rcgen::generate_simple_self_signed(["vault.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.cert.pem()).unwrap();
        assert_eq!(roots(Some(file.path())).unwrap().len(), 1);
        std::fs::write(file.path(), "no certificate").unwrap();
        assert!(roots(Some(file.path())).unwrap_err().to_string().contains("no certificate"));
    }
}
