//! The certificate that a server shows in a TLS handshake. It sends nothing else, and judges nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use witness::Witness;

use super::material::{Anchors, Material, must_be_short};
use super::report::{Connection, shown};

/// A connection and a handshake may each take so long.
const LIMIT: Duration = Duration::from_secs(10);

/// What the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name another place, as for openssl.
pub fn roots() -> Result<Anchors> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    ensure!(
        !certificates.is_empty(),
        "the system has no roots to verify with; name the authority with --ca FILE"
    );
    Ok(Anchors { place: "the system's roots".into(), certificates })
}

/// The certificates, and what client and server agreed on.
pub async fn look(host: &str, port: u16, name: &ServerName<'static>) -> Result<Material> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let stream = timeout(LIMIT, TcpStream::connect((host, port)))
        .await
        .with_context(|| format!("{target} did not take the connection within {LIMIT:?}"))?
        .with_context(|| format!("connect to {target}"))?;
    let address = stream.peer_addr().with_context(|| format!("connect to {target}"))?.to_string();
    let witness = Arc::new(Witness::default());
    let mut config = witness.config()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let handshake = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
    let connection = match timeout(LIMIT, handshake).await {
        Ok(Ok(stream)) => agreed(stream.get_ref().1, address),
        Ok(Err(error)) => Connection { address, error: Some(error.to_string()), ..Connection::default() },
        Err(_) => {
            let error = Some(format!("no answer within {LIMIT:?}"));
            Connection { address, error, ..Connection::default() }
        }
    };
    let Some(chain) = witness.chain().map(<[_]>::to_vec) else {
        let why = connection.error.unwrap_or_default();
        bail!("{target} showed no certificate by TLS 1.2 or 1.3: {why}");
    };
    must_be_short(&target, &chain)?;
    Ok(Material { target, chain, key: None, anchors: None, name: None, connection: Some(connection) })
}

fn agreed(session: &ClientConnection, address: String) -> Connection {
    let version = session.protocol_version().map(|version| match version {
        ProtocolVersion::TLSv1_3 => "TLS 1.3".into(),
        ProtocolVersion::TLSv1_2 => "TLS 1.2".into(),
        other => format!("{other:?}"),
    });
    // As IANA calls them: rustls writes TLS13_ where they have TLS_.
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let group = session.negotiated_key_exchange_group();
    Connection {
        address,
        version,
        cipher_suite: suite.map(|suite| suite.replace("TLS13_", "TLS_")),
        key_exchange: group.map(|group| format!("{:?}", group.name())),
        alpn: session.alpn_protocol().map(|protocol| shown(&String::from_utf8_lossy(protocol))),
        error: None,
    }
}
