//! `kubectl hardened cert inspect FILE`: exit codes and findings for files that are good, wrong or none.

use std::fs;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::{Answer, openssl, tool};

/// A folder with an authority `ca.crt`, and a certificate `tls.crt` of it with its key `tls.key`.
struct Files(TempDir);

impl Files {
    fn new(spoil: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut leaf = CertificateParams::new(["shop.example.com".to_owned(), "192.0.2.7".to_owned()])?;
        leaf.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        leaf.not_after = OffsetDateTime::now_utc() + Duration::days(30);
        spoil(&mut leaf);
        let key = KeyPair::generate()?;
        let files = Self(tempfile::tempdir()?);
        files.write("ca.crt", &authority.pem())?;
        files.write("tls.crt", &leaf.signed_by(&key, &authority)?.pem())?;
        files.write("tls.key", &key.serialize_pem())?;
        Ok(files)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        Ok(fs::write(self.0.path().join(name), content)?)
    }

    fn path(&self, name: &str) -> Result<String> {
        Ok(self.0.path().join(name).to_str().context("the path is not UTF-8")?.to_owned())
    }

    fn text(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(name)?)?)
    }

    fn inspect(&self, name: &str, more: &[&str]) -> Result<Answer> {
        tool(&[&["cert", "inspect", &self.path(name)?], more].concat())
    }
}

#[test]
fn a_good_certificate_is_0_and_each_fault_is_1_with_its_finding() -> Result<()> {
    let good = Files::new(|_| ())?;
    let foreign = Files::new(|_| ())?;
    let ended = Files::new(|leaf| leaf.not_after = OffsetDateTime::now_utc() - Duration::minutes(1))?;
    let early = Files::new(|leaf| leaf.not_before = OffsetDateTime::now_utc() + Duration::hours(1))?;
    good.write("chain.crt", &(good.text("tls.crt")? + &good.text("ca.crt")?))?;
    good.write("turned.crt", &(good.text("ca.crt")? + &good.text("tls.crt")?))?;
    good.write("broken.crt", &(good.text("tls.crt")? + &foreign.text("ca.crt")?))?;
    let (ca, key) = (good.path("ca.crt")?, good.path("tls.key")?);
    let (foreign_ca, foreign_key) = (foreign.path("ca.crt")?, foreign.path("tls.key")?);
    for (files, name, more, expected) in [
        (&good, "tls.crt", &[][..], &[][..]),
        (&good, "tls.crt", &["--ca", &ca, "--server-name", "shop.example.com", "--key", &key], &[]),
        (&good, "tls.crt", &["--ca", &ca, "--server-name", "192.0.2.7"], &[]),
        (&good, "chain.crt", &["--ca", &ca], &[]),
        (&good, "ca.crt", &[], &[]),
        (&good, "tls.crt", &["--server-name", "shop.example.org"], &["name"]),
        (&good, "tls.crt", &["--server-name", "192.0.2.8"], &["name"]),
        (&good, "tls.crt", &["--ca", &foreign_ca], &["trust"]),
        (&good, "tls.crt", &["--key", &foreign_key], &["keyMatch"]),
        (&good, "broken.crt", &[], &["chain"]),
        (&good, "turned.crt", &["--key", &key], &["order"]),
        (&ended, "tls.crt", &[], &["expiry"]),
        (&early, "tls.crt", &[], &["expiry"]),
    ] {
        let answer = files.inspect(name, &[more, &["-o", "json"]].concat())?;
        assert_eq!(answer.findings()?, expected, "{name} {more:?}: {}", answer.out);
        let text = files.inspect(name, more)?;
        assert_eq!(text.code, answer.code);
        assert_eq!(text.out.matches("\n  fix: ").count(), expected.len(), "{}", text.out);
    }
    Ok(())
}

