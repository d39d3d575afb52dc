//! Makes an OCI image from one static program: same program, same digest. It runs nothing and needs no engine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gobuild::hex;
use crate::registry;
use crate::state::State;

/// The user that every image of ours runs as.
pub const USER: &str = "65532:65532";

/// Makes the image `NAME:TAG` with the program as its only file, pushes it and returns its reference by digest.
pub fn load(state: &State, reference: &str, program: &Path) -> Result<String> {
    let (name, tag) = reference.split_once(':').context("name the image as NAME:TAG")?;
    let layout = state.folder(&format!("images/{name}"))?;
    let digest = write_layout(&layout, tag, program)?;
    registry::push(&layout, name, tag)?;
    Ok(format!("{}/{name}:{tag}@{digest}", registry::NAME))
}

/// Writes an OCI layout with one image and returns the digest of its manifest.
fn write_layout(layout: &Path, tag: &str, program: &Path) -> Result<String> {
    let file = program.file_name().and_then(|name| name.to_str()).context("the program has no name")?;
    let content = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let layer = blob(layout, &tar(file, &content), "application/vnd.oci.image.layer.v1.tar")?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"User": USER, "Entrypoint": [format!("/{file}")]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blob(layout, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media, "config": config, "layers": [layer]});
    let mut manifest = blob(layout, manifest.to_string().as_bytes(), media)?;
    let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(digest)
}

/// Stores a blob under its digest and returns its descriptor.
fn blob(layout: &Path, content: &[u8], media: &str) -> Result<Value> {
    let sum = hex(&Sha256::digest(content));
    let folder: PathBuf = layout.join("blobs/sha256");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(&sum), content)?;
    Ok(json!({"mediaType": media, "digest": format!("sha256:{sum}"), "size": content.len()}))
}

/// An archive of one executable file of root, with no time in it.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    // The checksum is taken with its own field as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = Vec::with_capacity(content.len() + 3 * 512);
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_reads_the_archive_as_one_executable_file_of_root() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(1300).collect();
        let archive = folder.path().join("layer.tar");
        fs::write(&archive, tar("program", &content))?;
        let list = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&archive).output()?;
        let list = String::from_utf8(list.stdout)?;
        assert!(list.starts_with("-rwxr-xr-x 0/0"), "{list}");
        assert!(list.trim_end().ends_with("1970-01-01 00:00 program"), "{list}");
        assert_eq!(Command::new("tar").args(["-xOf"]).arg(&archive).output()?.stdout, content);
        Ok(())
    }

    #[test]
    fn the_same_program_gives_the_same_digest_and_another_program_another() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("program");
        let digest = |content: &str, layout: &str| {
            fs::write(&program, content)?;
            write_layout(&folder.path().join(layout), "1", &program)
        };
        let first = digest("one", "a")?;
        assert_eq!(digest("one", "b")?, first);
        assert_ne!(digest("two", "c")?, first);
        Ok(())
    }
}
