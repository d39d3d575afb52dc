//! etcd: how it is started and when it is ready. Its data is thrown away, so it does not wait for the disk.

use std::net::TcpStream;
use std::path::Path;

use anyhow::Result;

use crate::process::{self, Part};
use crate::state::State;

/// etcd on a loopback port.
#[derive(Debug)]
pub struct Etcd {
    port: u16,
}

impl Etcd {
    /// Starts it.
    pub fn start(state: &State, bin: &Path) -> Result<Self> {
        let etcd = Self { port: free_port()? };
        let part = Part { name: "etcd", program: &bin.join("etcd"), args: etcd.args(state), netns: None };
        process::start(state, &part)?;
        state.write("etcd.url", etcd.url())?;
        Ok(etcd)
    }

    /// Address for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it accepts connections.
    pub fn ready(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn args(&self, state: &State) -> Vec<String> {
        let client = self.url();
        // Nobody else joins, so the peer side takes any port.
        let peer = "http://127.0.0.1:0";
        vec![
            "--name=default".into(),
            format!("--data-dir={}", state.arg("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ]
    }
}

/// A loopback port that nothing listens on now.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
