//! `kubectl hardened cert inspect HOST:PORT` against real TLS servers on loopback.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{Answer, tool, tool_with};

/// An authority with one below it, and a leaf of the latter for `localhost`.
struct Chain {
    folder: TempDir,
    leaf: CertificateDer<'static>,
    middle: CertificateDer<'static>,
    key: KeyPair,
}

impl Chain {
    fn new(spoil: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "root");
        let root = CertifiedIssuer::self_signed(authority.clone(), KeyPair::generate()?)?;
        authority.distinguished_name.push(rcgen::DnType::CommonName, "middle");
        let middle = CertifiedIssuer::signed_by(authority, KeyPair::generate()?, &root)?;
        let mut leaf = CertificateParams::new(["localhost".to_owned()])?;
        leaf.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        leaf.not_after = OffsetDateTime::now_utc() + Duration::days(30);
        spoil(&mut leaf);
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &middle)?.into();
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("ca.pem"), root.pem())?;
        Ok(Self { folder, leaf, middle: middle.der().clone(), key })
    }

    fn ca(&self) -> Result<String> {
        Ok(self.folder.path().join("ca.pem").to_str().context("the path is not UTF-8")?.to_owned())
    }

    fn served(&self) -> Vec<CertificateDer<'static>> {
        vec![self.leaf.clone(), self.middle.clone()]
    }
}

/// Shows a certificate with a key that may be another's.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

type Versions = &'static [&'static SupportedProtocolVersion];

const ONLY_12: Versions = &[&rustls::version::TLS12];
const ONLY_13: Versions = &[&rustls::version::TLS13];

/// What a server speaks; by itself everything that rustls does.
struct Speaks {
    provider: CryptoProvider,
    versions: Versions,
    alpn: &'static [&'static str],
}

fn everything() -> Speaks {
    Speaks {
        provider: aws_lc_rs::default_provider(),
        versions: rustls::ALL_VERSIONS,
        alpn: &["h2", "http/1.1"],
    }
}

/// Serves until the test ends, and gives the port.
async fn serve(chain: Vec<CertificateDer<'static>>, key: &KeyPair, speaks: Speaks) -> Result<u16> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let shown = Shown(Arc::new(CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key)?)));
    let builder = ServerConfig::builder_with_provider(Arc::new(speaks.provider));
    let builder = builder.with_protocol_versions(speaks.versions)?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = speaks.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
                stream.shutdown().await
            });
        }
    });
    Ok(port)
}

