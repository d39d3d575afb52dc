//! How a database is reached: what a mounted Secret says in the shapes that operators of Postgres write, and what outranks
//! it. It asks no server, and no value of a Secret is repeated.

use std::{fmt, fs, io::ErrorKind, path::Path, path::PathBuf, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::{
    problem::{Problem, Reason},
    session,
};

const USUAL_PORT: u16 = 5432;
/// `CloudNativePG` writes it into the Secret of a superuser, who has no database of his own.
const EVERY_DATABASE: &str = "*";

/// What outranks the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Name or address of the server.
    pub host: Option<String>,
    /// Its port; 5432 when the Secret has none either.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// What TLS must be; an address never takes from it.
    pub tls: TlsMode,
    /// File with the certificate of the server's authority. Public authorities are trusted beside it.
    pub ca: Option<PathBuf>,
}

/// What is demanded of TLS. That it is used is not for choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// The certificate is of a trusted authority and for this host.
    #[default]
    VerifyFull,
    /// The certificate is of a trusted authority.
    VerifyCa,
    /// Whatever the server shows.
    Require,
}

impl TlsMode {
    /// Each one, the strictest first.
    pub const ALL: [Self; 3] = [Self::VerifyFull, Self::VerifyCa, Self::Require];

    /// As libpq's `sslmode` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyFull => "verify-full",
            Self::VerifyCa => "verify-ca",
            Self::Require => "require",
        }
    }

    const fn of_driver(self) -> PgSslMode {
        match self {
            Self::VerifyFull => PgSslMode::VerifyFull,
            Self::VerifyCa => PgSslMode::VerifyCa,
            Self::Require => PgSslMode::Require,
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TlsMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or("write verify-full, verify-ca or require")
    }
}

impl Target {
    /// What the Secret that is mounted in the folder leads to.
    pub fn options(&self, folder: &Path) -> Result<PgConnectOptions, Problem> {
        let options = self.of_secret(&Secret::read(folder)?)?;
        let Some(ca) = &self.ca else { return Ok(options) };
        // The driver reads it too, but says of no file which one it misses.
        fs::metadata(ca).map_err(|_| {
            let fix = "mount the certificate of the server's authority there";
            Problem::new(Reason::TlsFailed, format!("there is no file {}", ca.display()), fix)
        })?;
        Ok(options.ssl_root_cert(ca))
    }

    /// The same server and database for somebody else: a proof of another one would be none.
    #[must_use]
    pub fn at(&self, options: &PgConnectOptions) -> Self {
        Self {
            host: Some(options.get_host().to_owned()),
            port: Some(options.get_port()),
            database: options.get_database().map(str::to_owned),
            ..self.clone()
        }
    }

    fn of_secret(&self, secret: &Secret) -> Result<PgConnectOptions, Problem> {
        let (options, named) = match &secret.address {
            Some(address) => addressed(address, secret.password.as_ref())?,
            None => fields(secret)?,
        };
        let host = self.host.as_deref().or(named.host.then(|| options.get_host()));
        let host = host.ok_or_else(|| missing("host"))?.to_owned();
        let database =
            self.database.as_deref().or(named.database.then_some(options.get_database()).flatten());
        let database = database.filter(|name| *name != EVERY_DATABASE).map(str::to_owned);
        let database = database.ok_or_else(|| missing("database"))?;
        let port = self.port.unwrap_or_else(|| if named.port { options.get_port() } else { USUAL_PORT });
        if options.get_socket().is_some() || host.starts_with('/') {
            let fix = "write the name of a host";
            return Err(invalid("the connection leads to a socket, which has no TLS", fix));
        }
        // They would be verified in the place of what the server gives every session.
        if options.get_options().is_some() {
            return Err(invalid(
                "the address has options for the session",
                "leave options out of the address",
            ));
        }
        // In an address, one of IPv6 stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(options.host(host).port(port).database(&database).ssl_mode(self.tls.of_driver()))
    }
}

