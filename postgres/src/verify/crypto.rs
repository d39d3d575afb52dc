//! Does pgcrypto do what its name says? Only its very own functions are called, whatever else has their names.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Check, Control};
use crate::{plan::Extension, problem::is_denied, server, session::quoted};

/// `sha256("abc")`, from FIPS 180-2.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const AGAIN: &str = "drop extension pgcrypto and harden the database again";

/// How many functions of this name and these arguments in the schema belong to the extension and run its own library. An
/// overload of somebody else's is none of them, and neither is a function that was added to the extension.
const OWN: &str = "\
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid \
        AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' \
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extnamespace = p.pronamespace \
    WHERE e.extname = 'pgcrypto' AND p.proname = $1::pg_catalog.name AND l.lanname = 'c' \
    AND p.probin = '$libdir/pgcrypto' AND pg_catalog.oidvectortypes(p.proargtypes) = $2";

pub(super) async fn look(connection: &mut PgConnection) -> sqlx::Result<Vec<Check>> {
    let Some(there) = server::installed(connection, Extension::Pgcrypto).await? else {
        return Ok(Vec::new());
    };
    let schema = quoted(&there.schema);
    let mut checks = Vec::new();
    for proof in [round_trip(&schema), digest(&schema), random_bytes(&schema), random_uuid()] {
        checks.push(proof.run(connection).await?);
    }
    Ok(checks)
}

/// A statement that gives true, of functions that are looked at first.
struct Proof {
    control: Control,
    functions: &'static [(&'static str, &'static str)],
    sql: String,
    evidence: &'static str,
}

/// The key is made by the server within the statement: a parameter would be in its log under `log_statement = all`, and a
/// literal in `pg_stat_activity` too. Each argument has its type, so that no other overload is better.
fn round_trip(schema: &str) -> Proof {
    let text = "pg_catalog.text";
    let sql = format!(
        "WITH k AS MATERIALIZED (SELECT pg_catalog.encode({schema}.gen_random_bytes(32), 'hex') AS key), \
         c AS MATERIALIZED (SELECT key, {schema}.pgp_sym_encrypt('plain'::{text}, key) AS secret FROM k) \
         SELECT {schema}.pgp_sym_decrypt(secret, key) = 'plain' AND \
         pg_catalog.strpos(pg_catalog.encode(secret, 'escape'), 'plain') = 0 FROM c"
    );
    let functions = &[
        ("pgp_sym_encrypt", "text, text"),
        ("pgp_sym_decrypt", "bytea, text"),
        ("gen_random_bytes", "integer"),
    ];
    Proof {
        control: Control::RoundTrip,
        functions,
        sql,
        evidence: "encrypted with a random key, and decrypted",
    }
}

fn digest(schema: &str) -> Proof {
    let sql = format!(
        "SELECT pg_catalog.encode({schema}.digest('abc'::pg_catalog.bytea, 'sha256'::pg_catalog.text), 'hex') = '{ABC}'"
    );
    let functions = &[("digest", "bytea, text")];
    Proof { control: Control::Digest, functions, sql, evidence: "sha256 of a known text is the known digest" }
}

fn random_bytes(schema: &str) -> Proof {
    let sql = format!(
        "SELECT a <> b AND pg_catalog.octet_length(a) = 32 \
         FROM (SELECT {schema}.gen_random_bytes(32) AS a, {schema}.gen_random_bytes(32) AS b) AS r"
    );
    let functions = &[("gen_random_bytes", "integer")];
    Proof { control: Control::RandomBytes, functions, sql, evidence: "32 random bytes differ from 32 others" }
}

/// Postgres' own, since version 13; pgcrypto's is the same.
fn random_uuid() -> Proof {
    let sql = "SELECT pg_catalog.gen_random_uuid() <> pg_catalog.gen_random_uuid()".to_owned();
    Proof { control: Control::RandomUuid, functions: &[], sql, evidence: "two random identifiers differ" }
}

impl Proof {
    async fn run(self, connection: &mut PgConnection) -> sqlx::Result<Check> {
        for (name, arguments) in self.functions {
            let own: i64 =
                sqlx::query_scalar(OWN).bind(name).bind(arguments).fetch_one(&mut *connection).await?;
            if own != 1 {
                let evidence = format!("{name}({arguments}) is not the function of extension pgcrypto");
                return Ok(Check::failed(self.control, evidence, AGAIN));
            }
        }
        // Safe: nothing but the name of the schema is not written above, and that is quoted.
        let answer =
            sqlx::query_scalar::<_, Option<bool>>(AssertSqlSafe(self.sql)).fetch_one(connection).await;
        Ok(match answer {
            Ok(Some(true)) => Check::passed(self.control, self.evidence),
            Ok(_) => Check::failed(self.control, format!("it is not so: {}", self.evidence), AGAIN),
            Err(error) if is_denied(&error) => {
                let fix = "GRANT USAGE on the schema of pgcrypto and EXECUTE on its functions to the role that verifies";
                Check::unknown(self.control, "the role may not call the function", fix)
            }
            Err(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default().into_owned();
                Check::failed(self.control, format!("the function failed with SQLSTATE {code}"), AGAIN)
            }
            Err(error) => return Err(error),
        })
    }
}
