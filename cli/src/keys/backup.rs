//! `keys backup`: the objects that hold keys, in one file that only its owner can read. It writes nothing to the cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use crds::{CA_SECRET, HMAC_SECRET, KEY_IDS};
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::Place;
use crate::cluster::plain;
use crate::file;

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
    let Some(ids) = keys.ids.get_opt(KEY_IDS).await.map_err(plain)? else {
        bail!(
            "the namespace {} has no ConfigMap {KEY_IDS}; the operator has never started there",
            keys.namespace
        );
    };
    let items = [item(keys.secret(CA_SECRET).await?)?, item(keys.secret(HMAC_SECRET).await?)?, item(ids)?];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = serde_saphyr::to_string(&list)?;
    let new = file::temporary(folder, 0o600, &text).with_context(|| file::make(path))?;
    file::name(new, path, force)?;
    Ok(format!("{}: the CA, the key of the hashes and their ids, of {}\n", path.display(), keys.namespace))
}

/// Of the metadata only what a new object may have.
fn item<K: Resource<DynamicType = ()> + Serialize>(mut object: K) -> Result<Value> {
    let (name, labels) = (object.name_any(), object.labels().clone());
    *object.meta_mut() = ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() };
    Ok(serde_json::to_value(&object)?)
}
