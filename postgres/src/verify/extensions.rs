//! Are the extensions there, in the version and the schema that are wanted?

use sqlx::PgConnection;

use super::{Check, Control};
use crate::{
    plan::{Plan, WantedExtension},
    problem::tame,
    report::SeenExtension,
    server::{self, Installed},
    session::quoted,
};

pub(super) async fn look(
    connection: &mut PgConnection,
    plan: &Plan,
) -> sqlx::Result<(Vec<Check>, Vec<SeenExtension>)> {
    let (mut checks, mut seen) = (Vec::new(), Vec::new());
    for wanted in &plan.extensions {
        let there = server::installed(connection, wanted.name).await?;
        if let Some(Installed { version, schema }) = &there {
            seen.push(SeenExtension { name: wanted.name, version: tame(version), schema: tame(schema) });
        }
        checks.push(judge(wanted, there));
    }
    Ok((checks, seen))
}

fn judge(wanted: &WantedExtension, there: Option<Installed>) -> Check {
    let (extension, control) = (wanted.name, Control::Extension(wanted.name));
    let Some(Installed { version, schema }) = there else {
        return Check::failed(
            control,
            format!("extension {extension} is not installed"),
            "harden the database again",
        );
    };
    let evidence = format!("extension {extension} {version} in schema {}", quoted(&schema));
    if wanted.schema.as_ref().is_some_and(|wanted| *wanted != schema) {
        let fix = "name the schema where it is, or move it yourself: ALTER EXTENSION ... SET SCHEMA";
        return Check::failed(control, evidence, fix);
    }
    match &wanted.version {
        Some(wanted) if *wanted != version => {
            let fix = format!("harden the database again, which updates it to {wanted}");
            Check::failed(control, evidence, fix)
        }
        _ => Check::passed(control, evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Extension, verify::Outcome};

    #[test]
    fn what_is_not_named_does_not_matter_and_what_is_named_must_be_right() {
        let judged = |version: Option<&str>, schema: Option<&str>| {
            let (version, schema) = (version.map(Into::into), schema.map(Into::into));
            let there = Installed { version: "1.3".into(), schema: "crypt".into() };
            judge(&WantedExtension { name: Extension::Pgcrypto, version, schema }, Some(there)).outcome
        };
        assert_eq!(judged(None, None), Outcome::Passed);
        assert_eq!(judged(Some("1.3"), Some("crypt")), Outcome::Passed);
        assert_eq!(judged(Some("1.2"), None), Outcome::Failed);
        assert_eq!(judged(None, Some("public")), Outcome::Failed);
    }
}
