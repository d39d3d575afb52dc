//! `keys backup`: the objects that hold keys, in one file that only its owner can read. It writes nothing to the cluster.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::{CA, HMAC, IDS, Place};
use crate::cluster::plain;

/// Write the operator's keys into a file (mode 0600), for `keys restore`.
///
/// Whoever has the file can issue certificates that your services' clients trust: keep it as you keep a root password.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

pub async fn run(arguments: &Arguments) -> Result<String> {
    let (path, force) = (&arguments.out, arguments.force);
    ensure!(
        force || path.symlink_metadata().is_err(),
        "{} exists; name another file with --out, or replace it with --force",
        path.display()
    );
    let keys = arguments.place.keys().await?;
    let Some(ids) = keys.ids.get_opt(IDS).await.map_err(plain)? else {
        bail!(
            "the namespace {} has no ConfigMap {IDS}; the operator has never started there",
            keys.namespace
        );
    };
    let items = [item(keys.secret(CA).await?)?, item(keys.secret(HMAC).await?)?, item(ids)?];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    write(path, &serde_saphyr::to_string(&list)?, force)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(format!("{}: the CA, the key of the hashes and their ids, of {}\n", path.display(), keys.namespace))
}

/// Of the metadata only what a new object may have.
fn item<K: Resource<DynamicType = ()> + Serialize>(mut object: K) -> Result<Value> {
    let (name, labels) = (object.name_any(), object.labels().clone());
    *object.meta_mut() = ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() };
    Ok(serde_json::to_value(&object)?)
}

/// Complete, or not there; never readable by others.
fn write(path: &Path, text: &str, replace: bool) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::fs::Permissions::from_mode(0o600);
    let mut file = tempfile::Builder::new().prefix(".keys-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if replace {
        file.persist(path)?
    } else {
        file.persist_noclobber(path)?
    };
    Ok(())
}
