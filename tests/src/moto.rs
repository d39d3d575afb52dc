//! The AWS Secrets Manager of moto, of one test's own. Its storage is memory, and it believes any credentials.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::https::Https;
use crate::parts;

/// The region that it is asked for.
pub const REGION: &str = "eu-central-1";

/// A running server; dropping it kills it.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself.
pub struct Moto {
    daemon: Daemon,
    https: Https,
}

impl Moto {
    /// Fetches it when it was never fetched, and starts it on a free loopback port with TLS by an authority of its own.
    pub fn start() -> Result<Self> {
        let folder = parts::moto()?;
        let mut daemon = Daemon::new("moto", "/usr/bin/env".into(), None, Signal::TERM)?;
        let (https, files) = Https::create(&daemon, &[])?;
        let [certificate, key] = files.map(|file| file.display().to_string());
        let (path, program) = (format!("PYTHONPATH={}", folder.display()), folder.join("bin/moto_server"));
        let (program, port) = (program.display().to_string(), https.port().to_string());
        daemon.set_args(&[
            &path,
            "python3",
            &program,
            "-H",
            "127.0.0.1",
            "-p",
            &port,
            "-c",
            &certificate,
            "-k",
            &key,
        ]);
        let mut moto = Self { daemon, https };
        moto.start_again()?;
        Ok(moto)
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        self.https.address()
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.daemon.folder().join("ca.crt")
    }

    /// Makes a secret; gives the id of its first version.
    pub fn create(&self, id: &str, values: &Value) -> Result<String> {
        version(&self.call("CreateSecret", &json!({ "Name": id, "SecretString": values.to_string() }))?)
    }

    /// Writes the next version of a secret; gives its id.
    pub fn put(&self, id: &str, values: &Value) -> Result<String> {
        version(&self.call("PutSecretValue", &json!({ "SecretId": id, "SecretString": values.to_string() }))?)
    }

    /// Ends it and so forgets everything.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it after `stop`, at the same address, empty.
    pub fn start_again(&mut self) -> Result<()> {
        let https = &self.https;
        self.daemon.start(|_| call(https, "ListSecrets", &json!({})).map(drop))
    }

    fn call(&self, action: &str, body: &Value) -> Result<Value> {
        call(&self.https, action, body)
    }
}

fn call(https: &Https, action: &str, body: &Value) -> Result<Value> {
    // It takes the service from the scope of the signature and does not check the signature.
    let headers = format!(
        "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: secretsmanager.{action}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/secretsmanager/aws4_request, \
         SignedHeaders=host, Signature=0\r\n"
    );
    Ok(serde_json::from_str(&https.call("POST", "/", &headers, &body.to_string())?)?)
}

fn version(answer: &Value) -> Result<String> {
    answer["VersionId"].as_str().map(str::to_owned).context("no VersionId")
}
