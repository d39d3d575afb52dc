//! `api-server healthcheck`: asks the running service whether it is ready, for images without a shell. It trusts the
//! CA of the TLS directory only, and the name it asks for is the certificate's own.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(3);

/// `Ok` when `/readyz` answers 200; the error says what it did instead.
pub fn run(config: &Config) -> io::Result<()> {
    let address = loopback(config.api_addr());
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let answer = match &config.tls_dir {
        None => ask(stream)?,
        Some(dir) => ask(StreamOwned::new(client(dir)?, stream))?,
    };
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => {
            Err(io::Error::other(format!("/readyz answered {:?}", answer.lines().next().unwrap_or_default())))
        }
    }
}

/// A wildcard address is not one to connect to.
fn loopback(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 32];
    let n = stream.read(&mut head)?;
    Ok(String::from_utf8_lossy(&head[..n]).into_owned())
}

fn client(dir: &Path) -> io::Result<ClientConnection> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(dir.join("ca.crt")).map_err(io::Error::other)? {
        roots.add(ca.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let leaf = CertificateDer::from_pem_file(dir.join("tls.crt")).map_err(io::Error::other)?;
    let leaf = webpki::EndEntityCert::try_from(&leaf).map_err(io::Error::other)?;
    let name = leaf
        .valid_dns_names()
        .find_map(|name| ServerName::try_from(name.to_owned()).ok())
        .ok_or_else(|| io::Error::other("tls.crt names no host"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)
}
