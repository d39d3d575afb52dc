//! `kubectl hardened crds`: the resource definitions as they were released. It talks to no cluster.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Print the custom resource definitions, or write them to files.
///
/// For clusters that take their definitions from Git instead of the Helm chart:
/// `kubectl hardened crds | kubectl apply --server-side -f -`
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Write each definition to a file in this folder instead; the folder is made when it is missing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let mut answer = String::new();
    for (name, yaml) in crds::YAML {
        let Some(folder) = &arguments.out else {
            writeln!(answer, "---\n{}", yaml.trim_end())?;
            continue;
        };
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let path = folder.join(name);
        std::fs::write(&path, yaml).with_context(|| format!("write {}", path.display()))?;
        writeln!(answer, "wrote {}", path.display())?;
    }
    Ok(answer)
}
