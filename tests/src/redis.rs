//! A real Redis of one test's own, from Debian's package. It keeps nothing on disk.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::daemon::{self, Daemon};
use crate::etcd::free_port;

const PROGRAM: &str = "/usr/bin/redis-server";
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A running server; dropping it kills it.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself or in a thread
/// that lives as long, not in a worker that ends sooner.
pub struct Redis {
    daemon: Daemon,
    port: u16,
    password: String,
}

impl Redis {
    /// Starts it on a free loopback port with a random password; it answers when this returns.
    pub fn start() -> Result<Self> {
        ensure!(PathBuf::from(PROGRAM).exists(), "{PROGRAM} is missing: run tests/install-debian.sh");
        let mut daemon = Daemon::new("redis", PROGRAM.into(), daemon::unprivileged("redis")?, Signal::TERM)?;
        let (port, password) = (free_port()?, daemon::password()?);
        let folder = daemon.folder().display();
        // In a file, because every user of the machine can read arguments.
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nunixsocket {folder}/redis.sock\ndir {folder}\n\
             save \"\"\nappendonly no\nrequirepass {password}\n"
        );
        let file = daemon.write("redis.conf", &settings)?;
        daemon.set_args(&[&file.display().to_string()]);
        let mut redis = Self { daemon, port, password };
        redis.start_again()?;
        Ok(redis)
    }

    /// Where clients reach it, with the password.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs one command and gives the answer as Redis wrote it, such as `+PONG` or `:3`; an error of Redis is an error.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        command(self.port, &self.password, words)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it and so forgets all keys.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it after `stop`, on the same port, empty.
    pub fn start_again(&mut self) -> Result<()> {
        let (port, password) = (self.port, &self.password);
        self.daemon.start(|_| command(port, password, &["PING"]).map(drop))
    }

    /// Sends a signal: SIGSTOP and SIGCONT make a server that takes connections and never answers.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }
}

/// Without a client library: each word by its length, as RESP has it, and the answer until the server closes.
fn command(port: u16, password: &str, words: &[&str]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    for words in [&["AUTH", password][..], words, &["QUIT"]] {
        write!(stream, "*{}\r\n", words.len())?;
        for word in words {
            write!(stream, "${}\r\n{word}\r\n", word.len())?;
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("+OK\r\n"), "redis: {}", answer.trim_end());
    let answer = answer.trim_start_matches("+OK\r\n").trim_end_matches("+OK\r\n").trim_end();
    ensure!(!answer.starts_with('-'), "redis: {answer}");
    Ok(answer.replace("\r\n", "\n"))
}
