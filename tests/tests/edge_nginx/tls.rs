//! Connections as clients make them, good ones and bad ones.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::scene::{Answer, HOST, ONE, Scene, exchange};
use crate::{NO_LIMITS, check, check_own};

#[test]
fn tls_is_served_for_our_hosts_alone_with_http2() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    let stream = scene.handshake(ONE, HOST, scene.client(&["h2", "http/1.1"])?)?;
    ensure!(stream.conn.alpn_protocol() == Some(b"h2".as_slice()), "{:?}", stream.conn.alpn_protocol());
    ensure!(stream.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3));
    ensure!(stream.conn.peer_certificates().and_then(|all| all.first()) == Some(&scene.certificate));
    // Without SNI, and for another name, not even a certificate is shown.
    for (name, sni) in [("evil.example", true), (HOST, false)] {
        let mut config = scene.client(&[])?;
        config.enable_sni = sni;
        let refused =
            scene.handshake(ONE, name, config).err().context("a handshake for a stranger")?.to_string();
        ensure!(refused.contains("UnrecognisedName"), "{refused}");
    }
    for line in ["GET /", "GET https://evil.example/"] {
        let foreign = scene.ask(ONE, line, "host: evil.example\r\n", "")?;
        check_own(&foreign, 421)?;
    }
    // HTTP to the port of HTTPS.
    let mut plain = std::net::TcpStream::connect(("127.0.0.1", scene.https))?;
    check_own(&exchange(&mut plain, "GET /", &format!("host: {HOST}\r\n"), "")?, 400)
}

#[test]
fn old_versions_weak_suites_and_tickets_are_not_had() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    let (good, cbc, sha1) = (0xc02b, 0xc023, 0xc009);
    let answer = hello(&scene, 0x0303, good)?;
    ensure!(answer.first() == Some(&0x16) && answer.get(5) == Some(&2), "no ServerHello: {answer:02x?}");
    let length = usize::from(answer[7]) * 256 + usize::from(answer[8]);
    let server_hello = &answer[9..9 + length];
    ensure!(!server_hello.windows(4).any(|bytes| bytes == [0, 0x23, 0, 0]), "a ticket: {server_hello:02x?}");
    for (version, suite, alert) in
        [(0x0303, cbc, 40), (0x0303, sha1, 40), (0x0302, sha1, 70), (0x0301, sha1, 70)]
    {
        let answer = hello(&scene, version, suite)?;
        ensure!(
            answer.len() == 7 && answer[0] == 0x15 && answer[6] == alert,
            "{version:x} {suite:x}: {answer:02x?}"
        );
    }
    Ok(())
}

#[test]
fn over_http2_the_headers_and_limits_are_the_same() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    check(&http2(&scene, "GET", "/")?)?;
    check(&http2(&scene, "GET", "/missing")?)?;
    ensure!(http2(&scene, "POST", "/one")?.status == 200);
    let refused = http2(&scene, "POST", "/one")?;
    check_own(&refused, 429)?;
    ensure!(refused.header("retry-after")? == "63", "{:?}", refused.headers);
    Ok(())
}

/// The answer to a first message of this version, with this suite alone, that asks for a ticket.
fn hello(scene: &Scene, version: u16, suite: u16) -> Result<Vec<u8>> {
    let extension = |kind: u16, body: &[u8]| -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap_or_default();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
    };
    let name = u16::try_from(HOST.len())?;
    let names = [&(name + 3).to_be_bytes()[..], &[0], &name.to_be_bytes(), HOST.as_bytes()].concat();
    let extensions = [
        extension(0, &names),
        extension(10, &[0, 4, 0, 0x1d, 0, 0x17]),
        extension(11, &[1, 0]),
        extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 2, 3]),
        extension(0x23, &[]),
    ]
    .concat();
    let length = u16::try_from(extensions.len())?.to_be_bytes();
    let suite = suite.to_be_bytes();
    let body =
        [&version.to_be_bytes()[..], &[7; 32], &[0, 0, 2], &suite, &[1, 0], &length, &extensions].concat();
    let (message, record) = (u16::try_from(body.len())?, u16::try_from(body.len() + 4)?);
    let head = [&[0x16, 3, 1][..], &record.to_be_bytes(), &[1, 0], &message.to_be_bytes()].concat();
    let mut stream = TcpStream::connect(("127.0.0.1", scene.https))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    stream.write_all(&[head, body].concat())?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// By curl, the only client of HTTP/2 here.
fn http2(scene: &Scene, method: &str, path: &str) -> Result<Answer> {
    let address = format!("{HOST}:{}", scene.https);
    let ca = scene.folder.path().join("ca.pem");
    std::fs::write(&ca, &scene.ca)?;
    let mut curl = Command::new("curl");
    curl.args(["--http2", "-sSi", "--max-time", "10", "-X", method, "--cacert"]).arg(ca);
    curl.args(["--resolve", &format!("{address}:127.0.0.1"), &format!("https://{address}{path}")]);
    let output = curl.output().context("run curl")?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.starts_with("HTTP/2 "), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Answer::parse(&text)
}
