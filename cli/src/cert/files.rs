//! The two files of a certificate: written whole, or not at all. The key is readable by its owner only, from its creation.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};

use crate::file::{make, name, temporary};

/// Where they are, or will be.
pub struct Files {
    folder: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn below(folder: &Path) -> Self {
        Self { folder: folder.into(), certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    /// A link that leads nowhere exists too.
    pub fn must_be_absent(&self) -> Result<()> {
        let there: Vec<_> = [&self.certificate, &self.key]
            .into_iter()
            .filter(|path| path.symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let verb = if there.len() == 1 { "exists" } else { "exist" };
        bail!(
            "{} {verb}; name another folder with --out, or replace both files with --force",
            there.join(" and ")
        )
    }

    /// Both files are complete on the disk before either gets its name. The certificate gets its name first: a crash
    /// between the two leaves no key without its certificate where there was none before. With `replace` it can leave
    /// the new certificate beside the old key, which `cert inspect` tells; two names cannot change in one step.
    pub fn write(&self, certificate: &str, key: &SecretString, replace: bool) -> Result<()> {
        let folder = &self.folder;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).with_context(|| make(folder))?;
        let certificate = temporary(folder, 0o644, certificate).with_context(|| make(&self.certificate))?;
        let key = temporary(folder, 0o600, key.expose_secret()).with_context(|| make(&self.key))?;
        name(certificate, &self.certificate, replace)?;
        if let Err(error) = name(key, &self.key, replace) {
            if !replace {
                // It was absent before; somebody made the key in this moment, and it is not this certificate's.
                std::fs::remove_file(&self.certificate).with_context(|| make(&self.certificate))?;
            }
            return Err(error);
        }
        // The names are on the disk when the folder is.
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| make(folder))
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
