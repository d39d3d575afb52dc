//! Which plans are none: names that are no plain names, and what contradicts itself. It asks no server.

use crate::plan::{Audit, Extension, Invalid, Plan, Scope};

/// Longest name that Postgres does not cut.
const LONGEST_NAME: usize = 63;
const LONGEST_VERSION: usize = 32;

impl Plan {
    /// Whether it can be carried out. No name of it reaches SQL before this said yes.
    pub fn check(&self) -> Result<(), Invalid> {
        for (index, wanted) in self.extensions.iter().enumerate() {
            let field = |name: &str| format!("extensions[{index}].{name}");
            if self.extensions[..index].iter().any(|other| other.name == wanted.name) {
                return Err(invalid(&field("name"), "is there twice", "name each extension once"));
            }
            if let Some(version) = &wanted.version {
                check_version(version, &field("version"))?;
            }
            if let Some(schema) = &wanted.schema {
                check_schema(schema, &field("schema"))?;
            }
        }
        self.audit.as_ref().map_or(Ok(()), |audit| self.check_audit(audit))
    }

    fn check_audit(&self, audit: &Audit) -> Result<(), Invalid> {
        if !self.has(Extension::Pgaudit) {
            let fix = "add {name: pgaudit} to extensions";
            return Err(invalid("audit", "needs the extension pgaudit, which is not asked for", fix));
        }
        if audit.log.is_empty() {
            return Err(invalid("audit.log", "is empty, so nothing would be audited", "write [all]"));
        }
        if (1..audit.log.len()).any(|index| audit.log[..index].contains(&audit.log[index])) {
            return Err(invalid("audit.log", "has a class twice", "name each class once"));
        }
        if audit.parameters && self.has(Extension::Pgcrypto) {
            let problem = "with pgcrypto would write every key and every plain text that a statement hands over into the log";
            return Err(invalid("audit.parameters", problem, "set it to false"));
        }
        if let Some(role) = &audit.role {
            check_role(role, "audit.role")?;
        }
        match &audit.scope {
            Scope::Database => Ok(()),
            Scope::Role(role) => check_role(role, "audit.scope.role"),
        }
    }
}

fn invalid(field: &str, problem: &'static str, fix: &'static str) -> Invalid {
    Invalid { field: field.to_owned(), problem, fix }
}

/// `^[a-z_][a-z0-9_]{0,62}$`, and none of the server's own.
fn check_name(name: &str, field: &str) -> Result<(), Invalid> {
    let first = |c: u8| c.is_ascii_lowercase() || c == b'_';
    let rest = |c: u8| first(c) || c.is_ascii_digit();
    let is_plain = name.bytes().next().is_some_and(first) && name.bytes().all(rest);
    if !is_plain || name.len() > LONGEST_NAME {
        let fix = "write 1 to 63 lower-case letters, digits and _, not beginning with a digit";
        return Err(invalid(field, "is not a plain name", fix));
    }
    // pg_temp and pg_catalog are searched before every other schema; roles of this form have rights of the server's own.
    if name.starts_with("pg_") {
        return Err(invalid(field, "begins with pg_, which is kept for Postgres", "use a name of your own"));
    }
    Ok(())
}

fn check_schema(name: &str, field: &str) -> Result<(), Invalid> {
    check_name(name, field)?;
    if name == "information_schema" {
        return Err(invalid(field, "is a schema of the server's own", "use a schema of your own"));
    }
    Ok(())
}

fn check_role(name: &str, field: &str) -> Result<(), Invalid> {
    check_name(name, field)?;
    if ["public", "none"].contains(&name) {
        return Err(invalid(field, "is a word that Postgres takes for no role", "name a role"));
    }
    Ok(())
}

/// `^[0-9A-Za-z._-]{1,32}$`.
fn check_version(version: &str, field: &str) -> Result<(), Invalid> {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    if version.is_empty() || version.len() > LONGEST_VERSION || !version.bytes().all(is_plain) {
        let fix = "write 1 to 32 letters, digits and . _ -, such as 1.3";
        return Err(invalid(field, "is not a version", fix));
    }
    Ok(())
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
