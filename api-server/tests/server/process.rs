//! Starts the binary under test and reads its log. It stops what it started, also when a test fails.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::NamedTempFile;

/// A running service.
pub struct Service {
    pub api: SocketAddr,
    pub metrics: SocketAddr,
    child: Child,
    /// Files that it follows.
    files: Vec<NamedTempFile>,
    log: Arc<Mutex<Vec<Value>>>,
}

/// The binary with free ports and nothing from the environment of the test.
pub fn command(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-server"));
    prepare(&mut command, settings);
    command
}

fn prepare(command: &mut Command, settings: &[(&str, &str)]) {
    command
        .env_clear()
        .envs([("ENVIRONMENT", "development"), ("API_BIND", "127.0.0.1:0"), ("METRICS_BIND", "127.0.0.1:0")])
        .envs([("RELOAD_INTERVAL", "1"), ("WORKERS", "1"), ("DRAIN_DELAY", "0")])
        .envs(settings.iter().copied())
        .stdout(Stdio::piped());
}

/// A policy file.
pub fn policy(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

impl Service {
    /// With a policy file, which it follows.
    pub fn with_policy(text: &str) -> (Self, NamedTempFile) {
        let file = policy(text);
        (Self::start(&[("POLICY_FILE", file.path().to_str().unwrap())]), file)
    }

    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(&mut Command::new(env!("CARGO_BIN_EXE_api-server")), settings)
    }

    /// Starts it by another command.
    pub fn run(command: &mut Command, settings: &[(&str, &str)]) -> Self {
        prepare(command, settings);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut service = Self { api: unknown, metrics: unknown, child, files: Vec::new(), log };
        let serving = service.wait_for_log(|line| line["message"] == "serving");
        service.api = serving["api_addr"].as_str().unwrap().parse().unwrap();
        service.metrics = serving["metrics_addr"].as_str().unwrap().parse().unwrap();
        service
    }

    /// Keeps a file that it follows for as long as it runs.
    pub fn keep(&mut self, file: NamedTempFile) {
        self.files.push(file);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until("a log line", || self.log().into_iter().find(|line| wanted(line)))
    }

    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub fn exit(&mut self) -> ExitStatus {
        self.exit_within(Duration::from_secs(10))
    }

    pub fn exit_within(&mut self, limit: Duration) -> ExitStatus {
        wait_within(limit, "the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value, as soon as there is one; 10 s is the promise for a reload.
pub fn wait_until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    wait_within(Duration::from_secs(10), what, check)
}

pub fn wait_within<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
