//! The state folder: where it is and what lies in it. It starts and stops nothing.

use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// What was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback ports.
    ControlPlane,
    /// The control plane, an OCI registry and one real node in a network namespace of its own.
    Full,
}

/// What a client must know of a running cluster; written when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    /// What was started.
    pub flavour: Flavour,
    /// Address of the apiserver.
    pub server: String,
    /// Address that images are pushed to; only the full flavour has one.
    pub registry: Option<String>,
}

/// The folder that holds everything a running testbed writes.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

/// The checkout that this testbed was built from.
pub fn checkout() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

impl State {
    /// Opens `$TESTBED_STATE`, or `.testbed` in the checkout, and makes it when missing. It holds keys: mode 0700.
    pub fn open() -> Result<Self> {
        let dir =
            std::env::var_os("TESTBED_STATE").map_or_else(|| checkout().join(".testbed"), PathBuf::from);
        Self::at(&dir)
    }

    /// Opens this folder.
    pub fn at(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("make the state folder {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// A path inside the folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    /// A path inside the folder, as an argument for a command.
    pub fn arg(&self, relative: &str) -> String {
        self.path(relative).display().to_string()
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// Makes a folder inside and returns its path.
    pub fn folder(&self, relative: &str) -> Result<PathBuf> {
        let path = self.path(relative);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file inside the folder, making the folders above it.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(relative);
        let parent = path.parent().context("a file of no folder")?;
        fs::create_dir_all(parent)?;
        // Whole or not at all: whoever reads a note about a process while it is written again would take it for gone.
        let mut file = NamedTempFile::new_in(parent)?;
        file.write_all(content.as_ref())?;
        file.persist(&path).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Waits for an exclusive lock; it is given back when the file is dropped, also by a process that dies.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(file)
    }

    /// What runs, if a start was completed.
    pub fn info(&self) -> Option<Info> {
        serde_json::from_slice(&fs::read(self.path("cluster.json")).ok()?).ok()
    }

    /// Notes that the start is complete.
    pub fn set_info(&self, info: &Info) -> Result<()> {
        self.write("cluster.json", serde_json::to_vec_pretty(info)?).map(drop)
    }
}
