//! The image registry, on the testbed's own network only, and how images get into it.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use crate::network::HOST;
use crate::parts::quietly;
use crate::process::{self, Part};
use crate::state::State;

/// The name that images carry; containerd knows where it is.
pub const NAME: &str = "registry.testbed";
const PORT: u16 = 5000;

/// Starts Debian's registry.
pub fn start(state: &State) -> Result<()> {
    let config = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": state.folder("registry")?}},
        "http": {"addr": address()},
    });
    let config = state.write("registry.json", config.to_string())?;
    let args = vec!["serve".into(), config.display().to_string()];
    process::start(
        state,
        &Part { name: "registry", program: Path::new("docker-registry"), args, netns: None },
    )
}

/// Whether it accepts connections.
pub fn ready() -> bool {
    TcpStream::connect((HOST, PORT)).is_ok()
}

/// Where it listens, in plain HTTP.
pub fn address() -> String {
    format!("{HOST}:{PORT}")
}

/// Pushes an image from an OCI layout without changing a byte, so that its digest stays.
pub fn push(layout: &Path, name: &str, tag: &str) -> Result<()> {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false", "--quiet"]);
    command.arg(format!("oci:{}:{tag}", layout.display()));
    command.arg(format!("docker://{}/{name}:{tag}", address()));
    quietly(&mut command)
}
