//! A complete `nginx.conf` for a plain host: TLS, headers, limits and static files in front of the workload.

mod server;
mod version;

use crds::HardenedService;
use kube::ResourceExt;

pub use self::version::Version;
use super::{
    EdgeError, Files, NotExpressible, Upstream, headers,
    limits::{self, Limit},
    quote,
};

/// Suites with a fresh key for each connection and authenticated encryption; of TLS 1.3 all are.
const SUITES: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                      ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/// Everything besides the resource that the file depends on.
#[derive(Clone, Debug)]
pub struct Host {
    /// The workload.
    pub upstream: Upstream,
    /// Files that nginx reads.
    pub files: Files,
    /// Where it listens.
    pub listen: Listen,
    /// The version of nginx.
    pub version: Version,
}

/// Where nginx listens.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Addresses of the host, as nginx writes them.
    pub addresses: Vec<String>,
    /// Port for plain HTTP, which answers with the way to HTTPS only.
    pub http: u16,
    /// Port for HTTPS.
    pub https: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { addresses: vec!["0.0.0.0".into(), "[::]".into()], http: 80, https: 443 }
    }
}

/// The text, and what of the spec is not in it.
#[derive(Clone, Debug)]
pub struct Conf {
    /// The file.
    pub text: String,
    /// What this nginx cannot do, and who does instead.
    pub not_expressible: Vec<NotExpressible>,
}

/// The configuration of an nginx with the module headers-more.
pub fn conf(service: &HardenedService, host: &Host) -> Result<Conf, EdgeError> {
    let (limits, mut not_expressible) = limits::limits(service)?;
    let hosts = hosts(service, &mut not_expressible)?;
    not_expressible.push(NotExpressible {
        field: "spec.headers".into(),
        here: "Content-Security-Policy with its nonce and Cache-Control of answers are the app's".into(),
        instead: "what nginx answers by itself may load nothing".into(),
    });
    let http = [
        CONNECTIONS.into(),
        tls(),
        fixed_headers(service)?,
        counted(&limits),
        LOG.into(),
        upstream(host)?,
        server::plain(&hosts, host)?,
        server::strangers(host)?,
        server::app(&hosts, host, &limits)?,
    ];
    let head = head(&service.name_any(), host, &not_expressible)?;
    let text = format!("{head}\n{MAIN}\nhttp {{\n{}}}\n", http.join("\n"));
    Ok(Conf { text, not_expressible })
}

/// Names that clients use. Without any only the host itself can ask.
fn hosts(service: &HardenedService, lost: &mut Vec<NotExpressible>) -> Result<Vec<String>, EdgeError> {
    let names = service.spec.exposure.iter().flat_map(|exposure| &exposure.hostnames);
    let mut hosts = Vec::new();
    for name in names {
        let name = quote::host("spec.exposure.hostnames", name)?.to_owned();
        if !hosts.contains(&name) {
            hosts.push(name);
        }
    }
    if hosts.is_empty() {
        lost.push(NotExpressible {
            field: "spec.exposure.hostnames".into(),
            here: "is empty, so nginx answers to https://localhost only".into(),
            instead: "name the hosts that clients use".into(),
        });
        hosts.push("localhost".into());
    }
    Ok(hosts)
}

fn head(name: &str, host: &Host, lost: &[NotExpressible]) -> Result<String, EdgeError> {
    let name = quote::name("metadata.name", name)?;
    // Nothing in these lines has a line break: numbers, and names that were looked at.
    let lost = lost.iter().map(|lost| format!("#   {lost}\n")).collect::<Vec<_>>().concat();
    Ok(format!(
        "# nginx {} in front of HardenedService {name}; written by `kubectl hardened nginx`, so change the resource instead.\n\
         # Not expressed here:\n{lost}",
        host.version
    ))
}

const MAIN: &str = "\
# Debian: libnginx-mod-http-headers-more-filter. Without it nginx adds its headers beside those of the app.
load_module modules/ngx_http_headers_more_filter_module.so;
user www-data;
worker_processes auto;
error_log stderr warn;

events {
    worker_connections 1024;
}
";

const CONNECTIONS: &str = "    server_tokens off;
    server_names_hash_bucket_size 512;
    variables_hash_max_size 2048;
    sendfile on;
    tcp_nopush on;
    reset_timedout_connection on;
    client_header_timeout 10s;
    client_body_timeout 10s;
    send_timeout 30s;
    keepalive_timeout 60s;
    # What the app takes at most, too.
    client_max_body_size 256k;
    large_client_header_buffers 4 8k;
