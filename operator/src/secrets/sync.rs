//! One look at the values of one service: which of them are current, what was found, and what follows.

use std::time::Duration;

use crds::Secrets;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt};
use render::{Kind, Problem};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Content, Decision, Plan,
    gather::Gathered,
    kept, left,
    login::{self, Login},
    pending::Pending,
    values::{Sealed, Values},
    wait::Wait,
};
use crate::{
    backoff,
    cache::ValuesNote,
    compare::{Digest, digest},
    error::Error,
    issuer::Case,
    observe,
    ownership::is_ours,
    version::exactly,
};

/// How often a Vault is read when the spec does not say.
const REFRESH: Duration = Duration::from_mins(1);
/// What was read so short a time ago is new to a service that asks for the first time: those of a burst read once.
const NEW: Duration = Duration::from_secs(3);

/// The service and what its values depend on besides the sources' own.
pub struct Sync<'a> {
    pub case: &'a Case<'a>,
    pub spec: &'a Secrets,
    /// Of the certificate, when each new one restarts the pods.
    pub serial: Option<&'a str>,
    /// Name of the operator's Secret.
    name: String,
    /// The annotation by which somebody forces a sync.
    pub forced: Option<&'a String>,
    /// Digest of what is asked for: the spec, what it must not clash with, and the versions of the Secrets that it names.
    pub asked: Digest,
}

impl<'a> Sync<'a> {
    /// Looks at caches only.
    pub fn new(case: &'a Case<'a>, spec: &'a Secrets, serial: Option<&'a str>) -> Self {
        let forced = case.service.annotations().get(crds::FORCE_SYNC_ANNOTATION);
        let named = spec.sources.iter().filter_map(|source| source.secret.as_ref());
        let versions = named.map(|secret| observe::labelled_version(case.ctx, case.key, &secret.name));
        let taken: Vec<_> = render::variables(case.service).collect();
        let asked = json!([spec, taken, forced, versions.collect::<Vec<_>>()]);
        Self {
            case,
            spec,
            serial,
            name: render::secrets::secret_name(case.service),
            forced,
            asked: digest(&asked),
        }
    }

    /// What is remembered of exactly the Secret that is there.
    pub fn known(&self) -> Option<ValuesNote> {
        let Case { ctx, key, service, .. } = self.case;
        let meta = ctx.cache.get(Kind::Secret, &key.namespace, &self.name)?;
        let note = ctx.cache.note(Kind::Secret, &key.namespace, &self.name).values?;
        (is_ours(&meta.metadata, service) && note.version == exactly(&*meta)).then_some(note)
    }

    /// Whether nothing is to be done: the same is asked for, and it is not time to read again.
    pub fn is_current(&self, note: &ValuesNote) -> bool {
        let stands = |login: &Login| login.state == login::state(self.case, &login.values);
        note.asked == self.asked
            && note.refresh_at.is_none_or(|at| self.case.now < at)
            && note.login.as_ref().is_none_or(stands)
    }

    /// What was read from a Vault before is too old.
    pub fn not_before(&self, known: Option<&ValuesNote>) -> Instant {
        // A service comes up to a tenth of the interval early, by chance: the first of many that share a path reads it.
        let shared = self.interval().mul_f64(0.9);
        let age = match known {
            Some(note) if note.forced.as_ref() != self.forced => Duration::ZERO,
            Some(note) if note.asked == self.asked => shared,
            _ => shared.min(NEW),
        };
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }

    fn interval(&self) -> Duration {
        self.spec.refresh_interval.map_or(REFRESH, crds::GepDuration::get)
    }

    /// When to read again.
    fn refresh_at(&self, read_at: Instant) -> Timestamp {
        let interval = self.interval().mul_f64(1.0 - 0.1 * backoff::random());
        self.case.now.checked_add(interval.saturating_sub(read_at.elapsed())).unwrap_or(Timestamp::MAX)
    }

    /// Every source has what it should.
    pub async fn settle(&self, found: Gathered, known: Option<ValuesNote>) -> Result<Decision, Error> {
        let Gathered { values, version, read_at } = found;
        let mut note = self.note(&values);
        note.asked = self.asked;
        note.forced = self.forced.cloned();
        note.source_version = version;
        note.refresh_at = read_at.map(|at| self.refresh_at(at));
        self.case.ctx.metrics.synced(self.case.key, self.case.now);
        let is_same = |known: &&ValuesNote| known.seal == note.seal && known.restart == note.restart;
        if let Some(known) = known.as_ref().filter(is_same) {
            note.version = known.version.clone();
            self.remember(note.clone());
            let refresh_at = note.refresh_at;
            return Ok(kept(note, None, refresh_at));
        }
        let live = self.live().await?;
        let own = live.as_ref().and_then(|live| self.own(live));
        let changed = own.as_ref().map(|own| values.differing(own));
        let last = known.and_then(|known| known.login);
        if let (Some(own), Some(live)) = (&own, &live)
            && let Some(wait) = self.wait(&values, own, (live, &note), last).await?
        {
            return Ok(self.wait_for(wait, own, live, note));
        }
        let restart = own.as_ref().map(|own| self.note(own).restart);
        let names = changed.clone().filter(|names| !names.is_empty());
        let pending = restart
            .clone()
            .zip(names)
            .map(|(restart, names)| Pending::new(self.case, self.serial, restart, names));
        // The Job stays until they are written: a refused write must not have it log in again.
        let proven = own.as_ref().and_then(|own| self.proven(&values, own));
        let before = match own.filter(|_| restart.is_some_and(|restart| restart != note.restart)) {
            Some(own) => self.next_before(own),
            None => self.kept_before(),
        };
        Ok(Decision {
            restart: note.restart.clone(),
            again: note.refresh_at,
            plan: Plan::Write(Box::new(Content { values, live, changed, pending, rejected: None, note })),
            problem: None,
            warning: None,
            before,
            login: proven.map(|values| (values, None)),
        })
    }

