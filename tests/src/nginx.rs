//! A real nginx of one test's own, from Debian's package. What it serves, and where, is the test's.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::daemon::{self, Daemon};

const PROGRAM: &str = "/usr/sbin/nginx";

/// Everything that is not the test's: one worker, and all files in its own folder.
const MAIN: &str = "worker_processes 1; error_log stderr info;
events { worker_connections 2048; }
http {
";

/// All that it writes by itself.
const PLACES: &str = "http {
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
        Self::start_whole(&format!("{MAIN}{http}\n}}\n"), files, port)
    }

    /// The same with a whole configuration, of which only the places that it writes to are changed.
    pub fn start_whole(conf: &str, files: &[(&str, &str)], port: u16) -> Result<Self> {
        let (mut daemon, file) = create(conf, files)?;
        // Before it has read the file it would write to the log in /var, which is not its own.
        daemon.set_args(&["-e", "stderr", "-c", &file.display().to_string()]);
        daemon.start(|_| Ok(TcpStream::connect(("127.0.0.1", port)).map(drop)?))?;
        Ok(Self { daemon })
    }

    /// What `nginx -t` says of a whole configuration; an error when it would not start with it.
    pub fn check(conf: &str, files: &[(&str, &str)]) -> Result<String> {
        let (daemon, file) = create(conf, files)?;
        let mut command = daemon.command(PROGRAM.as_ref());
        let output =
            command.args(["-t", "-e", "stderr", "-c"]).arg(&file).output().context("run nginx -t")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        Ok(said)
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

fn create(conf: &str, files: &[(&str, &str)]) -> Result<(Daemon, PathBuf)> {
    ensure!(PathBuf::from(PROGRAM).exists(), "{PROGRAM} is missing: run tests/install-debian.sh");
    let daemon = Daemon::new("nginx", PROGRAM.into(), daemon::unprivileged("www-data")?, Signal::TERM)?;
    for (name, content) in files {
        daemon.write(name, content)?;
    }
    // Without rights it is nobody else's, and says so of a line that makes it.
    let conf = conf.replacen("http {\n", PLACES, 1).replacen("user www-data;\n", "", 1);
    let conf = format!("daemon off; pid FOLDER/pid;\n{}", conf.replace("/var/log/nginx/", "FOLDER/"));
    let file = daemon.write("nginx.conf", &conf.replace("FOLDER", &daemon.folder().display().to_string()))?;
    Ok((daemon, file))
}
