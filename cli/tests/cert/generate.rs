//! `kubectl hardened cert --out`: what it writes, as openssl and another library read it, and what it leaves alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::{answer, openssl, tool};

/// A folder of the test's own, and `tls` in it as an argument.
fn folder() -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("tls").to_str().context("the path is not UTF-8")?.to_owned();
    Ok((folder, out))
}

fn mode(path: &str) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

#[test]
fn without_options_it_is_rsa_4096_for_a_year_and_this_machine() -> Result<()> {
    let (_folder, out) = folder()?;
    let made = tool(&["cert", "--out", &out])?;
    assert_eq!(made.code, 0, "{}", made.err);
    let (certificate, key) = (format!("{out}/cert.pem"), format!("{out}/key.pem"));
    assert_eq!([mode(&out)?, mode(&certificate)?, mode(&key)?], [0o700, 0o644, 0o600]);
    assert_eq!(fs::read_dir(&out)?.count(), 2, "nothing else is left");

    let text = fs::read_to_string(&certificate)?;
    let (_, pem) = parse_x509_pem(text.as_bytes())?;
    let parsed = pem.parse_x509()?;
    assert_eq!(parsed.public_key().parsed()?.key_size(), 4096);
    let names = &parsed.subject_alternative_name()?.context("no names")?.value.general_names;
    let expected = [
        GeneralName::DNSName("localhost"),
        GeneralName::DNSName("*.localhost"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
    ];
    assert_eq!(*names, expected);
    let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(life + 1, 365 * 86_400);
    assert!(parsed.validity().is_valid(), "it is not valid now");

    for line in [
        "names   localhost, *.localhost, 127.0.0.1",
        &certificate,
        &format!("{key} (mode 0600)"),
        "ends    20",
    ] {
        assert!(made.out.contains(line), "{line}: {}", made.out);
    }
    let shown = openssl(&["x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"])?;
    let fingerprint = shown.trim().split_once('=').context("no fingerprint")?.1;
    assert!(made.out.contains(&format!("sha256  {fingerprint}\n")), "{}", made.out);
    let of_key = openssl(&["pkey", "-in", &key, "-pubout"])?;
    assert_eq!(openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"])?, of_key);
    let seen = tool(&["cert", "inspect", &certificate, "--ca", &certificate, "--server-name", "127.0.0.1"])?;
    assert_eq!(seen.code, 0, "{}", seen.out);
    assert!(seen.out.contains("RSA, 4096 bits") && seen.out.contains("364 days left"), "{}", seen.out);
    Ok(())
}

#[test]
fn openssl_trusts_every_kind_by_its_file_also_when_strict() -> Result<()> {
    for kind in ["rsa-2048", "ecdsa-p256", "ecdsa-p384", "ed25519"] {
        let (_folder, out) = folder()?;
        let names = "shop.example.com,*.example.org,192.0.2.7,2001:db8::7";
        let made =
            tool(&["cert", "--out", &out, "--key", kind, "--san", names, "--days", "30", "--san", "shop"])?;
        assert_eq!(made.code, 0, "{}", made.err);
        let certificate = format!("{out}/cert.pem");
        let verify = |option: &str, name: &str| {
            let strict = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &certificate];
            openssl(&[&strict[..], &[option, name, &certificate]].concat())
        };
        for (option, name) in [
            ("-verify_hostname", "shop.example.com"),
            ("-verify_hostname", "a.example.org"),
            ("-verify_hostname", "shop"),
            ("-verify_ip", "192.0.2.7"),
            ("-verify_ip", "2001:db8::7"),
        ] {
            verify(option, name).with_context(|| format!("{kind} {name}"))?;
        }
        // The default names are gone, and an address is no host name.
        for (option, name) in [("-verify_hostname", "localhost"), ("-verify_ip", "127.0.0.1")] {
            verify(option, name).err().with_context(|| format!("{kind} covers {name}"))?;
        }
    }
    Ok(())
}

#[test]
fn files_that_exist_are_kept_and_replaced_only_with_force() -> Result<()> {
    let (_folder, out) = folder()?;
    let make = |more: &[&str]| tool(&[&["cert", "--out", &out, "--key", "ecdsa-p256"], more].concat());
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| format!("{out}/{name}"));
    let content = || Ok::<_, std::io::Error>((fs::read(&certificate)?, fs::read(&key)?));
    assert_eq!(make(&[])?.code, 0);
    let first = content()?;

    let refused = make(&[])?;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains(&format!("{certificate} and {key} exist; ")), "{}", refused.err);
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(content()?, first, "a refusal wrote");
    fs::remove_file(&certificate)?;
    let refused = make(&[])?;
    assert!(refused.code == 1 && refused.err.contains(&format!("error: {key} exists; ")), "{}", refused.err);
    assert!(!Path::new(&certificate).exists() && fs::read(&key)? == first.1, "a refusal wrote");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    assert_eq!(make(&["--force"])?.code, 0);
    let second = content()?;
    assert!(first.0 != second.0 && first.1 != second.1, "something old is left");
    assert_eq!(mode(&key)?, 0o600);
    assert_eq!(tool(&["cert", "inspect", &certificate, "--key", &key])?.code, 0);
    Ok(())
}

#[test]
fn the_umask_neither_opens_the_key_nor_closes_the_certificate() -> Result<()> {
    for umask in ["000", "022", "077"] {
        let (_folder, out) = folder()?;
        let script = format!("umask {umask}; exec \"$0\" cert --out \"$1\" --key ed25519");
        let made =
            answer(Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_kubectl-hardened"), &out]))?;
        assert_eq!(made.code, 0, "{}", made.err);
        let modes = [mode(&out)?, mode(&format!("{out}/cert.pem"))?, mode(&format!("{out}/key.pem"))?];
        assert_eq!(modes, [0o700, 0o644, 0o600], "umask {umask}");
    }
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_written_is_named() -> Result<()> {
    let (folder, _) = folder()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let out = file.to_str().context("the path is not UTF-8")?;
    let refused = tool(&["cert", "--out", out, "--key", "ed25519"])?;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains(out), "{}", refused.err);
    Ok(())
}
