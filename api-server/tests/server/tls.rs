//! TLS as a client sees it: versions, groups, HTTP/2, and a certificate that changes under open connections.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    client::{Answer, connect, send},
    headers,
    process::{Service, command, wait_until},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: studio.example\r\n\r\n";

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a leaf of the same name for one that has signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A new one, and a folder with its first pair.
    pub fn with_pair() -> (Self, tempfile::TempDir) {
        let (authority, dir) = (Self::new(), tempfile::tempdir().unwrap());
        authority.issue(dir.path());
        (authority, dir)
    }

    /// A new pair as PEM, with the certificate's DER.
    fn pair(&self) -> (String, String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["studio.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem(), certificate.der().clone())
    }

    /// Writes a new pair and gives back the certificate.
    pub fn issue(&self, dir: &Path) -> CertificateDer<'static> {
        let (certificate, key, der) = self.pair();
        fs::write(dir.join("ca.crt"), self.0.pem()).unwrap();
        fs::write(dir.join("tls.crt"), certificate).unwrap();
        fs::write(dir.join("tls.key"), key).unwrap();
        der
    }

    pub fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub fn connect(
        &self,
        service: &Service,
        versions: &[&'static SupportedProtocolVersion],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("studio.example").unwrap();
        let client = ClientConnection::new(Arc::new(self.config(versions)), name).unwrap();
        StreamOwned::new(client, connect(service.api))
    }

    pub fn get(&self, service: &Service, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: studio.example\r\nconnection: close\r\n\r\n");
        send(&mut self.connect(service, &[&TLS13]), &request)
    }

    /// A connection that speaks HTTP/2.
    pub async fn http2(&self, service: &Service) -> TlsStream<tokio::net::TcpStream> {
        let mut config = self.config(&[&TLS13]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(service.api).await.unwrap();
        let name = ServerName::try_from("studio.example").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        tls
    }

    fn served(&self, service: &Service) -> CertificateDer<'static> {
        let mut stream = self.connect(service, &[&TLS13]);
        assert_eq!(send(&mut stream, GET).status, 200);
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn start() -> (Authority, tempfile::TempDir, CertificateDer<'static>, Service) {
    start_with(&[])
}

/// A service with a certificate of a new authority, and with these settings.
pub fn start_with(
    settings: &[(&str, &str)],
) -> (Authority, tempfile::TempDir, CertificateDer<'static>, Service) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let certificate = authority.issue(dir.path());
    let tls = [("TLS_DIR", dir.path().to_str().unwrap())];
    let service = Service::start(&[&tls, settings].concat());
    (authority, dir, certificate, service)
}

#[test]
fn tls_1_2_and_1_3_are_served_with_aead_and_1_3_with_the_hybrid_group() {
    let (authority, _dir, _, service) = start();
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut stream = authority.connect(&service, &[version]);
        headers::check(&send(&mut stream, GET));
        assert_eq!(stream.conn.protocol_version(), Some(expected));
        let suite = format!("{:?}", stream.conn.negotiated_cipher_suite().unwrap().suite());
        assert!(suite.contains("GCM") || suite.contains("POLY1305"), "{suite}");
        if expected == ProtocolVersion::TLSv1_3 {
            let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
        }
    }
}

#[test]
fn tls_1_1_is_refused_where_the_same_hello_with_1_2_is_answered() {
    let (_authority, _dir, _, service) = start();
    let answer = |minor: u8| {
        let mut stream = connect(service.api);
        stream.write_all(&client_hello(minor)).unwrap();
        let mut record = [0; 7];
        stream.read_exact(&mut record).unwrap();
        record
    };
    let [kind, _, _, _, _, message, _] = answer(3);
    assert_eq!((kind, message), (22, 2), "a handshake record with a ServerHello");
    let [kind, _, _, _, _, level, reason] = answer(2);
    assert_eq!((kind, level, reason), (21, 2, 70), "a fatal alert: protocol_version");
}

/// A hello without the extension `supported_versions`, as clients before TLS 1.3 sent it.
fn client_hello(minor: u8) -> Vec<u8> {
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..], // group secp256r1
        &[0, 11, 0, 2, 1, 0],            // uncompressed points
        &[0, 13, 0, 4, 0, 2, 4, 3],      // ecdsa_secp256r1_sha256
        &[0, 23, 0, 0],                  // extended master secret
    ]
    .concat();
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; ECDHE-ECDSA-AES128-GCM-SHA256 and, for the old version, ECDHE-ECDSA-AES128-SHA; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    [vec![22, 3, 1, 0, length + 4, 1, 0, 0, length], hello].concat()
}

#[test]
fn a_renewed_certificate_is_served_and_open_connections_stay() {
    let (authority, dir, first, service) = start();
    assert_eq!(authority.served(&service), first);
    let mut open = authority.connect(&service, &[&TLS13]);
    assert_eq!(send(&mut open, GET).status, 200);

    let second = authority.issue(dir.path());
    wait_until("the new certificate", || (authority.served(&service) == second).then_some(()));
    assert_eq!(send(&mut open, GET).status, 200, "the old connection lives");
    assert_eq!(open.conn.peer_certificates().unwrap()[0], first);
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_not_loaded() {
    let (authority, dir, first, service) = start();
    let (_, other_key, _) = authority.pair();
    fs::write(dir.path().join("tls.key"), other_key).unwrap();
    let line = service.wait_for_log(|line| line["level"] == "ERROR");
    assert!(line["reason"].as_str().unwrap().starts_with("check tls.crt against tls.key"), "{line}");
    assert_eq!(authority.served(&service), first);

    fs::write(dir.path().join("tls.crt"), "no pem").unwrap();
    service.wait_for_log(|line| line["reason"] == "parse tls.crt: no certificate in the file");
    assert_eq!(authority.served(&service), first);

    let mended = authority.issue(dir.path());
    wait_until("the mended pair", || (authority.served(&service) == mended).then_some(()));
}

#[tokio::test]
async fn http_2_answers_carry_the_headers_too() {
    let (authority, _dir, _, service) = start();
    let (mut client, connection) = h2::client::handshake(authority.http2(&service).await).await.unwrap();
    tokio::spawn(connection);
    let mut nonces = Vec::new();
    for (path, status) in [("/", 200), ("/nothing", 404)] {
        let request = http::Request::get(format!("https://studio.example{path}")).body(()).unwrap();
        let response = client.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), status);
        let headers = response.headers();
        assert_eq!(headers.get_all("server").iter().collect::<Vec<_>>(), ["Unknown"]);
        assert_eq!(headers["x-frame-options"], "DENY");
        nonces.push(headers["content-security-policy"].clone());
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn the_healthcheck_trusts_the_ca_of_the_directory_only() {
    let (_authority, dir, _, service) = start();
    let address = service.api.to_string();
    let check = |dir: &Path| {
        let settings = [("TLS_DIR", dir.to_str().unwrap()), ("API_BIND", address.as_str())];
        command(&settings).arg("healthcheck").output().unwrap().status.success()
    };
    assert!(check(dir.path()));
    let stranger = tempfile::tempdir().unwrap();
    Authority::new().issue(stranger.path());
    assert!(!check(stranger.path()));
}