fn inspect(port: u16, more: &[&str]) -> Result<Answer> {
    tool(&[&["cert", "inspect", &format!("localhost:{port}")], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_client_and_server_agreed_on_is_told() -> Result<()> {
    let chain = Chain::new(|_| ())?;
    let port = serve(chain.served(), &chain.key, everything()).await?;
    let answer = inspect(port, &["--ca", &chain.ca()?, "-o", "json"])?;
    assert_eq!(answer.findings()?, [""; 0]);
    let report = answer.json()?;
    let expected = serde_json::json!({
        "address": format!("127.0.0.1:{port}"), "version": "TLS 1.3", "cipherSuite": "TLS_AES_256_GCM_SHA384",
        "keyExchange": "X25519MLKEM768", "alpn": "h2",
    });
    assert_eq!(report["connection"], expected);
    assert_eq!(report["certificates"].as_array().map(Vec::len), Some(2));
    assert_eq!((&report["trust"]["trusted"], &report["name"]["covered"]), (&true.into(), &true.into()));

    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
    let old = Speaks { provider, versions: ONLY_12, alpn: &[] };
    let port = serve(chain.served(), &chain.key, old).await?;
    let answer = inspect(port, &["--ca", &chain.ca()?])?;
    let expected = format!(
        "connection    127.0.0.1:{port}, TLS 1.2, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, secp384r1\n"
    );
    assert!(answer.code == 0 && answer.out.contains(&expected), "{}", answer.out);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_found() -> Result<()> {
    let (good, foreign) = (Chain::new(|_| ())?, Chain::new(|_| ())?);
    let ended = Chain::new(|leaf| leaf.not_after = OffsetDateTime::now_utc() - Duration::minutes(1))?;
    let port = serve(good.served(), &good.key, everything()).await?;
    let ca = good.ca()?;
    let look = |port, more: &[&str]| inspect(port, &[&["-o", "json"], more].concat())?.findings();
    assert_eq!(look(port, &["--ca", &ca])?, [""; 0]);
    assert_eq!(look(port, &["--ca", &ca, "--server-name", "shop.example.com"])?, ["name"]);
    assert_eq!(look(port, &["--ca", &foreign.ca()?])?, ["trust"]);
    assert_eq!(look(port, &[])?, ["trust"], "the system knows this authority");

    let port = serve(ended.served(), &ended.key, everything()).await?;
    assert_eq!(look(port, &["--ca", &ended.ca()?])?, ["expiry"]);
    let port = serve(vec![good.leaf.clone()], &good.key, everything()).await?;
    assert_eq!(look(port, &["--ca", &ca])?, ["trust"], "the middle is missing");
    for versions in [ONLY_13, ONLY_12] {
        let port = serve(good.served(), &foreign.key, Speaks { versions, ..everything() }).await?;
        assert_eq!(look(port, &["--ca", &ca])?, ["handshake"], "the server has another key");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_the_systems_roots_count() -> Result<()> {
    let chain = Chain::new(|_| ())?;
    let port = serve(chain.served(), &chain.key, everything()).await?;
    let target = format!("localhost:{port}");
    let answer = tool_with(&["cert", "inspect", &target], &[("SSL_CERT_FILE", &chain.ca()?)])?;
    assert!(answer.code == 0 && answer.out.contains("verified by the system's roots"), "{}", answer.out);
    let answer = tool_with(&["cert", "inspect", &target], &[("SSL_CERT_FILE", "/dev/null")])?;
    assert!(answer.code == 2 && answer.err.contains("--ca FILE"), "{}{}", answer.out, answer.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_speaks_tls_it_could_not_be_looked_at() -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let refused = inspect(free, &[])?;
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(
        refused.err.contains(&format!("connect to localhost:{free}: Connection refused")),
        "{}",
        refused.err
    );

    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let port = plain.local_addr()?.port();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let answer = inspect(port, &[])?;
    assert_eq!((answer.code, answer.out.as_str()), (2, ""));
    assert!(answer.err.contains("showed no certificate by TLS 1.2 or 1.3"), "{}", answer.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_trusts_the_certificate_that_the_command_made() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().to_str().context("the path is not UTF-8")?;
    let names = "localhost,127.0.0.1,*.shop.example";
    assert_eq!(tool(&["cert", "--out", out, "--key", "rsa-2048", "--san", names])?.code, 0);
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| format!("{out}/{name}"));
    let der = x509_parser::pem::parse_x509_pem(&std::fs::read(&certificate)?)?.1.contents;
    let key = KeyPair::from_pem(&std::fs::read_to_string(key)?)?;
    let port = serve(vec![der.into()], &key, Speaks { alpn: &["http/1.1"], ..everything() }).await?;
    // The last name is none of the certificate's.
    for (host, expected) in
        [("localhost", "ok"), ("127.0.0.1", "ok"), ("a.shop.example", "ok"), ("shop.example", "")]
    {
        let resolve = format!("{host}:{port}:127.0.0.1");
        let url = format!("https://{host}:{port}/");
        let noproxy = ["--silent", "--noproxy", "*", "--cacert", &certificate, "--resolve", &resolve, &url];
        let output = Command::new("curl").args(noproxy).output().context("start curl")?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{host}: {:?}", output.status);
    }
    let answer = inspect(port, &["--ca", &certificate])?;
    assert_eq!(answer.code, 0, "{}", answer.out);
    Ok(())
}
