//! HTTPS to a server of one test's own, with an authority of its own, and plain HTTP. It knows no API.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::daemon::Daemon;
use crate::etcd::free_port;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How a server on a free loopback port is asked.
pub(crate) struct Https {
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Https {
    /// Writes `ca.crt` into the folder of the server, and gives the files of its certificate, for these names too, and key.
    pub fn create(daemon: &Daemon, names: &[&str]) -> Result<(Self, [PathBuf; 2])> {
        let (key, mut authority) = (KeyPair::generate()?, CertificateParams::default());
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than the server's: OpenSSL takes a certificate of one name for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority of one server");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names: Vec<_> = ["127.0.0.1", "localhost"].iter().chain(names).map(|&name| name.into()).collect();
        let certificate = CertificateParams::new(names)?;
        let certificate = certificate.signed_by(&key, &authority)?.pem();
        daemon.write("ca.crt", &authority.pem())?;
        let files = [daemon.write("tls.crt", &certificate)?, daemon.write("tls.key", &key.serialize_pem())?];
        Ok((Self { port: free_port()?, tls: trust(&authority.pem())? }, files))
    }

    /// The same server on one more free port.
    pub fn beside(&self) -> Result<Self> {
        Ok(Self { port: free_port()?, tls: self.tls.clone() })
    }

    /// Where the server is to listen.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Sends one request, with headers that each end in a line break, and gives the body; a status of 300 or more is an error.
    pub fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
        let (tcp, host) = connect(self.port)?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(self.tls.clone(), name)?, tcp);
        let length = body.len();
        let headers = format!("Host: {host}\r\n{headers}Content-Length: {length}\r\n");
        exchange(&mut stream, &format!("{method} {path}"), &headers, body)
    }
}

/// GET from a loopback port without TLS.
pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    let (mut tcp, host) = connect(port)?;
    exchange(&mut tcp, &format!("GET {path}"), &format!("Host: {host}\r\n"), "")
}

/// GET with TLS from a server by the name in its certificate.
pub(crate) fn get_from(
    address: SocketAddr,
    host: &str,
    tls: Arc<ClientConfig>,
    path: &str,
) -> Result<String> {
    let tcp = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    tcp.set_read_timeout(Some(ANSWER_LIMIT))?;
    let client = ClientConnection::new(tls, ServerName::try_from(host.to_owned())?)?;
    let headers = format!("Host: {host}\r\n");
    exchange(&mut StreamOwned::new(client, tcp), &format!("GET {path}"), &headers, "")
}

/// A connection, and the name of the server in a request.
fn connect(port: u16) -> Result<(TcpStream, String)> {
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok((tcp, format!("127.0.0.1:{port}")))
}

/// HTTP/1.0, so that the answer ends with the connection.
fn exchange(stream: &mut (impl Read + Write), line: &str, headers: &str, body: &str) -> Result<String> {
    write!(stream, "{line} HTTP/1.0\r\n{headers}\r\n{body}")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Python's servers end a connection without saying so; a body that is cut off is no JSON.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        other => drop(other?),
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status: u16 = head.split(' ').nth(1).context("the answer has no status")?.parse()?;
    ensure!((200..300).contains(&status), "{line}: {status} {}", body.trim_end());
    Ok(body.to_owned())
}

fn trust(authority: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
