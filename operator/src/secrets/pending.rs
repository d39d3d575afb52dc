//! The change of values that the pods have not seen yet. It stands in an annotation of the operator's Secret, written
//! together with the values: the restart that follows has its cause and its names also when the operator dies between the two.

use crds::LAST_CHANGE_ANNOTATION;
use kube::{ResourceExt, core::DynamicObject};
use render::Kind;
use serde::{Deserialize, Serialize};

use crate::{issuer::Case, keys::Keys};

/// Names that one annotation tells at most.
const NAMES: usize = 64;

/// Values that changed, and what the restart hash was made of before. No value can be learned from it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Pending {
    /// HMAC over the values whose change restarts the pods, before it.
    pub before: Option<String>,
    /// Names of the values that changed.
    pub names: Vec<String>,
    /// Whether they are those before again, because the pods did not start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverted: bool,
}

impl Pending {
    /// Another change. Where the pods have not seen the last one, both are one.
    pub fn new(
        case: &Case<'_>,
        serial: Option<&str>,
        before: Option<String>,
        mut names: Vec<String>,
    ) -> Self {
        let last = Self::of(case).filter(|last| last.is_awaited(case, serial));
        let before = match last {
            Some(last) => {
                names.extend(last.names);
                last.before
            }
            None => before,
        };
        names.sort();
        names.dedup();
        names.truncate(NAMES);
        Self { before, names, reverted: false }
    }

    /// As the operator's Secret has it. Somebody else may have written it: then the ledger has wrong names.
    pub fn of(case: &Case<'_>) -> Option<Self> {
        let name = render::secrets::secret_name(case.service);
        let meta = case.ctx.cache.get(Kind::Secret, &case.key.namespace, &name)?;
        serde_json::from_str(meta.annotations().get(LAST_CHANGE_ANNOTATION)?).ok()
    }

    /// Whether the pods still have what was before.
    fn is_awaited(&self, case: &Case<'_>, serial: Option<&str>) -> bool {
        let live = case.ctx.cache.get(Kind::Deployment, &case.key.namespace, &case.key.name);
        live.is_some_and(|live| self.clone().awaited(case.keys, serial).is_for(&live))
    }

    /// The change as the pods' restart has to know it.
    pub fn awaited(self, keys: &Keys, serial: Option<&str>) -> Awaited {
        Awaited {
            before: restart_hash(keys, serial, self.before.as_deref()),
            names: self.names,
            reverted: self.reverted,
        }
    }

    /// The value of the annotation.
    pub fn annotation(&self) -> String {
        // It holds strings only: serialising it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A change of values that the next restart brings to the pods.
pub struct Awaited {
    /// Names of the values.
    pub names: Vec<String>,
    /// The restart hash of pods that have not seen it.
    pub before: String,
    /// Whether the values are those before again.
    pub reverted: bool,
}

impl Awaited {
    /// Whether this Deployment has pods that have not seen it.
    pub fn is_for(&self, live: &DynamicObject) -> bool {
        restart_hash_of(live) == Some(&self.before)
    }
}

/// As the pods' template has it.
pub fn restart_hash_of(deployment: &DynamicObject) -> Option<&str> {
    deployment.data.pointer("/spec/template/metadata/annotations/hardened.dev~1restart-hash")?.as_str()
}

/// HMAC over everything whose change restarts the pods.
pub fn restart_hash(keys: &Keys, serial: Option<&str>, values: Option<&str>) -> String {
    let inputs = [("tls", serial), ("secrets", values)];
    let inputs: Vec<_> =
        inputs.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes()))).collect();
    keys.restart_hash(&inputs)
}
