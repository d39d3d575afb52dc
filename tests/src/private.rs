//! A testbed of one test's own, in a temporary folder, for tests that break or measure the testbed itself. It shares
//! nothing with the testbed that `Cluster::get` attaches to.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::state::State;
use crate::{lifecycle, users};

/// Its state folder; what runs in it is stopped when this is dropped, also when the test fails half-way.
#[derive(Debug)]
pub struct PrivateTestbed {
    /// The state folder.
    pub state: State,
    _folder: TempDir,
}

impl PrivateTestbed {
    /// Makes the folder; nothing runs yet.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { state: State::at(folder.path())?, _folder: folder })
    }

    /// Runs the `testbed` program on it.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(users::program()?);
        command.args(arguments).env("TESTBED_STATE", self.state.dir()).stdout(Stdio::null());
        let status = command.status()?;
        ensure!(status.success(), "testbed {} ended with {status}", arguments.join(" "));
        Ok(())
    }
}

impl Drop for PrivateTestbed {
    fn drop(&mut self) {
        if let Err(error) = lifecycle::down(&self.state) {
            eprintln!("the testbed in {} was not stopped: {error:#}", self.state.dir().display());
        }
    }
}
