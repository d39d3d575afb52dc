//! Tests of the two files: who may read them, and that they are replaced together or not at all.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::file::empty;

fn write(files: &Files, replace: bool) -> Result<()> {
    files.write("the certificate", &SecretString::from("the key"), replace)
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("metadata").permissions().mode() & 0o7777
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_missing_folder_is_made_for_its_owner_and_the_key_too() {
    let above = tempfile::tempdir().expect("folder");
    let folder = above.path().join("a/b");
    let files = Files::below(&folder);
    files.must_be_absent().expect("absent");
    write(&files, false).expect("written");
    assert_eq!([mode(&folder), mode(&files.certificate), mode(&files.key)], [0o700, 0o644, 0o600]);
    assert_eq!(std::fs::read_to_string(&files.certificate).expect("certificate"), "the certificate");
    assert_eq!(std::fs::read_to_string(&files.key).expect("key"), "the key");
    assert_eq!(listed(&folder), ["cert.pem", "key.pem"], "nothing else is left");
}

#[test]
fn a_key_is_its_owners_from_its_creation_and_without_a_name_it_does_not_stay() {
    let folder = tempfile::tempdir().expect("folder");
    let key = empty(folder.path(), 0o600).expect("file");
    assert_eq!(mode(key.path()), 0o600);
    drop(key);
    assert_eq!(listed(folder.path()), [""; 0]);
}

#[test]
fn what_exists_is_named_also_a_link_to_nowhere() {
    let folder = tempfile::tempdir().expect("folder");
    let files = Files::below(folder.path());
    symlink("/nowhere", &files.key).expect("link");
    let message = files.must_be_absent().expect_err("it exists").to_string();
    assert!(message.starts_with(&format!("{} exists; ", files.key.display())), "{message}");
    assert!(message.ends_with("--force"), "{message}");
    std::fs::write(&files.certificate, "").expect("file");
    let message = files.must_be_absent().expect_err("both exist").to_string();
    let both = format!("{} and {} exist; ", files.certificate.display(), files.key.display());
    assert!(message.starts_with(&both), "{message}");
}

#[test]
fn a_key_that_appears_in_the_last_moment_is_kept_and_no_certificate_left_beside_it() {
    let folder = tempfile::tempdir().expect("folder");
    let files = Files::below(folder.path());
    std::fs::write(&files.key, "another's key").expect("file");
    write(&files, false).expect_err("the key exists");
    assert_eq!(listed(folder.path()), ["key.pem"]);
    assert_eq!(std::fs::read_to_string(&files.key).expect("key"), "another's key");
    std::fs::rename(&files.key, &files.certificate).expect("move");
    write(&files, false).expect_err("the certificate exists");
    assert_eq!(listed(folder.path()), ["cert.pem"]);
    assert_eq!(std::fs::read_to_string(&files.certificate).expect("certificate"), "another's key");
}

#[test]
fn replacing_changes_the_files_and_not_what_a_link_leads_to() {
    let folder = tempfile::tempdir().expect("folder");
    let files = Files::below(folder.path());
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "kept").expect("file");
    symlink(&victim, &files.key).expect("link");
    std::fs::write(&files.certificate, "old").expect("file");
    std::fs::set_permissions(&files.certificate, Permissions::from_mode(0o777)).expect("mode");
    write(&files, true).expect("written");
    assert_eq!(std::fs::read_to_string(&victim).expect("victim"), "kept");
    assert_eq!(std::fs::read_to_string(&files.key).expect("key"), "the key");
    assert_eq!([mode(&files.certificate), mode(&files.key)], [0o644, 0o600]);
    assert_eq!(listed(folder.path()), ["cert.pem", "key.pem", "victim"]);
}
