//! Each shape of a Secret leads where it says, what is said outright outranks it, and nothing of it is repeated.

use super::*;

const CANARY: &str = "canary-3b7e";

fn secret(files: &[(&str, &str)]) -> Secret {
    let find = |key: &str| files.iter().find(|(name, _)| *name == key).map(|(_, text)| (*text).to_owned());
    Secret::of(|key| Ok(find(key))).unwrap()
}

/// Host, port, database and user.
type Place = (String, u16, Option<String>, String);

fn place(options: &PgConnectOptions) -> Place {
    let database = options.get_database().map(str::to_owned);
    (options.get_host().into(), options.get_port(), database, options.get_username().into())
}

fn at(host: &str, port: u16, database: &str, user: &str) -> Place {
    (host.into(), port, Some(database.into()), user.into())
}

fn leads(target: &Target, files: &[(&str, &str)]) -> Place {
    place(&target.of_secret(&secret(files)).unwrap())
}

fn refused(target: &Target, files: &[(&str, &str)]) -> Problem {
    let problem = target.of_secret(&secret(files)).unwrap_err();
    assert!(!format!("{problem} {problem:?}").contains(CANARY), "{problem}");
    assert_eq!(problem.reason, Reason::InvalidUrl);
    problem
}

fn target(host: Option<&str>, port: Option<u16>, database: Option<&str>) -> Target {
    Target { host: host.map(Into::into), port, database: database.map(Into::into), ..Target::default() }
}

const FIELDS: [(&str, &str); 5] =
    [("host", "shop-rw"), ("port", "6000\n"), ("dbname", "shop"), ("username", "app"), ("password", CANARY)];

#[test]
fn each_shape_of_a_secret_leads_to_its_database() {
    let bare = Target::default();
    assert_eq!(leads(&bare, &[("url", "postgres://app:p@db:6001/shop\n")]), at("db", 6001, "shop", "app"));
    let apart = [("url", "postgres://app@db/shop"), ("password", CANARY)];
    assert_eq!(leads(&bare, &apart), at("db", 5432, "shop", "app"));
    let uri =
        [("uri", "postgresql://app:p@shop-rw.team:5432/shop"), ("username", "other"), ("password", "p")];
    assert_eq!(leads(&bare, &uri), at("shop-rw.team", 5432, "shop", "app"));
    assert_eq!(leads(&bare, &FIELDS), at("shop-rw", 6000, "shop", "app"));
    let user = [("host", "h"), ("dbname", "d"), ("user", "u"), ("password", "p")];
    assert_eq!(leads(&bare, &user), at("h", 5432, "d", "u"));
    let zalando = [("username", "postgres"), ("password", CANARY)];
    assert_eq!(
        leads(&target(Some("acid"), None, Some("shop")), &zalando),
        at("acid", 5432, "shop", "postgres")
    );
    let six = [("url", "postgres://app:p@[::1]:6002/shop")];
    assert_eq!(leads(&bare, &six), at("::1", 6002, "shop", "app"));
}

#[test]
fn what_is_said_outright_outranks_the_secret() {
    let all = target(Some("other"), Some(7000), Some("stock"));
    let here = at("other", 7000, "stock", "app");
    assert_eq!(leads(&all, &FIELDS), here);
    assert_eq!(leads(&all, &[("url", "postgres://app:p@db:6001/shop")]), here);
    assert_eq!(leads(&target(None, None, Some("stock")), &FIELDS), at("shop-rw", 6000, "stock", "app"));
}

#[test]
fn the_same_server_and_database_are_looked_at_by_somebody_else() {
    let options = Target::default().of_secret(&secret(&FIELDS)).unwrap();
    let other = [("url", "postgres://eye:p@elsewhere:1/other")];
    assert_eq!(leads(&Target::default().at(&options), &other), at("shop-rw", 6000, "shop", "eye"));
}

#[test]
fn a_secret_of_a_superuser_needs_the_name_of_the_database() {
    let superuser = [("uri", "postgresql://postgres:p@shop-rw:5432/*"), ("dbname", "*")];
    let problem = refused(&Target::default(), &superuser);
    assert!(problem.detail.contains("no database"), "{problem}");
    assert_eq!(problem.fix, "write the name of the database in spec.postgres.connection.database");
    let fields = FIELDS.map(|(key, text)| (key, if key == "dbname" { "*" } else { text }));
    assert_eq!(refused(&Target::default(), &fields), problem);
    let named = target(None, None, Some("shop"));
    assert_eq!(leads(&named, &superuser), at("shop-rw", 5432, "shop", "postgres"));
}

#[test]
fn what_is_missing_is_named_and_never_taken_from_the_environment() {
    let bare = Target::default();
    let of_zalando = [("username", "postgres"), ("password", CANARY)];
    for files in [&of_zalando[..], &[("url", "postgres:///shop?user=app")]] {
        let problem = refused(&bare, files);
        assert_eq!(problem.fix, "write the name of the server in spec.postgres.connection.host");
    }
    assert!(refused(&bare, &[("url", "postgres://app@db")]).fix.ends_with("connection.database"));
    assert!(refused(&bare, &[("url", "postgres://db/shop")]).detail.contains("no user"));
    for files in [&[][..], &[("username", CANARY)], &[("password", CANARY)], &[("url", "")]] {
        assert!(refused(&bare, files).detail.contains("neither an address nor a user"));
    }
}

#[test]
fn what_is_no_address_or_weakens_the_session_is_refused_and_not_repeated() {
    let bare = Target::default();
    let port = FIELDS.map(|(key, text)| (key, if key == "port" { CANARY } else { text }));
    assert!(refused(&bare, &port).fix.contains("connection.port"));
    for address in ["", CANARY, "mysql://app@db/shop", "postgres://app:canary-3b7e@db:port/shop"] {
        refused(&bare, &[("url", &format!("{address}{CANARY}"))]);
    }
    let socket = [("url", "postgres://app:canary-3b7e@%2Fvar%2Frun/shop")];
    assert!(refused(&bare, &socket).detail.contains("a socket"));
    assert!(refused(&target(Some("db"), None, None), &socket).detail.contains("a socket"));
    assert!(refused(&target(Some("/run"), None, None), &FIELDS).detail.contains("a socket"));
    let options = [("url", "postgres://app:canary-3b7e@db/shop?options=-c%20pgaudit.log%3Dall")];
    assert!(refused(&bare, &options).detail.contains("options"));
}

#[test]
fn an_address_never_takes_from_what_is_demanded_of_tls() {
    for mode in TlsMode::ALL {
        for of_address in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
            let address = format!("postgres://app@db/shop?sslmode={of_address}");
            let wanted = Target { tls: mode, ..Target::default() };
            let options = wanted.of_secret(&secret(&[("url", &address)])).unwrap();
            assert_eq!(format!("{:?}", options.get_ssl_mode()), format!("{:?}", mode.of_driver()));
        }
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    assert!("disable".parse::<TlsMode>().is_err());
    assert_eq!(Target::default().tls, TlsMode::VerifyFull);
}