#[test]
fn what_cannot_be_looked_at_is_2_and_says_why() -> Result<()> {
    let files = Files::new(|_| ())?;
    files.write("text", "hello")?;
    files.write("large", &"x".repeat(1024 * 1024 + 1))?;
    files.write("cut.crt", &files.text("tls.crt")?[..200])?;
    let path = |name: &str| files.path(name);
    for (arguments, expected) in [
        (vec![path("absent.crt")?], "No such file"),
        (vec![path("")?], "Is a directory"),
        (vec![path("text")?], "holds no certificate in PEM"),
        (vec![path("tls.key")?], "holds no certificate in PEM"),
        (vec![path("large")?], "larger than 1048576 bytes"),
        (vec![path("cut.crt")?], "broken PEM"),
        (vec![path("tls.crt")?, "--key".into(), path("absent")?], "No such file"),
        (vec![path("tls.crt")?, "--key".into(), path("ca.crt")?], "holds no private key"),
        (vec![path("tls.crt")?, "--ca".into(), path("text")?], "holds no certificate in PEM"),
        (vec![path("tls.crt")?, "--server-name".into(), "a b".into()], "neither a host name nor an address"),
        (vec!["-".into()], "the standard input holds no certificate in PEM"),
        (vec!["secret/shop".into()], "kubeconfig"),
        (vec!["secret/".into()], "needs the name of a Secret"),
        (vec![], "<TARGET>"),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let answer = tool(&[&["cert", "inspect"], &arguments[..]].concat())?;
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{arguments:?}: {}", answer.err);
        assert!(answer.err.contains(expected), "{arguments:?}: {}", answer.err);
    }
    Ok(())
}

#[test]
fn the_key_is_found_beside_the_certificate_or_in_it() -> Result<()> {
    let (files, other) = (Files::new(|_| ())?, Files::new(|_| ())?);
    let looked = |expected_code: i32, expected: &str| {
        let answer = files.inspect("tls.crt", &[])?;
        assert!(answer.code == expected_code && answer.out.contains(expected), "{expected}: {}", answer.out);
        anyhow::Ok(())
    };
    let (certificate, key) = (files.text("tls.crt")?, files.text("tls.key")?);
    looked(0, "tls.key: the certificate's")?;
    files.write("tls.key", &other.text("tls.key")?)?;
    looked(1, "tls.key: not the certificate's")?;
    files.write("tls.crt", &(certificate.clone() + &key))?;
    looked(0, "tls.crt: the certificate's")?;
    files.write("tls.crt", &certificate)?;
    fs::remove_file(files.path("tls.key")?)?;
    files.write("key.pem", &key)?;
    looked(0, "key.pem: the certificate's")?;
    files.write("shop.crt", &certificate)?;
    files.write("shop.key", &other.text("tls.key")?)?;
    let named = files.inspect("shop.crt", &[])?;
    assert!(named.code == 1 && named.out.contains("shop.key: not the certificate's"), "{}", named.out);
    fs::remove_file(files.path("key.pem")?)?;
    looked(0, "serial")?;
    assert!(!files.inspect("tls.crt", &[])?.out.contains("private key"), "there is none");
    Ok(())
}

#[test]
fn keys_in_every_form_of_openssl_are_compared_and_encrypted_ones_are_told() -> Result<()> {
    for (kind, traditional) in [("rsa-2048", "RSA PRIVATE KEY"), ("ecdsa-p256", "EC PRIVATE KEY")] {
        let folder = tempfile::tempdir()?;
        let out = folder.path().to_str().context("the path is not UTF-8")?;
        assert_eq!(tool(&["cert", "--out", out, "--key", kind])?.code, 0);
        let [certificate, key, old, locked] =
            ["cert.pem", "key.pem", "old", "locked"].map(|name| format!("{out}/{name}"));
        openssl(&["pkey", "-in", &key, "-traditional", "-out", &old])?;
        assert!(fs::read_to_string(&old)?.contains(traditional));
        assert_eq!(tool(&["cert", "inspect", &certificate, "--key", &old])?.code, 0);
        for form in [&["-traditional"][..], &[]] {
            openssl(
                &[&["pkey", "-in", &key, "-aes256", "-passout", "pass:x", "-out", &locked], form].concat(),
            )?;
            let answer = tool(&["cert", "inspect", &certificate, "--key", &locked])?;
            assert!(answer.code == 1 && answer.out.contains("locked is encrypted"), "{}", answer.out);
        }
    }
    Ok(())
}