    /// What is there stays meanwhile. The sources are read as before: what changes back needs no restart.
    fn wait_for(&self, wait: Wait, own: &Values, live: &Secret, read: ValuesNote) -> Decision {
        let mut note =
            ValuesNote { version: exactly(live), source_version: read.source_version, ..self.note(own) };
        (note.asked, note.forced) = (self.asked, self.forced.cloned());
        note.refresh_at = read.refresh_at.into_iter().chain(wait.opens).min();
        note.waits = Some(wait.problem.clone());
        note.login = wait.login;
        self.remember(note.clone());
        let again = note.refresh_at;
        let mut decision = kept(note, Some(wait.problem), again);
        if let Some(login) = &mut decision.login {
            login.1 = wait.values;
        }
        decision
    }

    /// A source has not: what is there stays, if it is the operator's own.
    pub async fn stay(
        &self,
        known: Option<ValuesNote>,
        problem: Problem,
        until: Timestamp,
    ) -> Result<Decision, Error> {
        if let Some(note) = known {
            return Ok(kept(note, Some(problem), Some(until)));
        }
        let Some(live) = self.live().await? else { return Ok(self.left(problem, until)) };
        let Some(own) = self.own(&live) else {
            let message = format!(
                "{}. Secret {} was changed by somebody else meanwhile: no pod starts with it before its sources have all \
                 values again, and then it is restored",
                problem.message, self.name
            );
            return Ok(self.left(Problem { message, ..problem }, until));
        };
        let mut note = self.note(&own);
        note.version = exactly(&live);
        let old = self.case.service.status.as_ref().and_then(|status| status.secrets.as_ref());
        note.source_version = old.and_then(|old| old.version.clone()).unwrap_or_default();
        self.remember(note.clone());
        Ok(kept(note, Some(problem), Some(until)))
    }

    /// Nothing good is to be had. What the pods' template said of the values before, it still says: else it would be another
    /// one, and what others do to a Deployment that is held would not be undone.
    fn left(&self, problem: Problem, until: Timestamp) -> Decision {
        let remembered = self.case.ctx.cache.note(Kind::Secret, &self.case.key.namespace, &self.name).values;
        Decision { restart: remembered.and_then(|note| note.restart), ..left(problem, Some(until)) }
    }

    /// The operator's Secret, when the watch shows one of ours.
    pub async fn live(&self) -> Result<Option<Secret>, Error> {
        let Case { ctx, key, service, .. } = self.case;
        let meta = ctx.cache.get(Kind::Secret, &key.namespace, &self.name);
        if !meta.is_some_and(|meta| is_ours(&meta.metadata, service)) {
            return Ok(None);
        }
        let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
        let live = api.get_opt(&self.name).await?;
        Ok(live.filter(|live| is_ours(&live.metadata, service)))
    }

    /// Its values, when they are those that an operator with these keys wrote.
    pub fn own(&self, live: &Secret) -> Option<Values> {
        let values = Values::of(live);
        let seal = live.annotations().get(crds::SEAL_ANNOTATION)?;
        (*seal == self.seal(&values)).then_some(values)
    }

    /// For a Secret of their own.
    pub fn sealed(&self, values: Values) -> Sealed {
        Sealed { seal: self.seal(&values), values }
    }

    pub fn seal(&self, values: &Values) -> String {
        let uid = self.case.service.metadata.uid.as_deref().unwrap_or_default();
        self.case.keys.seal_values(uid, values.inputs())
    }

    /// What is remembered of these values, whatever was asked for.
    pub fn note(&self, values: &Values) -> ValuesNote {
        let restarting: Vec<_> =
            values.inputs().filter(|(name, _)| render::secrets::restarts(self.spec, name)).collect();
        ValuesNote {
            seal: self.seal(values),
            restart: (!restarting.is_empty()).then(|| self.case.keys.restart_hash(&restarting)),
            names: values.names().map(str::to_owned).collect(),
            ..ValuesNote::default()
        }
    }

    fn remember(&self, note: ValuesNote) {
        let namespace = &self.case.key.namespace;
        self.case.ctx.cache.remember(Kind::Secret, namespace, &self.name, |n| n.values = Some(note));
    }
}
