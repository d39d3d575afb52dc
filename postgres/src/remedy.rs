//! What to do about a problem, in the words of plain Postgres, `CloudNativePG`, RDS and Cloud SQL. Texts only.

use crate::{
    plan::Extension,
    problem::{Doing, Reason},
};

/// Whoever may do everything, by offering.
const BE_SUPERUSER: &str = "log in as superuser (CloudNativePG: spec.enableSuperuserAccess: true and the Secret \
                            CLUSTER-superuser; RDS: a member of rds_superuser; Cloud SQL: a member of cloudsqlsuperuser)";
const RESTART: &str = "restart the server (plain Postgres: pg_ctl restart; CloudNativePG: kubectl cnpg restart CLUSTER, if it \
                       does not by itself; RDS: reboot the instance; Cloud SQL: gcloud sql instances restart INSTANCE)";

/// What usually helps.
pub(crate) fn of(reason: Reason, doing: Doing) -> String {
    let text = match reason {
        Reason::PreloadMissing => {
            let Doing::Create(extension) = doing else { return preload(Extension::Pgaudit) };
            return preload(extension);
        }
        Reason::NotSuperuser => return rights(doing),
        Reason::NotAvailable => {
            "install the package with the extension on the server (Debian: postgresql-contrib, postgresql-NN-pgaudit; \
             CloudNativePG: an image that has it; RDS and Cloud SQL: an engine version that has it)"
        }
        Reason::RestartPending => RESTART,
        Reason::UnsupportedVersion => "use Postgres 13 or later",
        Reason::ReadOnlyStandby => {
            "use the address of the primary (CloudNativePG: the Service CLUSTER-rw; RDS and Cloud SQL: the address of the \
             instance, not of a replica)"
        }
        Reason::Unreachable => "correct host and port, open the way to it, or wait until the server answers",
        Reason::AuthFailed => {
            "set the same user and password in Postgres and in the source, and look at pg_hba.conf"
        }
        Reason::TlsFailed => "correct sslmode and sslrootcert, or the server's certificate",
        Reason::DatabaseMissing => "create the database, or correct its name",
        Reason::TooManyConnections => "raise max_connections, or use fewer",
        Reason::InvalidUrl => "write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
        Reason::SchemaMissing => "create the schema, or name one that is there",
        Reason::WrongSchema => {
            "name the schema where it is, or move it yourself: ALTER EXTENSION ... SET SCHEMA"
        }
        Reason::Refused => return refused(doing),
    };
    text.to_owned()
}

/// How the library of an extension is loaded at the server's start.
pub(crate) fn preload(extension: Extension) -> String {
    let library = extension.as_str();
    let (setting, cloud_sql) = match extension {
        Extension::PgStatStatements => ("pg_stat_statements.max", "it is loaded by Google"),
        _ => ("pgaudit.log", "the flag cloudsql.enable_pgaudit=on"),
    };
    format!(
        "load {library} at the server's start (plain Postgres: ALTER SYSTEM SET shared_preload_libraries = '{library}', with \
         what is in it already, and a restart; CloudNativePG: {setting} in spec.postgresql.parameters, which loads it; RDS: \
         {library} in shared_preload_libraries of the parameter group, and a reboot; Cloud SQL: {cloud_sql})"
    )
}

/// Never more than is needed: whoever may create objects in a database may create a trusted extension.
fn rights(doing: Doing) -> String {
    match doing {
        Doing::Create(extension) if extension.is_trusted() => {
            "no superuser is needed: log in as the owner of the database, or GRANT CREATE ON DATABASE to the role".to_owned()
        }
        Doing::Update(extension) | Doing::Drop(extension) if extension.is_trusted() => {
            "no superuser is needed: log in as the owner of the extension".to_owned()
        }
        Doing::MakeRole | Doing::DropRole => {
            "log in as a role with CREATEROLE that may manage this one, or create and drop it yourself".to_owned()
        }
        Doing::Set => format!("{BE_SUPERUSER}, or from Postgres 15 on GRANT SET ON PARAMETER for each setting, and be its owner"),
        _ => BE_SUPERUSER.to_owned(),
    }
}

fn refused(doing: Doing) -> String {
    let text = match doing {
        Doing::Connect => "GRANT CONNECT ON DATABASE to the role, or look at the server's log",
        Doing::Create(_) | Doing::Update(_) => {
            "look at the server's log: objects of the same name, or an event trigger, may stand in the way; nothing was changed"
        }
        Doing::Drop(_) | Doing::DropRole => {
            "look at the server's log for what depends on it; nothing was changed"
        }
        Doing::Look | Doing::MakeRole | Doing::Set | Doing::Commit => {
            "look at the server's log; nothing was changed"
        }
    };
    text.to_owned()
}
