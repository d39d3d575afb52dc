//! What is said when a place holds no values: what happened, who mends it, and how. Never a value, nor Vault's own texts.

use crds::Reason;
use k8s_openapi::jiff::Timestamp;
use render::Problem;
use vault_kv::{Engine, Lack, Place};

use crate::vault::{Connection, Identity, words::Step};

impl Connection {
    /// What is wrong, and what to do.
    pub(super) fn explain_lack(&self, identity: &Identity, place: &Place, lack: &Lack) -> Problem {
        let problem = |reason, message| Problem { reason, message };
        let refused = |message| problem(Reason::VaultRefused, message);
        let (name, role) = (format!("{}/{}", place.mount, place.path), &identity.role);
        match lack {
            Lack::Mount(fault) => match fault.refusal() {
                Some(code) => refused(format!(
                    "Vault shows login role {role} no engine at {} ({code}); its admin mounts a KV engine there and lets a \
                     policy of that role read {} (version 2) or {} (version 1)",
                    place.mount,
                    Engine::Two.policy_path(place),
                    Engine::One.policy_path(place)
                )),
                None => self.explain(Step::Answer, identity, fault),
            },
            Lack::NoKv => refused(format!(
                "Vault has no KV engine at {}; its admin mounts one there, or a platform admin corrects kv.mounts of the \
                 connection",
                place.mount
            )),
            Lack::Versionless => refused(format!(
                "{name}: version needs a KV engine of version 2, and {} has version 1; remove version",
                place.mount
            )),
            Lack::Read(engine, fault) => match fault.refusal() {
                Some(code) => refused(format!(
                    "Vault refuses to read {} ({code}); its admin lets a policy of login role {role} read that path{}",
                    engine.policy_path(place),
                    without_data(place, ", or correct the path")
                )),
                None => self.explain(Step::Answer, identity, fault),
            },
            Lack::Absent | Lack::Empty(_) | Lack::Deleted(..) | Lack::Destroyed(_) => {
                problem(Reason::SourceDeleted, absent(place, &name, role, lack))
            }
        }
    }
}

fn absent(place: &Place, name: &str, role: &str, lack: &Lack) -> String {
    let Place { mount, path, version } = place;
    let put = format!("vault kv put -mount={mount} {path} ...");
    match lack {
        Lack::Empty(found) => {
            let which = found.map(|version| format!(" (version {version})")).unwrap_or_default();
            format!("{name}{which} holds no values; write them: {put}")
        }
        Lack::Deleted(version, at) => {
            // Written anew, so that it is a time and nothing else.
            let at = at.parse::<Timestamp>().map(|at| format!(" at {at:.0}")).unwrap_or_default();
            format!(
                "version {version} of {name} was deleted{at}; bring it back: vault kv undelete -mount={mount} \
                 -versions={version} {path}, or write another: {put}"
            )
        }
        Lack::Destroyed(gone) => {
            let other = if version.is_some() { ", or ask for another version" } else { "" };
            format!("version {gone} of {name} was destroyed; write another: {put}{other}")
        }
        _ => {
            let which = version.map(|version| format!("version {version} of ")).unwrap_or_default();
            let data = without_data(place, "");
            format!(
                "Vault shows login role {role} nothing at {which}{name}; correct the path{data}, write it: {put}, or let a \
                 policy of that role read it"
            )
        }
    }
}

/// A path as Vault's API has it.
fn without_data(Place { path, .. }: &Place, or: &str) -> String {
    path.strip_prefix("data/").map_or_else(String::new, |rest| {
        format!("{or} (without data/, which Vault's API has and vault kv get does not: {rest})")
    })
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
