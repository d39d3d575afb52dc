//! `kubectl hardened nginx`: the configuration of an nginx in front of an app on a plain host. It reads one file, no cluster
//! and no certificate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use render::edge::nginx::{Host, Listen, Version, conf};
use render::edge::{Files, Upstream};

use crate::source;

/// Print the nginx.conf for an app on a plain host: TLS, headers, limits and static files of a HardenedService.
///
/// What nginx cannot do of it stands at the head and on the standard error, with who does it instead. nginx needs the
/// module headers-more (Debian: nginx-light, libnginx-mod-http-headers-more-filter). For docker-compose:
/// `kubectl hardened nginx -f studio.yaml --upstream app:8443 > nginx.conf`, and at the service nginx
/// `volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro", "./tls:/etc/nginx/tls:ro"]`.
/// `kubectl hardened cert --out tls --san HOST` makes a certificate for a try.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// File with one HardenedService; `-` reads the standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Where the app serves HTTPS, as nginx reaches it.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8443")]
    upstream: String,
    /// Authority of the app's certificate. nginx speaks to nobody else.
    #[arg(long, value_name = "FILE", default_value = "/etc/nginx/tls/app-ca.pem")]
    upstream_ca: String,
    /// Name in the app's certificate. Default: HOST of --upstream, and localhost where that is an address.
    #[arg(long, value_name = "NAME")]
    upstream_name: Option<String>,
    /// Certificate for clients, with its chain.
    #[arg(long, value_name = "FILE", default_value = "/etc/nginx/tls/cert.pem")]
    certificate: String,
    /// Its private key.
    #[arg(long, value_name = "FILE", default_value = "/etc/nginx/tls/key.pem")]
    key: String,
    /// Folder to serve below /static/, cached for ever: its files change their names with their content.
    #[arg(long = "static", value_name = "DIR")]
    static_folder: Option<String>,
    /// Version of nginx; from 1.25.1 on HTTP/2 is written another way.
    #[arg(long, value_name = "VERSION", default_value = "1.22")]
    nginx_version: Version,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let service = service(&arguments.file)?;
    let host = Host {
        upstream: Upstream {
            address: arguments.upstream.clone(),
            server_name: arguments.upstream_name.clone().unwrap_or_else(|| name(&arguments.upstream)),
            ca: arguments.upstream_ca.clone(),
        },
        files: Files {
            certificate: arguments.certificate.clone(),
            key: arguments.key.clone(),
            static_folder: arguments.static_folder.clone(),
        },
        listen: Listen::default(),
        version: arguments.nginx_version,
    };
    let conf = conf(&service, &host)?;
    for lost in conf.not_expressible {
        eprintln!("note: {lost}");
    }
    Ok(conf.text)
}

fn service(file: &Path) -> Result<crds::HardenedService> {
    let services = source::services(file, None)?;
    let count = services.len();
    ensure!(count == 1, "{} holds {count} HardenedServices; one nginx.conf is for one", file.display());
    services.into_iter().next().context("no HardenedService")
}

/// nginx compares names only, no addresses.
fn name(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address { "localhost".into() } else { host.into() }
}
