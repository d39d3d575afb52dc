//! A service with a Postgres of its own, and what tests do with both.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use testbed::postgres::Postgres;

use crate::{
    client::{Answer, connect, send},
    process::{Service, command},
};

pub const ENCRYPTION_KEY: &str = "encryption-key-of-32-characters!";
pub const PASSWORD: &str = "correct horse battery staple";

/// A database with its tables; the service stops first.
pub struct Backed {
    pub service: Service,
    pub postgres: Postgres,
    pub url: String,
}

/// Lets no test wait for a limit that it is not about.
const UNLIMITED: &str = r#"{"version": 1, "rateLimits": {}}"#;

impl Backed {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::reached(settings, Postgres::url)
    }

    /// Whose service reaches the database at another address than the database's own.
    pub fn reached(settings: &[(&str, &str)], url: impl FnOnce(&Postgres) -> String) -> Self {
        let postgres = Postgres::start().unwrap();
        let url = url(&postgres);
        let migrated = tool(&url, &["migrate", "up"], "");
        assert!(migrated.status.success(), "{migrated:?}");
        let service = start(&url, settings);
        Self { service, postgres, url }
    }

    /// Another replica.
    pub fn replica(&self, settings: &[(&str, &str)]) -> Service {
        start(&self.url, settings)
    }

    pub fn account(&self, email: &str, role: &str) -> Client {
        self.account_at(self.service.api, email, role)
    }

    /// An account that talks to another replica.
    pub fn account_at(&self, api: SocketAddr, email: &str, role: &str) -> Client {
        let made = tool(&self.url, &["account", "add", email, "--role", role], PASSWORD);
        assert!(made.status.success(), "{made:?}");
        let answer = login(api, email, PASSWORD);
        assert_eq!(answer.status, 200, "{answer:?}");
        let tokens = answer.json();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Client { api, access: text("accessToken"), refresh: text("refreshToken") }
    }
}

fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    let policy = crate::process::policy(UNLIMITED);
    let path = policy.path().to_str().unwrap().to_owned();
    let needed = [("DATABASE_URL", url), ("ENCRYPTION_KEY", ENCRYPTION_KEY), ("POLICY_FILE", &path)];
    let mut service = Service::start(&[&needed[..], settings].concat());
    service.keep(policy);
    service
}

/// Runs a command of the program with text on its standard input.
pub fn tool(url: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = command(&[("DATABASE_URL", url), ("ENCRYPTION_KEY", ENCRYPTION_KEY)])
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
    child.wait_with_output().unwrap()
}

/// Somebody who has logged in.
pub struct Client {
    pub api: SocketAddr,
    pub access: String,
    pub refresh: String,
}

impl Client {
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = format!("authorization: Bearer {}\r\n", self.access);
        request(self.api, method, path, &token, body)
    }

    /// A video of this client.
    pub fn video(&self, title: &str) -> Value {
        let answer = self.post("/videos", &json!({ "title": title, "url": "https://files.example/a.mp4" }));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }
}

pub fn login(api: SocketAddr, email: &str, password: &str) -> Answer {
    request(api, "POST", "/login", "", Some(&json!({ "email": email, "password": password })))
}

pub fn refresh(api: SocketAddr, token: &str) -> Answer {
    request(api, "POST", "/token/refresh", "", Some(&json!({ "refreshToken": token })))
}

pub fn request(api: SocketAddr, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
    let text = body.map_or_else(String::new, ToString::to_string);
    let kind = body.map_or("", |_| "content-type: application/json\r\n");
    let length = text.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}{kind}content-length: {length}\r\n\r\n{text}"
    );
    send(&mut connect(api), &request)
}
