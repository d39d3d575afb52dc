//! Requests to a Vault. No answer is read beyond a limit, and nothing here shows a token or a body: neither is in an error.

use async_trait::async_trait;
use http::{HeaderValue, Request, Response};
use reqwest::header::InvalidHeaderValue;
use rustify::{client::Client, endpoint::Endpoint, errors::ClientError};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use vaultrs::api::token::requests::RevokeTokenSelfRequest;

/// A Secret holds 1 MiB at most. What is more than twice as much is of no use, and would be held once for each service.
const MOST: usize = 2 << 20;

/// One Vault as it is asked with one token; no Debug.
pub struct Wire<'a> {
    /// Trusts only what it should, and gives up in time.
    pub http: &'a reqwest::Client,
    /// `https://HOST:PORT/`.
    pub address: &'a str,
    /// Of Vault Enterprise or `OpenBao`.
    pub namespace: Option<&'a str>,
    /// None for a login.
    pub token: Option<&'a SecretString>,
}

/// Why there is no answer that can be used; no Debug.
pub enum Fault {
    /// Vault says no, or that it cannot answer now.
    Status {
        /// Of HTTP.
        code: u16,
        /// What it says about that, which may quote what it was sent.
        body: Zeroizing<String>,
    },
    /// No answer in time, or not to its end.
    Silence,
    /// Something that Vault does not say.
    Foreign,
    /// More than [`MOST`] bytes.
    TooLong,
}

/// What a login or a renewal gives; no Debug.
#[derive(Deserialize)]
pub struct Auth {
    /// The token.
    #[serde(rename = "client_token")]
    pub token: SecretString,
    /// Its life in seconds; 0 is one without an end.
    #[serde(rename = "lease_duration")]
    pub seconds: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is too long")]
struct TooLong;

impl Fault {
    /// The code of a no, which is about this request and nothing else. Who follows no redirect sees that of a standby.
    pub fn refusal(&self) -> Option<u16> {
        match self {
            Self::Status { code: 300..=399 | 429 | 472..=474 | 500.., .. } => None,
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl Wire<'_> {
    /// The same with this token.
    pub fn with<'a>(&'a self, token: &'a SecretString) -> Wire<'a> {
        Wire { token: Some(token), ..*self }
    }

    /// The body of the answer.
    pub async fn ask(&self, endpoint: &impl Endpoint) -> Result<Zeroizing<Vec<u8>>, Fault> {
        match endpoint.exec(self).await {
            Ok(answer) => Ok(Zeroizing::new(answer.response.into_body())),
            Err(ClientError::ServerResponseError { code, content }) => {
                Err(Fault::Status { code, body: Zeroizing::new(content.unwrap_or_default()) })
            }
            Err(ClientError::ResponseError { source }) if source.is::<TooLong>() => Err(Fault::TooLong),
            Err(_) => Err(Fault::Silence),
        }
    }

    /// The `data` of the answer.
    pub async fn data<E: Endpoint>(&self, endpoint: &E) -> Result<E::Response, Fault> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            data: Option<T>,
        }
        let Envelope { data } = parse(&self.ask(endpoint).await?)?;
        data.ok_or(Fault::Foreign)
    }

    /// The `auth` of the answer.
    pub async fn auth(&self, endpoint: &impl Endpoint) -> Result<Auth, Fault> {
        #[derive(Deserialize)]
        struct Envelope {
            auth: Auth,
        }
        let Envelope { auth } = parse(&self.ask(endpoint).await?)?;
        // It goes into a header.
        let fits = auth.token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(auth) } else { Err(Fault::Foreign) }
    }

    /// Gives the token back.
    pub async fn end(&self) -> Result<(), Fault> {
        self.ask(&RevokeTokenSelfRequest {}).await.map(drop)
    }

    fn headers(&self) -> Result<Vec<(&'static str, HeaderValue)>, InvalidHeaderValue> {
        let mut headers = vec![("x-vault-request", HeaderValue::from_static("true"))];
        if let Some(namespace) = self.namespace {
            headers.push(("x-vault-namespace", HeaderValue::from_str(namespace)?));
        }
        if let Some(token) = self.token {
            let mut token = HeaderValue::from_str(token.expose_secret())?;
            token.set_sensitive(true);
            headers.push(("x-vault-token", token));
        }
        Ok(headers)
    }
}

// The client that comes with rustify reads whatever it is sent, and the middleware that comes with vaultrs panics over a token
// that fits in no header.
#[async_trait]
impl Client for Wire<'_> {
    fn base(&self) -> &str {
        self.address
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let mut request = reqwest::Request::try_from(request)
            .map_err(|source| ClientError::ReqwestBuildError { source })?;
        let path = format!("/v1{}", request.url().path());
        request.url_mut().set_path(&path);
        for (name, value) in
            self.headers().map_err(|error| ClientError::GenericError { source: error.into() })?
        {
            request.headers_mut().insert(name, value);
        }
        let answer = self.http.execute(request).await.map_err(cut)?;
        let status = answer.status();
        let mut response = Response::new(body(answer).await?);
        *response.status_mut() = status;
        Ok(response)
    }
}

/// The whole body, of which no more than [`MOST`] bytes are read.
async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let too_long = || ClientError::ResponseError { source: TooLong.into() };
    let announced = usize::try_from(answer.content_length().unwrap_or_default()).unwrap_or(usize::MAX);
    if announced > MOST {
        return Err(too_long());
    }
    // In one piece where its length is known: what grows leaves copies behind.
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = answer.chunk().await.map_err(cut)? {
        if body.len() + chunk.len() > MOST {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn cut(error: reqwest::Error) -> ClientError {
    ClientError::ResponseError { source: error.into() }
}

/// What is no JSON of this shape is not Vault's.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::Foreign)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
