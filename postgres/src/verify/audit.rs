//! Do pgaudit's settings hold for those whom the plan names, and does nobody have settings of his own that take from them?

use sqlx::PgConnection;

use super::{Check, Control};
use crate::{
    plan::{Audit, Scope},
    problem::tame,
    report::SeenSetting,
    server,
    settings::{self, Setting, Standing},
};

/// At most so many settings are named.
const NAMED: usize = 10;
const AGAIN: &str = "harden the database again";

pub(super) async fn look(
    connection: &mut PgConnection,
    audit: &Audit,
) -> sqlx::Result<(Vec<Check>, Vec<SeenSetting>)> {
    let standing = settings::standing(connection).await?;
    let (mut checks, mut seen) = (Vec::new(), Vec::new());
    for setting in Setting::ALL {
        let value = match &audit.scope {
            // The session is new, so what holds in it holds in every new one that has no settings of its own.
            Scope::Database => server::value(connection, setting.as_str()).await?,
            Scope::Role(role) => of_role(setting, role, &standing).map(str::to_owned),
        };
        checks.push(judge(setting, audit, value.as_deref()));
        seen.extend(value.map(|value| SeenSetting { name: setting, value: tame(&value) }));
    }
    checks.push(overrides(audit, &standing));
    Ok((checks, seen))
}

/// What a new session of the role would have. Of its values that for this database outranks that for all.
fn of_role<'a>(setting: Setting, role: &str, standing: &'a [Standing]) -> Option<&'a str> {
    let its = standing.iter().filter(|one| one.role.as_deref() == Some(role));
    let values = its.filter_map(|one| Some((one.here, one.value_of(setting)?)));
    values.max_by_key(|(here, _)| *here).map(|(_, value)| value)
}

fn judge(setting: Setting, audit: &Audit, value: Option<&str>) -> Check {
    let control = Control::AuditSetting(setting);
    let Some(value) = value else { return absent(setting, audit) };
    let evidence = format!("{} = '{value}'", setting.as_str());
    if setting.is_met(value, audit) {
        Check::passed(control, evidence)
    } else {
        let fix = format!("{AGAIN}: '{}' is wanted", setting.wanted(audit));
        Check::failed(control, evidence, fix)
    }
}

fn absent(setting: Setting, audit: &Audit) -> Check {
    let (name, control) = (setting.as_str(), Control::AuditSetting(setting));
    match &audit.scope {
        Scope::Database => {
            let evidence = format!("there is no {name}: pgaudit is not loaded");
            Check::failed(control, evidence, crate::remedy::preload(crate::Extension::Pgaudit))
        }
        Scope::Role(role) => Check::failed(control, format!("{name} is not set for role {role}"), AGAIN),
    }
}

/// Settings of others that outrank the plan's in their sessions.
fn overrides(audit: &Audit, standing: &[Standing]) -> Check {
    let outranks = |one: &&Standing| match &audit.scope {
        Scope::Database => one.role.is_some(),
        Scope::Role(role) => one.role.as_ref() == Some(role) && one.here,
    };
    let takes = |one: &Standing| {
        let setting = Setting::ALL.into_iter().find(|setting| one.value_of(*setting).is_some())?;
        let value = one.value_of(setting)?;
        (!setting.is_met(value, audit)).then(|| {
            format!("role {} has {} = '{value}'", one.role.as_deref().unwrap_or_default(), setting.as_str())
        })
    };
    let found: Vec<_> = standing.iter().filter(outranks).filter_map(takes).take(NAMED).collect();
    if found.is_empty() {
        return Check::passed(
            Control::AuditOverrides,
            "no role has settings of its own that take from these",
        );
    }
    let fix = "ALTER ROLE ... RESET each of them, with IN DATABASE where it is set for one";
    Check::failed(Control::AuditOverrides, found.join("; "), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::AuditClass, verify::Outcome};

    fn audit(scope: Scope) -> Audit {
        Audit {
            log: vec![AuditClass::All],
            rows: true,
            parameters: false,
            connections: false,
            role: None,
            scope,
        }
    }

    fn one(role: Option<&str>, here: bool, text: &str) -> Standing {
        Standing { role: role.map(Into::into), here, text: text.into() }
    }

    #[test]
    fn a_role_with_settings_of_its_own_is_found() {
        let database = audit(Scope::Database);
        let fine = [
            one(None, true, "pgaudit.log=all"),
            one(Some("app"), true, "pgaudit.log=all"),
            one(Some("app"), false, "pgaudit.log_client=on"),
        ];
        assert_eq!(overrides(&database, &fine).outcome, Outcome::Passed);
        let check = overrides(&database, &[one(Some("app"), false, "pgaudit.log=none")]);
        assert_eq!((check.outcome, &*check.evidence), (Outcome::Failed, "role app has pgaudit.log = 'none'"));
    }

    #[test]
    fn of_a_roles_values_that_for_this_database_counts() {
        let scoped = audit(Scope::Role("app".into()));
        let of = |standing: &[Standing]| {
            judge(Setting::Log, &scoped, of_role(Setting::Log, "app", standing)).outcome
        };
        assert_eq!(of(&[]), Outcome::Failed);
        assert_eq!(
            of(&[one(Some("other"), false, "pgaudit.log=all"), one(None, true, "pgaudit.log=all")]),
            Outcome::Failed
        );
        let all = one(Some("app"), false, "pgaudit.log=all");
        assert_eq!(of(&[all]), Outcome::Passed);
        let both = [one(Some("app"), false, "pgaudit.log=all"), one(Some("app"), true, "pgaudit.log=none")];
        assert_eq!(of(&both), Outcome::Failed);
        assert_eq!(overrides(&scoped, &both).outcome, Outcome::Failed);
    }
}
