//! `kubectl hardened cert inspect`: reads a file, a Secret or a server and says what is wrong. It changes nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use rustls::pki_types::ServerName;

use super::examine::examine;
use super::material::{self, Anchors, Half, Key, Material};
use super::{secret, server};

/// The exit code when there is no answer.
pub const COULD_NOT_LOOK: u8 = 2;
/// Largest file, in bytes. The roots of a system have 200 KiB.
const LARGEST: u64 = 1024 * 1024;

/// Say whether a certificate is good: its chain, names, life, algorithms, and whether the private key is its own.
///
/// TARGET is a PEM file (`-` is the standard input), HOST:PORT of a TLS server, or secret/NAME in the cluster.
/// The private key of a file is the one in it, else NAME.key, key.pem or tls.key beside it; of a Secret its tls.key. A
/// server is spoken to by TLS 1.2 or 1.3, and its name is HOST. No byte of a private key is shown.
///
/// Exit codes: 0 nothing is wrong; 1 something is: each finding has its problem and its fix; 2 it could not be looked
/// at, or the arguments are wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// FILE, HOST:PORT or secret/NAME; a file with such a name is written ./NAME.
    #[arg(value_name = "TARGET")]
    target: String,
    /// Private key that must belong to the certificate.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Certificates that clients trust. Default for a server: the system's roots; for a Secret its ca.crt.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Name or address that the certificate must cover. Default for a server: HOST.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Namespace of the Secret. Default: the context's.
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    File(PathBuf),
    Server { host: String, port: u16 },
    Secret(String),
}

/// The answer and its exit code.
pub fn run(arguments: &Arguments, now: Timestamp) -> Result<(String, u8)> {
    let name = arguments.server_name.as_deref().map(server_name).transpose()?;
    let mut found = match Target::of(&arguments.target) {
        Target::File(path) => file(&path)?,
        Target::Server { host, port } => {
            let name = name.clone().map_or_else(|| server_name(&host), Ok)?;
            let anchors = if arguments.ca.is_none() { Some(server::roots()?) } else { None };
            let seen = wait(server::look(&host, port, &name))?;
            Material { name: Some(name), anchors, ..seen }
        }
        Target::Secret(name) => {
            wait(secret::read(&name, arguments.namespace.as_deref(), arguments.context.as_deref()))?
        }
    };
    if let Some(path) = &arguments.key {
        let place = place(path);
        let key = material::key(&place, &read(path)?);
        found.key = Some(key.with_context(|| format!("{place} holds no private key in PEM"))?);
    }
    if let Some(path) = &arguments.ca {
        let place = place(path);
        found.anchors = Some(Anchors { certificates: material::certificates(&place, &read(path)?)?, place });
    }
    let report = examine(&Material { name: found.name.take().or(name), ..found }, now)?;
    let answer = match arguments.output {
        Output::Text => report.text()?,
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    Ok((answer, u8::from(!report.ok)))
}

impl Target {
    fn of(text: &str) -> Self {
        if let Some(name) = text.strip_prefix("secret/") {
            return Self::Secret(name.into());
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && let Ok(port) = port.parse()
            && !host.is_empty()
            && !host.contains('/')
        {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            return Self::Server { host: host.into(), port };
        }
        Self::File(text.into())
    }
}

fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn server_name(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .ok()
        .with_context(|| format!("{name:?} is neither a host name nor an address"))
}

fn file(path: &Path) -> Result<Material> {
    let bytes = read(path).context("TARGET is a file, HOST:PORT or secret/NAME")?;
    let place = place(path);
    let chain = material::chain(&place, &bytes)?;
    let key = material::key(&place, &bytes);
    let key = if key.is_some() || path == Path::new("-") { key } else { beside(path, &chain)? };
    Ok(Material { target: place, chain, key, anchors: None, name: None, connection: None })
}

/// The key beside a certificate. An authority's is kept elsewhere: what lies beside it is another's.
fn beside(path: &Path, chain: &[rustls::pki_types::CertificateDer<'_>]) -> Result<Option<Key>> {
    let first = x509_parser::parse_x509_certificate(&chain[0]);
    if first.is_ok_and(|(_, certificate)| certificate.is_ca()) {
        return Ok(None);
    }
    let names = [path.with_extension("key"), path.with_file_name("key.pem"), path.with_file_name("tls.key")];
    let Some(path) = names.into_iter().find(|name| name != path && name.is_file()) else { return Ok(None) };
    let place = place(&path);
    match File::open(&path) {
        Ok(_) => Ok(material::key(&place, &read(&path)?)),
        // It was not asked for: certificates are public, and their keys another user's.
        Err(error) => Ok(Some(Key { place, half: Half::Unread(error.to_string()) })),
    }
}

/// What answers call a file.
fn place(path: &Path) -> String {
    if path == Path::new("-") { "the standard input".into() } else { path.display().to_string() }
}

/// A whole file, or the standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>> {
    let reading = || format!("read {}", place(path));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).with_context(reading)?)
    };
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).with_context(reading)?;
    ensure!(bytes.len() as u64 <= LARGEST, "{} is larger than {LARGEST} bytes", place(path));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_how_it_is_written() {
        let server = |host: &str, port| Target::Server { host: host.into(), port };
        for (text, expected) in [
            ("secret/shop-tls", Target::Secret("shop-tls".into())),
            ("shop.example.com:443", server("shop.example.com", 443)),
            ("127.0.0.1:8443", server("127.0.0.1", 8443)),
            ("[::1]:8443", server("::1", 8443)),
            ("cert.pem", Target::File("cert.pem".into())),
            ("./secret/shop", Target::File("./secret/shop".into())),
            ("./a:443", Target::File("./a:443".into())),
            ("a:b", Target::File("a:b".into())),
            (":443", Target::File(":443".into())),
            ("a:65536", Target::File("a:65536".into())),
        ] {
            assert_eq!(Target::of(text), expected, "{text}");
        }
    }
}
