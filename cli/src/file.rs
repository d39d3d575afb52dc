//! One file, written whole or not at all. What is not for others is its owner's from its creation.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// A complete file under a name of its own, which is removed when it gets no other.
pub fn temporary(folder: &Path, mode: u32, content: &str) -> std::io::Result<NamedTempFile> {
    let mut file = empty(folder, mode)?;
    file.write_all(content.as_bytes())?;
    // The umask may have taken away that others read the certificate.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Created with this mode: a file that is closed only afterwards can be opened before, and read later.
pub fn empty(folder: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(mode);
    tempfile::Builder::new().prefix(".new-").permissions(permissions).tempfile_in(folder)
}

pub fn name(file: NamedTempFile, path: &Path, replace: bool) -> Result<()> {
    // Without `replace` the kernel refuses a name that exists: looking before would leave a moment in between.
    let named = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    named.map(drop).map_err(|error| error.error).with_context(|| make(path))
}

pub fn make(path: &Path) -> String {
    format!("write {}", path.display())
}
