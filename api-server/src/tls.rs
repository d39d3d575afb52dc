//! TLS: versions, and a certificate that can be changed under open connections. It never serves half a pair.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use thiserror::Error;

/// Why a certificate is not used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of the pair cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not PEM of the expected kind.
    #[error("parse {file}: {reason}")]
    Parse {
        /// The file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key are not a usable pair.
    #[error("check tls.crt against tls.key")]
    Pair(#[source] rustls::Error),
    /// The settings are refused by rustls.
    #[error("set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The bytes of a pair as they stand on disk.
#[derive(PartialEq, Eq)]
pub(crate) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub fn read(dir: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| TlsError::Read { path, source })
        };
        Ok(Self { certificate: read("tls.crt")?, key: read("tls.key")? })
    }

    /// Parses the pair and checks that the key belongs to the certificate.
    pub fn pair(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| TlsError::Parse { file: "tls.crt", reason: e.to_string() })?;
        if chain.is_empty() {
            return Err(TlsError::Parse { file: "tls.crt", reason: "no certificate in the file".into() });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|e| TlsError::Parse { file: "tls.key", reason: e.to_string() })?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Pair)
    }
}

/// The certificate that new handshakes get.
#[derive(Debug)]
pub struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    /// Loads the pair of a directory.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(Files::read(dir)?.pair()?)))
    }

    pub(crate) fn replace(&self, pair: CertifiedKey) {
        self.0.store(Arc::new(pair));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// TLS 1.2 and 1.3 with rustls' own suites (all AEAD with forward secrecy) and groups (`X25519MLKEM768` first).
pub fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
