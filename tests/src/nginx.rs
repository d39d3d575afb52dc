//! A real nginx of one test's own, from Debian's package. What it serves, and where, is the test's.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::daemon::{self, Daemon};

const PROGRAM: &str = "/usr/sbin/nginx";

/// Everything that is not the test's: one worker, and all files in its own folder.
const MAIN: &str = "daemon off; worker_processes 1; pid FOLDER/pid; error_log stderr info;
events { worker_connections 2048; }
http {
client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
";

/// A running server; dropping it kills it. As with `Redis`, start it in a thread that lives as long.
pub struct Nginx {
    daemon: Daemon,
}

impl Nginx {
    /// Starts it with this in its `http { }`, where FOLDER is its own folder, which holds these files too, by name and
    /// content; when it returns, something listens on the loopback port.
    pub fn start(http: &str, files: &[(&str, &str)], port: u16) -> Result<Self> {
        ensure!(PathBuf::from(PROGRAM).exists(), "{PROGRAM} is missing: run tests/install-debian.sh");
        let mut daemon =
            Daemon::new("nginx", PROGRAM.into(), daemon::unprivileged("www-data")?, Signal::TERM)?;
        for (name, content) in files {
            daemon.write(name, content)?;
        }
        let text = format!("{MAIN}{http}\n}}\n").replace("FOLDER", &daemon.folder().display().to_string());
        let file = daemon.write("nginx.conf", &text)?;
        // Before it has read the file it would write to the log in /var, which is not its own.
        daemon.set_args(&["-e", "stderr", "-c", &file.display().to_string()]);
        daemon.start(|_| Ok(TcpStream::connect(("127.0.0.1", port)).map(drop)?))?;
        Ok(Self { daemon })
    }

    /// What stands in a file of its folder, such as an access log.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.daemon.folder().join(name)).unwrap_or_default()
    }

    /// What it has logged of errors.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}