";

fn tls() -> String {
    format!(
        "    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers {SUITES};
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:tls:10m;
    ssl_session_timeout 1h;
    # The key of tickets would outlive the connections that it protects.
    ssl_session_tickets off;
"
    )
}

fn fixed_headers(service: &HardenedService) -> Result<String, EdgeError> {
    let lines = headers::fixed(service)?;
    let lines: Vec<_> = lines.iter().map(|line| format!("    more_set_headers {line};\n")).collect();
    Ok(format!(
        "    # On every answer, over whatever the app has sent.
{}    # The app's own policy passes, with its nonce; this one is for answers without any.
    map $upstream_http_content_security_policy $csp_where_none {{
        default \"\";
        \"\" {};
    }}
",
        lines.concat(),
        headers::csp_where_none(service)?
    ))
}

fn counted(limits: &[Limit]) -> String {
    if limits.is_empty() {
        return String::new();
    }
    let (mut rules, mut keys, mut all) = (Vec::new(), Vec::new(), String::new());
    for (number, limit) in (1..).zip(limits) {
        let Limit { title, rate, .. } = limit;
        match &limit.pattern {
            Some(pattern) => rules.push(format!("        {pattern} {number};\n")),
            None => all = number.to_string(),
        }
        keys.push(format!(
            "    # {title}\n    map $rule $limit_{number} {{ default \"\"; {number} $binary_remote_addr; }}\n    \
             limit_req_zone $limit_{number} zone=limit_{number}:8m rate={rate};\n"
        ));
    }
    format!(
        "    # The first that matches counts. $uri is decoded and without /./ and //, as the app reads it; \\z is its end.
    map \"$request_method:$uri\" $rule {{
        default \"{all}\";
        {} \"\";
{}    }}
{}{}{}{}    map $ratelimit_limit $ratelimit_remaining {{
        default 0;
        \"\" \"\";
    }}
    limit_req_status 429;
    limit_req_log_level warn;
",
        limits::PROBES,
        rules.concat(),
        keys.concat(),
        refused("retry_after", limits, |limit| limit.wait),
        refused("ratelimit_limit", limits, |limit| limit.requests.into()),
        refused("ratelimit_reset", limits, |limit| limit.reset),
    )
}

/// What the answer to one request too many says of its limit.
fn refused(variable: &str, limits: &[Limit], of: impl Fn(&Limit) -> u64) -> String {
    let lines: Vec<_> = (1..)
        .zip(limits)
        .map(|(number, limit)| format!("        \"429:{number}\" {};\n", of(limit)))
        .collect();
    format!("    map \"$status:$rule\" ${variable} {{\n        default \"\";\n{}    }}\n", lines.concat())
}

const LOG: &str = r#"    # As it was asked for, also where the answer is a page of this file; without the query, which is nobody's business.
    map $request $asked_method { default ""; "~^(?<method_only>[A-Z]+) " $method_only; }
    map $request_uri $asked_path { default ""; "~^(?<path_only>[^?]*)" $path_only; }
    log_format edge escape=json '{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
        '"host":"$host","method":"$asked_method","path":"$asked_path","status":$status,"bytes":$body_bytes_sent,'
        '"seconds":$request_time,"app_seconds":"$upstream_response_time"}';
    access_log /var/log/nginx/access.log edge;
"#;

fn upstream(host: &Host) -> Result<String, EdgeError> {
    let Upstream { address, server_name, ca } = &host.upstream;
    let (address, ca) = (quote::address("upstream", address)?, quote::file("upstream CA", ca)?);
    let name = quote::host("upstream name", server_name)?;
    Ok(format!(
        "    upstream app {{
        server {address};
        keepalive 32;
    }}
    # The app is whoever has a certificate for this name from this authority, and nobody else.
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_trusted_certificate {ca};
    proxy_ssl_server_name on;
    proxy_ssl_name {name};
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_ssl_ciphers {SUITES};
    proxy_connect_timeout 5s;
    proxy_send_timeout 30s;
    proxy_read_timeout 60s;
    proxy_http_version 1.1;
    proxy_redirect off;
"
    ))
}
