//! What new values wait for before they replace those in place: that somebody changes them, a window, a login.

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use render::Problem;

use super::{
    login::{self, Login, State},
    revert::{self, Rejected},
    sync::Sync,
    values::{Sealed, Values},
    window,
};
use crate::{cache::ValuesNote, error::Error};

/// What new values wait for.
pub struct Wait {
    /// In words.
    pub problem: Problem,
    /// The end of it, where it is known.
    pub opens: Option<Timestamp>,
    /// A login with them.
    pub login: Option<Login>,
    /// The values that it needs.
    pub values: Option<Sealed>,
}

impl Sync<'_> {
    /// The login that they passed.
    pub fn proven(&self, new: &Values, own: &Values) -> Option<String> {
        let values = login::suffix(&self.seal(&login::needed(self.case, new, own)?));
        (login::state(self.case, &values) == State::LoggedIn).then_some(values)
    }

    /// What new values wait for: another try, a window, a login.
    pub async fn wait(
        &self,
        new: &Values,
        own: &Values,
        (live, note): (&Secret, &ValuesNote),
        last: Option<Login>,
    ) -> Result<Option<Wait>, Error> {
        if Rejected::of(live).is_some_and(|rejected| rejected.is(&note.seal, self.forced)) {
            let problem = revert::rejected(&new.differing(own));
            return Ok(Some(Wait { problem, opens: None, login: None, values: None }));
        }
        if let Some(opens) = window::opens_at(&self.spec.change_windows, self.case.now)
            && self.note(own).restart != note.restart
        {
            let problem = window::closed(opens);
            return Ok(Some(Wait { problem, opens: Some(opens), login: None, values: None }));
        }
        self.log_in(new, own, last).await
    }

    /// The login that changed values wait for, and whether it failed.
    async fn log_in(&self, new: &Values, own: &Values, last: Option<Login>) -> Result<Option<Wait>, Error> {
        let Some(needed) = login::needed(self.case, new, own) else { return Ok(None) };
        if self.case.facts.settings.jobs.image.is_none() {
            return Ok(Some(Wait { problem: login::not_allowed(), opens: None, login: None, values: None }));
        }
        let needed = self.sealed(needed);
        let values = login::suffix(&needed.seal);
        let state = login::state(self.case, &values);
        let last = last.filter(|last| last.values == values);
        let held = match (state, last) {
            (State::LoggedIn, _) => return Ok(None),
            (State::Failed, Some(Login { state: State::Failed, held: Some(held), .. })) => Some(held),
            (State::Failed, _) => Some(login::why(self.case, &values).await?),
            (_, last) => last.and_then(|last| last.held),
        };
        let names: Vec<_> = needed.values.names().map(str::to_owned).collect();
        let problem = held.clone().unwrap_or_else(|| login::under_way(&names));
        let login = Login { values, state, held };
        Ok(Some(Wait { problem, opens: None, login: Some(login), values: Some(needed) }))
    }
}
