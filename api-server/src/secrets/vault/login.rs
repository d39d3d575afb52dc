//! Logging in to Vault, and keeping the token alive. What it reads from files it keeps no longer than the login.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use vault_kv::{Auth, Fault, Wire};
use vaultrs::api::{
    auth::{approle::requests::LoginWithApproleRequest, kubernetes::requests::LoginWithKubernetesRequest},
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
};

use super::Session;
use crate::secrets::{
    backend::{BackendError, credential},
    config::{VaultAuth, VaultConfig},
    problem::Problem,
};

/// Where the login failed.
pub enum Error {
    /// At a file of ours.
    Here(BackendError),
    /// At Vault.
    There(Fault),
}

/// Settings that the login method needs and does not have.
pub fn missing_settings(config: &VaultConfig) -> Option<Problem> {
    let missing = |field, fix| Some(Problem::new(field, "is missing", fix));
    match config.vault_auth {
        VaultAuth::Token
            if config.vault_token_file.is_none() && std::env::var_os("VAULT_TOKEN").is_none() =>
        {
            missing("VAULT_TOKEN_FILE", "set it or VAULT_TOKEN, or choose another VAULT_AUTH")
        }
        VaultAuth::Approle if config.vault_role_id.is_none() => {
            missing("VAULT_ROLE_ID", "set the role id of the AppRole")
        }
        VaultAuth::Approle
            if config.vault_secret_id_file.is_none() && std::env::var_os("VAULT_SECRET_ID").is_none() =>
        {
            missing("VAULT_SECRET_ID_FILE", "set it or VAULT_SECRET_ID")
        }
        VaultAuth::Kubernetes if config.vault_role.is_none() => {
            missing("VAULT_ROLE", "set the role that the service account logs in to")
        }
        _ => None,
    }
}

/// A token, and when it should be renewed.
pub async fn log_in(wire: &Wire<'_>, config: &VaultConfig) -> Result<(SecretString, Option<Instant>), Error> {
    let read = |file, variable: &str| {
        let absent = || BackendError::Refused(format!("{variable} is not set"));
        credential(file, variable).and_then(|value| value.ok_or_else(absent)).map_err(Error::Here)
    };
    let mount = |default| config.vault_auth_mount.as_deref().unwrap_or(default).trim_matches('/').to_owned();
    let given = match config.vault_auth {
        VaultAuth::Token => {
            let token = read(config.vault_token_file.as_deref(), "VAULT_TOKEN")?;
            // Not every token may look itself up; one that may not is used until it ends.
            let found = wire.with(&token).data(&LookupTokenSelfRequest {}).await.ok();
            let renew_at = found.and_then(|found| renew_at(found.ttl, found.renewable.unwrap_or(false)));
            return Ok((token, renew_at));
        }
        VaultAuth::Approle => {
            let secret_id = read(config.vault_secret_id_file.as_deref(), "VAULT_SECRET_ID")?;
            let request = LoginWithApproleRequest {
                mount: mount("approle"),
                role_id: config.vault_role_id.clone().unwrap_or_default(),
                secret_id: secret_id.expose_secret().to_owned(),
            };
            wire.auth(&request).await
        }
        VaultAuth::Kubernetes => {
            let jwt = read(Some(&config.vault_jwt_file), "VAULT_JWT_FILE")?;
            let request = LoginWithKubernetesRequest {
                mount: mount("kubernetes"),
                role: config.vault_role.clone().unwrap_or_default(),
                jwt: jwt.expose_secret().to_owned(),
            };
            wire.auth(&request).await
        }
    };
    let Auth { token, seconds, renewable } = given.map_err(Error::There)?;
    Ok((token, renew_at(seconds, renewable)))
}

/// Whether the file of a token has another one now, as an agent or a person writes it. A file that cannot be read says
/// nothing: the token at hand is good until Vault refuses it.
pub fn is_replaced(session: &Session, config: &VaultConfig) -> bool {
    let (VaultAuth::Token, Some(file)) = (config.vault_auth, config.vault_token_file.as_deref()) else {
        return false;
    };
    let token = credential(Some(file), "VAULT_TOKEN").ok().flatten();
    token.is_some_and(|token| token.expose_secret() != session.token.expose_secret())
}

/// Renews the token and says when that should be done again. At its maximal lifetime a token is renewed by nothing: then
/// there is no such time, and a new login is made before the rest of it has passed.
pub async fn renew(wire: &Wire<'_>) -> Option<Instant> {
    let given = wire.auth(&RenewTokenSelfRequest { increment: None }).await.ok()?;
    renew_at(given.seconds, given.renewable)
}

/// After two thirds of its lifetime: a third is left to try again in.
fn renew_at(seconds: u64, renewable: bool) -> Option<Instant> {
    (renewable && seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds) * 2 / 3)
}
