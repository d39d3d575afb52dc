//! A database with accounts of one key, and programs that have that key and others.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use api_server::encryption::Keys;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tempfile::TempDir;
use testbed::postgres::{Options, Postgres};

use crate::{
    backed::{Client, PASSWORD, login},
    process::{Service, command, policy},
    provider::Provider,
};

pub const A: &str = "canary-key-a-of-thirty-two-characters";
pub const B: &str = "canary-key-b-of-thirty-two-characters";
pub const C: &str = "canary-key-c-of-thirty-two-characters";

/// Its name.
pub const DATABASE: &str = "service";

/// The service stops before it.
pub struct Scene {
    pub postgres: Postgres,
    pub url: String,
    provider: Provider,
    /// All replicas sign with one key.
    signing_key: String,
}

impl Scene {
    /// With so many accounts under A, each with a provider key.
    pub fn start(accounts: usize) -> Self {
        Self::with("", accounts)
    }

    pub fn with(settings: &str, accounts: usize) -> Self {
        let scene = Self::bare(settings);
        scene.postgres.database(DATABASE).unwrap();
        let migrated = scene.tool(A, None, &["migrate", "up"], "");
        assert!(migrated.status.success(), "{migrated:?}");
        let service = scene.service(A, None);
        for number in 0..accounts {
            let made = scene.tool(A, None, &["account", "add", &email(number), "--role", "editor"], PASSWORD);
            assert!(made.status.success(), "{made:?}");
            let key = json!({ "key": provider_key(number) });
            assert_eq!(client(&service, number).ask("PUT", "/provider-key", Some(&key)).status, 204);
        }
        scene
    }

