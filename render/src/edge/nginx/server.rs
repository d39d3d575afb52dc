//! The three servers: plain HTTP, hosts that are not ours, and the app.

use super::Host;
use crate::edge::{EdgeError, headers::OWN_CSP, limits::Limit, quote};

/// What nginx says by itself, as the app says it: RFC 9457, and no word of nginx.
const PROBLEM: &str = r#"
        error_page 400 403 404 405 408 411 413 414 415 416 421 429 494 495 496 497 500 501 502 503 504 505 /.edge/problem;
        location = /.edge/problem {
            internal;
            default_type application/problem+json;
            add_header Content-Security-Policy "OWN_CSP" always;
            add_header Cache-Control "no-store, max-age=0" always;
            add_header X-Request-Id $request_id always;
MORE            return 200 '{"type":"about:blank","status":$status,"requestId":"$request_id"}';
        }
"#;

/// Not for the whole server: that would refuse the page of the refusal too.
const REFUSED: &str = "        location / {
            return 421;
        }
";

/// Types of what browsers load; with `nosniff` everything else is not run and not shown.
const TYPES: &str = "
            types {
                text/html html;
                text/css css;
                text/javascript js mjs;
                text/plain txt;
                application/json json map;
                application/manifest+json webmanifest;
                application/wasm wasm;
                image/svg+xml svg;
                image/png png;
                image/jpeg jpg jpeg;
                image/gif gif;
                image/webp webp;
                image/avif avif;
                image/x-icon ico;
                font/woff2 woff2;
                font/woff woff;
                video/mp4 mp4;
                video/webm webm;
            }
            default_type application/octet-stream;
";

/// Answers with the way to HTTPS, and to nobody else's host.
pub fn plain(hosts: &[String], host: &Host) -> Result<String, EdgeError> {
    let to = match host.listen.https {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let problem = problem("");
    Ok(format!(
        "    server {{
{}        add_header Content-Security-Policy \"{OWN_CSP}\" always;
{problem}{REFUSED}    }}

    server {{
{}        server_name {};
        add_header Content-Security-Policy \"{OWN_CSP}\" always;
{problem}
        location / {{
            return 301 https://$host{to}$request_uri;
        }}
        # An ACME client (certbot --webroot -w /var/www/acme) proves here whose host this is.
        location ^~ /.well-known/acme-challenge/ {{
            root /var/www/acme;
            default_type text/plain;
            try_files $uri =404;
        }}
    }}
",
        listen(host, host.listen.http, " default_server")?,
        listen(host, host.listen.http, "")?,
        hosts.join(" "),
    ))
}

/// Whoever asks for another host: no handshake, and where the handshake was for ours no answer of the app.
pub fn strangers(host: &Host) -> Result<String, EdgeError> {
    let http2 = http2(host);
    Ok(format!(
        "    server {{
{}{}        ssl_reject_handshake on;
        add_header Content-Security-Policy \"{OWN_CSP}\" always;
{}{REFUSED}    }}
",
        listen(host, host.listen.https, &format!(" default_server ssl{}", http2.0))?,
        http2.1,
        problem("")
    ))
}

/// The app, behind the limits.
pub fn app(hosts: &[String], host: &Host, limits: &[Limit]) -> Result<String, EdgeError> {
    let http2 = http2(host);
    let counted: Vec<_> = (1..)
        .zip(limits)
        .map(|(number, limit)| match limit.requests - 1 {
            0 => format!("        limit_req zone=limit_{number};\n"),
            burst => format!("        limit_req zone=limit_{number} burst={burst} nodelay;\n"),
        })
        .collect();
    Ok(format!(
        "    server {{
{}{}        server_name {};
        ssl_certificate {};
        ssl_certificate_key {};
        add_header Content-Security-Policy \"{OWN_CSP}\" always;
{}{}
{FORWARDED}{}    }}
",
        listen(host, host.listen.https, &format!(" ssl{}", http2.0))?,
        http2.1,
        hosts.join(" "),
        quote::file("certificate", &host.files.certificate)?,
        quote::file("key", &host.files.key)?,
        counted.concat(),
        problem(if limits.is_empty() { "" } else { LIMITED }),
        static_files(host)?,
    ))
}

/// `$host` is one of ours here, without a port. What a client claims of its address goes no further.
const FORWARDED: &str = "        location / {
            proxy_pass https://app;
            proxy_set_header Host $host;
            proxy_set_header Connection \"\";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host \"\";
            proxy_set_header X-Real-IP \"\";
            proxy_set_header Forwarded \"\";
            proxy_set_header X-Request-Id $request_id;
            add_header Content-Security-Policy $csp_where_none always;
        }
";

fn static_files(host: &Host) -> Result<String, EdgeError> {
    let Some(folder) = &host.files.static_folder else { return Ok(String::new()) };
    let field = "static folder";
    let folder = folder.trim_end_matches('/');
    // With a slash at the end of both, `/static../` is no way out.
    let alias = quote::file(field, &format!("{folder}/"))?;
    let from = quote::text(field, &format!("from={folder}/"))?;
    Ok(format!(
        "
        # Names of files that change with their content: browsers never ask again.
        location ^~ /static/ {{
            alias {alias};
            disable_symlinks on {from};
            try_files $uri =404;
            location ~ \"/[.]\" {{ return 404; }}
            add_header Content-Security-Policy \"{OWN_CSP}\" always;
            add_header Cache-Control \"public, max-age=31536000, immutable\";{TYPES}        }}
"
    ))
}

fn problem(more: &str) -> String {
    PROBLEM.replace("OWN_CSP", OWN_CSP).replace("MORE", more)
}

/// Empty, and so not sent, with every status but 429.
const LIMITED: &str = "            add_header Retry-After $retry_after always;
            add_header X-RateLimit-Limit $ratelimit_limit always;
            add_header X-RateLimit-Remaining $ratelimit_remaining always;
            add_header X-RateLimit-Reset $ratelimit_reset always;
";

/// The word of `listen`, or the line that replaced it.
fn http2(host: &Host) -> (&'static str, &'static str) {
    if host.version.has_http2_directive() { ("", "        http2 on;\n") } else { (" http2", "") }
}

fn listen(host: &Host, port: u16, words: &str) -> Result<String, EdgeError> {
    let mut lines = Vec::new();
    for address in &host.listen.addresses {
        let address = format!("{address}:{port}");
        lines.push(format!("        listen {}{words};\n", quote::address("listen", &address)?));
    }
    Ok(lines.concat())
}