/// What is said outright. Whatever is not, the driver takes from its environment, which is not asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    host: bool,
    port: bool,
    database: bool,
}

impl Named {
    /// Of an address that the driver could read, with the parser that it has too; nothing when it names no user.
    fn of(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let asks = |keys: &[&str]| url.query_pairs().any(|(key, _)| keys.contains(&&*key));
        let names_user = !url.username().is_empty() || asks(&["user"]);
        names_user.then(|| Self {
            host: url.host_str().is_some_and(|host| !host.is_empty()) || asks(&["host", "hostaddr"]),
            port: url.port().is_some() || asks(&["port"]),
            database: !url.path().trim_matches('/').is_empty() || asks(&["dbname"]),
        })
    }
}

/// Files of a Secret, without the line breaks at their ends; an empty one says nothing.
#[derive(Debug, Default)]
struct Secret {
    address: Option<SecretString>,
    user: Option<SecretString>,
    password: Option<SecretString>,
    host: Option<SecretString>,
    port: Option<SecretString>,
    database: Option<SecretString>,
}

impl Secret {
    fn read(folder: &Path) -> Result<Self, Problem> {
        Self::of(|key| match fs::read_to_string(folder.join(key)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(_) => {
                let fix = "write text in UTF-8 into it, and let the process read it";
                Err(invalid(&format!("{key} of the Secret cannot be read"), fix))
            }
        })
    }

    /// `url` is this project's; `uri`, `dbname` and `user` are of `CloudNativePG`; Zalando has only `username` and `password`.
    fn of(read: impl Fn(&str) -> Result<Option<String>, Problem>) -> Result<Self, Problem> {
        let one = |key: &str| -> Result<Option<SecretString>, Problem> {
            let text = read(key)?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
            Ok(text.filter(|text| !text.is_empty()).map(Into::into))
        };
        let either = |key: &str, other: &str| {
            one(key).and_then(|text| text.map_or_else(|| one(other), |text| Ok(Some(text))))
        };
        Ok(Self {
            address: either("url", "uri")?,
            user: either("username", "user")?,
            password: one("password")?,
            host: one("host")?,
            port: one("port")?,
            database: one("dbname")?,
        })
    }
}

fn addressed(
    address: &SecretString,
    password: Option<&SecretString>,
) -> Result<(PgConnectOptions, Named), Problem> {
    let options = session::address(address, password)?;
    let fix = "write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    let named =
        Named::of(address.expose_secret()).ok_or_else(|| invalid("the address names no user", fix))?;
    Ok((options, named))
}

fn fields(secret: &Secret) -> Result<(PgConnectOptions, Named), Problem> {
    let (Some(user), Some(password)) = (&secret.user, &secret.password) else {
        let fix = "write url; or uri; or username and password, with host, port and dbname in the Secret or in \
                   spec.postgres.connection";
        return Err(invalid("the Secret has neither an address nor a user with a password", fix));
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .username(user.expose_secret())
        .password(password.expose_secret());
    if let Some(host) = &secret.host {
        options = options.host(host.expose_secret());
    }
    if let Some(port) = &secret.port {
        let number = port.expose_secret().parse().map_err(|_| {
            let fix = "correct it, or write the number in spec.postgres.connection.port";
            invalid("port of the Secret is no number of a port", fix)
        })?;
        options = options.port(number);
    }
    if let Some(database) = &secret.database {
        options = options.database(database.expose_secret());
    }
    let named = Named {
        host: secret.host.is_some(),
        port: secret.port.is_some(),
        database: secret.database.is_some(),
    };
    Ok((options, named))
}

fn invalid(detail: &str, fix: &str) -> Problem {
    Problem::new(Reason::InvalidUrl, detail, fix)
}

fn missing(what: &str) -> Problem {
    let fix = match what {
        "host" => "write the name of the server in spec.postgres.connection.host",
        _ => "write the name of the database in spec.postgres.connection.database",
    };
    invalid(&format!("the Secret names no {what}, and neither does spec.postgres.connection.{what}"), fix)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
