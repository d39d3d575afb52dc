//! Secrets from mounted files: one per name in a directory, or wherever `NAME_FILE` points. Contents are read with
//! each look, so a swapped symlink, a rename and a write in place all count.

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use futures::{FutureExt as _, future::BoxFuture};

use super::{
    backend::{Answer, Backend, BackendError, found},
    config::file_variable,
};

/// A Kubernetes Secret holds 1 MiB in all; a single value beyond this is a mistake.
const MAX_BYTES: u64 = 64 * 1024;

/// Write rights of group and others.
const WRITABLE: u32 = 0o022;

/// A directory of secrets, and single files.
#[derive(Debug)]
pub struct Files {
    dir: Option<PathBuf>,
}

impl Files {
    /// With the directory, where there is one.
    pub const fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    fn read_now(&self, names: &[&'static str]) -> Result<Answer, BackendError> {
        if let Some(dir) = &self.dir
            && !dir.is_dir()
        {
            // A mount that went away is not the same as secrets that were removed.
            return Err(BackendError::Refused(format!(
                "SECRETS_DIR: {} is no directory; mount the secrets there",
                dir.display()
            )));
        }
        let mut answer = Answer::new();
        for name in names {
            let pointed = env::var_os(file_variable(name)).map(PathBuf::from);
            let missing_is_wrong = pointed.is_some();
            let Some(path) = pointed.or_else(|| Some(self.dir.as_ref()?.join(name))) else { continue };
            let value = match read(&path) {
                Ok(value) => value,
                Err(e) if e.kind() == io::ErrorKind::NotFound && !missing_is_wrong => continue,
                Err(e) => return Err(BackendError::Refused(format!("{name}: {}: {e}", path.display()))),
            };
            if let Some(found) = found(self.name(), value.trim_end_matches(['\r', '\n']), None, None) {
                answer.insert(name, found);
            }
        }
        Ok(answer)
    }
}

impl Backend for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn local(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>> {
        async move { self.read_now(names) }.boxed()
    }
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // The open file is looked at, not its name: between two looks at a name somebody could swap it.
    if metadata.permissions().mode() & WRITABLE != 0 {
        return Err(io::Error::other("group or others may write to it; chmod go-w"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    // The error of the conversion would carry the bytes.
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn dir(files: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o640)).unwrap();
        }
        let files = Files::new(Some(dir.path().to_owned()));
        (dir, files)
    }

    #[test]
    fn the_newline_that_editors_add_is_not_part_of_the_value() {
        let (_dir, files) = dir(&[("REDIS_URL", "redis://a\r\n"), ("DATABASE_URL", " a b\n\n")]);
        let answer = files.read_now(&["REDIS_URL", "DATABASE_URL", "AI_API_KEY"]).unwrap();
        assert_eq!(answer["REDIS_URL"].value.expose_secret(), "redis://a");
        assert_eq!(answer["DATABASE_URL"].value.expose_secret(), " a b", "blanks may be meant");
        assert_eq!(answer.len(), 2, "what is not there is left out");
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_by_name_and_without_its_value() {
        for mode in [0o620, 0o602, 0o666] {
            let (dir, files) = dir(&[("REDIS_URL", "redis://canary")]);
            fs::set_permissions(dir.path().join("REDIS_URL"), fs::Permissions::from_mode(mode)).unwrap();
            let error = files.read_now(&["REDIS_URL"]).unwrap_err().to_string();
            assert!(error.contains("REDIS_URL") && error.contains("chmod go-w"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_empty_file_is_no_secret_and_a_large_or_binary_one_is_refused() {
        let (dir, files) = dir(&[("REDIS_URL", "\n")]);
        assert!(files.read_now(&["REDIS_URL"]).unwrap().is_empty());
        fs::write(dir.path().join("REDIS_URL"), [0xff, 0xfe]).unwrap();
        assert!(files.read_now(&["REDIS_URL"]).unwrap_err().to_string().contains("UTF-8"));
        fs::write(dir.path().join("REDIS_URL"), vec![b'a'; 70_000]).unwrap();
        assert!(files.read_now(&["REDIS_URL"]).unwrap_err().to_string().contains("larger"));
    }

    #[test]
    fn a_directory_that_is_gone_is_a_failure_and_not_an_empty_one() {
        let (dir, files) = dir(&[]);
        assert!(files.read_now(&["REDIS_URL"]).unwrap().is_empty());
        drop(dir);
        assert!(matches!(files.read_now(&["REDIS_URL"]), Err(BackendError::Refused(_))));
    }
}
