//! A vault that is not on this machine, reached through a proxy: its token goes to Azure's names alone.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use testbed::lowkey::{JAR, NAMES};

use super::{Login, vault};
use crate::{secrets::check, tokens::Key};

/// A proxy that leads each name to the same port.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = asked.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                kept.lock().unwrap().push(lead(client, port).unwrap());
            }
        });
        Self { address, asked }
    }
}

/// Gives what it was asked for.
fn lead(mut client: TcpStream, port: u16) -> io::Result<String> {
    // The client says nothing more before it has an answer.
    let mut lines = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
    let asked = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let server = TcpStream::connect(("127.0.0.1", port))?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            // Either side may break it off.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(asked)
}

#[test]
#[ignore = "soak: needs LOWKEY_VAULT_JAR, the jar of lowkey-vault-app on Maven Central"]
fn only_a_server_with_a_name_and_a_certificate_of_azure_is_given_a_token_of_azure() {
    let Some(vault) = vault() else {
        println!("SOAK azure, elsewhere: not run, {JAR} is not set");
        return;
    };
    let version = vault.put("JWT-SIGNING-KEY", &Key::ed25519("").pem, None).unwrap();
    let [azure, other] = NAMES;
    for (name, right) in [(azure, true), (other, false), ("stranger.vault.azure.net", false)] {
        let (mut login, proxy) = (Login::by_managed_identity(&vault), Proxy::start(vault.port()));
        login.set("AZURE_VAULT_URL", &format!("https://{name}"));
        login.set("HTTPS_PROXY", &format!("http://{}", proxy.address));
        if right {
            assert_eq!(login.row("JWT_SIGNING_KEY"), ["JWT_SIGNING_KEY", "azure", &*version, "-"]);
        } else {
            let (code, table, problems) = check(&login.settings(), &[]);
            assert_eq!(code, Some(2), "{table} {problems}");
        }
        let led = proxy.asked.lock().unwrap().clone();
        assert!(led.iter().any(|line| line.starts_with(&format!("CONNECT {name}:443 "))), "{led:?}");
        let asked = login.provider.asked();
        assert_eq!(!asked.is_empty(), right, "{name}: {asked:?}");
        let of_azure = "resource=https%3A%2F%2Fvault.azure.net ";
        assert!(asked.iter().all(|asked| asked.head.contains(of_azure)), "{asked:?}");
    }
}
