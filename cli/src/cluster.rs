//! How a command reaches the API server: by the kubeconfig, as kubectl does. It requests nothing.

use anyhow::Result;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

/// A client and the namespace of the context; the current context without a name.
pub async fn client(context: Option<&str>) -> Result<(Client, String)> {
    // Only one provider is compiled in, so a second installation cannot differ.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    // kube's error names its own source already.
    let config = Config::from_kubeconfig(&options).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config)?, namespace))
}

/// The API server's own words; kube's error would repeat them in the form of a program.
pub fn plain(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => anyhow::anyhow!("the API server did not answer: {other}"),
    }
}