    /// A server that does not have the database yet.
    pub fn bare(settings: &str) -> Self {
        let postgres = Postgres::start_with(&Options { settings, ..Options::default() }).unwrap();
        let provider = Provider::start(&[(200, r#"{"choices": [{"message": {"content": "Cats."}}]}"#)]);
        let signing_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let url = postgres.url().rsplit_once('/').map(|(server, _)| format!("{server}/{DATABASE}")).unwrap();
        Self { postgres, url, provider, signing_key }
    }

    pub fn sql(&self, statements: &str) -> String {
        self.postgres.sql(DATABASE, statements).unwrap()
    }

    /// Settings of everything that is started here.
    fn settings<'a>(&'a self, current: &'a str, previous: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let mut settings = vec![("DATABASE_URL", self.url.as_str()), ("ENCRYPTION_KEY", current)];
        settings.extend(previous.map(|key| ("ENCRYPTION_KEY_PREVIOUS", key)));
        settings
    }

    pub fn service(&self, current: &str, previous: Option<&str>) -> Service {
        self.serve(&self.settings(current, previous))
    }

    /// One that has the key in a directory.
    pub fn service_of_files(&self, current: &str) -> (Service, TempDir) {
        let dir = TempDir::new().unwrap();
        write(&dir, "ENCRYPTION_KEY", current);
        let settings = [("DATABASE_URL", self.url.as_str()), ("SECRETS_DIR", dir.path().to_str().unwrap())];
        (self.serve(&settings), dir)
    }

    fn serve(&self, settings: &[(&str, &str)]) -> Service {
        let policy = policy(r#"{"version": 1, "rateLimits": {}}"#);
        let (path, provider) = (policy.path().to_str().unwrap().to_owned(), self.provider.url());
        let more = [
            ("POLICY_FILE", path.as_str()),
            ("JWT_SIGNING_KEY", &self.signing_key),
            ("AI_BASE_URL", &provider),
            ("AI_API_KEY", "sk-of-the-service"),
        ];
        let mut service = Service::start(&[settings, &more].concat());
        service.keep(policy);
        service
    }

    pub fn command(&self, current: &str, previous: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = command(&self.settings(current, previous));
        command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn tool(&self, current: &str, previous: Option<&str>, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(current, previous, arguments).spawn().unwrap();
        // One that reads nothing may have ended.
        let _ = writeln!(child.stdin.take().unwrap(), "{input}");
        child.wait_with_output().unwrap()
    }

    /// Its exit code and what it says; which is never a secret.
    pub fn rotate(&self, current: &str, previous: Option<&str>, flags: &[&str]) -> (Option<i32>, String) {
        let done = self.tool(current, previous, &[&["rotate-encryption-key"], flags].concat(), "");
        let text = output(&done);
        assert!(!self.secrets().iter().any(|secret| text.contains(secret)), "{text}");
        (done.status.code(), text)
    }

    /// Whether the account logs in by its address, and its row's key of the provider is readable with the service's keys.
    pub fn usable(&self, service: &Service, number: usize) -> bool {
        let Some(client) = log_in(service, number) else { return false };
        let before = self.provider.asked().len();
        let video = client.video("Cats");
        let asked = client.post("/analyze", &json!({ "videoId": video["id"], "question": "What is it?" }));
        assert_eq!(asked.status, 202, "{asked:?}");
        let job = asked.header("location").to_owned();
        let state = crate::process::wait_until("the job's end", || {
            let state = client.get(&job).json()["state"].as_str().unwrap().to_owned();
            ["succeeded", "failed"].contains(&state.as_str()).then_some(state)
        });
        let head = format!("Bearer {}\r\n", provider_key(number));
        state == "succeeded" && self.provider.asked()[before..].iter().any(|asked| asked.head.contains(&head))
    }

    /// The number that a count of the command says.
    pub fn of_key(&self, column: &str, which: &str, current: &str, previous: &str) -> usize {
        let (_, text) = self.rotate(current, Some(previous), &["--dry-run"]);
        let line = text.lines().find(|line| line.starts_with(column)).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let place = words.iter().position(|word| word.trim_end_matches(',') == which).unwrap();
        words[place - 3].parse().unwrap()
    }

    /// Rows as versions before the fingerprint have left them.
    pub fn forget_fingerprints(&self) {
        let forget = "UPDATE api.accounts SET key_id = NULL, provider_key_id = NULL;
                      UPDATE api.refresh_tokens SET key_id = NULL";
        self.sql(forget);
    }

    /// Each row with the transaction that wrote it.
    pub fn rows(&self) -> String {
        let rows = "SELECT id, xmin, md5(a::text) FROM api.accounts a ORDER BY id;
                    SELECT id, xmin, md5(t::text) FROM api.refresh_tokens t ORDER BY id";
        self.sql(rows)
    }

    /// What nobody but the service and its owner may see.
    pub fn secrets(&self) -> Vec<String> {
        let password = self.url.split([':', '@']).nth(2).unwrap().to_owned();
        let derived = [A, B, C].map(|secret| {
            let keys = Keys::derive(&secret.to_owned().into(), None).unwrap();
            keys.column().expose_secret().to_owned()
        });
        let plain = ["person-0@example.com", "provider-key-of-0", "canary-key", &password].map(str::to_owned);
        plain.into_iter().chain(derived).collect()
    }
}

pub fn client(service: &Service, number: usize) -> Client {
    log_in(service, number).unwrap()
}

fn log_in(service: &Service, number: usize) -> Option<Client> {
    let answer = login(service.api, &email(number), PASSWORD);
    let tokens = (answer.status == 200).then(|| answer.json())?;
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    Some(Client { api: service.api, access: text("accessToken"), refresh: text("refreshToken") })
}

fn email(number: usize) -> String {
    format!("person-{number}@example.com")
}

fn provider_key(number: usize) -> String {
    format!("sk-provider-key-of-{number}")
}

pub fn write(dir: &TempDir, name: &str, value: &str) {
    // By a rename, so that nobody reads half of it.
    let new = dir.path().join(".new");
    fs::write(&new, value).unwrap();
    fs::rename(&new, dir.path().join(name)).unwrap();
}

pub fn output(of: &Output) -> String {
    String::from_utf8_lossy(&of.stdout).into_owned() + &String::from_utf8_lossy(&of.stderr)
}
