//! The nginx of a resource in front of an app, both real, and a client that sees every byte of an answer's head.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::HardenedService;
use render::edge::nginx::{Host, Listen, Version, conf};
use render::edge::{Files, Upstream};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use testbed::Nginx;
use testbed::certificate::Pair;

pub const HOST: &str = "studio.example.com";
pub const APP: &str = "app.internal";
pub const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// An app that does what an edge must set right, and tells what reaches it.
const UPSTREAM: &str = r#"
    server {
        listen 127.0.0.1:PORT ssl;
        ssl_certificate FOLDER/app.pem; ssl_certificate_key FOLDER/app.key;
        client_max_body_size 0;
        add_header X-Seen "$http_x_forwarded_for|$http_host|$http_forwarded$http_x_real_ip$http_x_forwarded_host" always;
        add_header X-Request-Id $http_x_request_id always;
        add_header X-Frame-Options ALLOWALL always;
        add_header X-Frame-Options SAMEORIGIN always;
        add_header Strict-Transport-Security max-age=0 always;
        set $nonce "default-src 'none'; script-src 'nonce-$request_id'";
        if ($uri = /bare) { set $nonce ""; }
        add_header Content-Security-Policy $nonce always;
        set $after "";
        if ($uri = /busy) { set $after 99; }
        add_header Retry-After $after always;
        location / { return 200 ok; }
        location = /missing { return 404; }
        location = /busy { return 429; }
    }
"#;

/// Both, and how they are reached.
pub struct Scene {
    // Before the app, so that nothing is under way when that stops.
    pub edge: Nginx,
    pub http: u16,
    pub https: u16,
    pub certificate: CertificateDer<'static>,
    /// The authority that clients trust.
    pub ca: String,
    _app: Nginx,
    pub folder: tempfile::TempDir,
}

/// What an app's certificate is good for.
pub struct Identity {
    pub pair: Pair,
    /// The authority that nginx is told.
    pub ca: String,
}

impl Identity {
    pub fn good() -> Result<Self> {
        let pair = Pair::forged(&[APP.to_owned()])?;
        Ok(Self { ca: pair.ca.clone(), pair })
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no head: {text}"))?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
        let split = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Self { status, headers: lines.filter_map(split).collect(), body: body.to_owned() })
    }

    /// The only one of this name; a second one fails.
    pub fn header(&self, name: &str) -> Result<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let value = all.next().with_context(|| format!("{}: no {name}: {:?}", self.status, self.headers))?;
        ensure!(all.next().is_none(), "{}: {name} twice: {:?}", self.status, self.headers);
        Ok(value)
    }
}

pub fn example(name: &str) -> Result<HardenedService> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/{name}"));
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?)
}

pub fn host(listen: (u16, u16), app: u16, static_folder: Option<String>) -> Host {
    Host {
        upstream: Upstream {
            address: format!("127.0.0.1:{app}"),
            server_name: APP.into(),
            ca: "/FOLDER/app-ca.pem".into(),
        },
        files: Files { certificate: "/FOLDER/cert.pem".into(), key: "/FOLDER/key.pem".into(), static_folder },
        listen: Listen { addresses: vec!["127.0.0.1".into()], http: listen.0, https: listen.1 },
        version: Version::DEBIAN_12,
    }
}

impl Scene {
    /// With the example `studio` and these limits.
    pub fn set(limits: &str) -> Result<Self> {
        Self::set_with(limits, &Identity::good()?)
    }

    pub fn set_with(limits: &str, identity: &Identity) -> Result<Self> {
        let mut service = example("studio.yaml")?;
        service.spec.rate_limits = Some(serde_saphyr::from_str(limits)?);
        Self::of(&service, identity)
    }

    pub fn of(service: &HardenedService, identity: &Identity) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // nginx runs as somebody else.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let (http, https, app) = (port(), port(), port());
        let root = folder.path().join("static").display().to_string();
        let conf = conf(service, &host((http, https), app, Some(root)))?.text.replace("/FOLDER/", "FOLDER/");
        let pair = Pair::forged(&[HOST.to_owned()])?;
        let files = [("cert.pem", &*pair.certificate), ("key.pem", &pair.key), ("app-ca.pem", &identity.ca)];
        let own = [("app.pem", &*identity.pair.certificate), ("app.key", &identity.pair.key)];
        let started = Nginx::start(&UPSTREAM.replace("PORT", &app.to_string()), &own, app)?;
        let edge = Nginx::start_whole(&conf, &files, https)?;
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())?;
        Ok(Self { edge, http, https, certificate, ca: pair.ca, _app: started, folder })
    }

    /// A client that trusts the edge's authority.
    pub fn client(&self, alpn: &[&str]) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }

    /// A finished handshake.
    pub fn handshake(
        &self,
        from: Ipv4Addr,
        name: &str,
        config: ClientConfig,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(name.to_owned())?;
        let mut stream =
            StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, connect(from, self.https)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// One request over TLS with these header lines, each with its end, and this body.
    pub fn ask(&self, from: Ipv4Addr, line: &str, headers: &str, body: &str) -> Result<Answer> {
        let mut stream = self.handshake(from, HOST, self.client(&["http/1.1"])?)?;
        exchange(&mut stream, line, headers, body)
    }

    /// The same with the right host and nothing else.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask(ONE, &format!("GET {path}"), &format!("host: {HOST}\r\n"), "")
    }

    pub fn status(&self, from: Ipv4Addr, line: &str, headers: &str) -> Result<u16> {
        Ok(self.ask(from, line, &format!("host: {HOST}\r\n{headers}"), "")?.status)
    }

    /// One request without TLS.
    pub fn plain(&self, line: &str, host: &str) -> Result<Answer> {
        exchange(&mut connect(ONE, self.http)?, line, &format!("host: {host}\r\n"), "")
    }
}

/// A port that no other test of this process gets, below those that the kernel gives to clients: between finding one and
/// listening there, an `nginx -t` or a client of another test would get it.
pub fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + number % 12_000).unwrap_or_default();
        if TcpListener::bind((ONE, port)).is_ok() {
            return port;
        }
    }
}

/// From an address of this host's own.
fn connect(from: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(SocketAddr::from((ONE, port))).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

pub fn exchange(stream: &mut (impl Read + Write), line: &str, headers: &str, body: &str) -> Result<Answer> {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nconnection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes())?;
    // An answer may come, and the connection end, before everything is sent.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {}
        other => drop(other?),
    }
    Answer::parse(&String::from_utf8(answer)?).with_context(|| line.to_owned())
}
