//! What is measured: the functions that requests call, each as often on each database.

use anyhow::{Context as _, Result, ensure};
use api_server::{
    auth::Role,
    database::{accounts, provider_keys, tokens, videos},
    encryption::Keys,
};
use secrecy::SecretString;
use sqlx::PgPool;
use std::time::Duration;
use uuid::Uuid;

const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
const LIFE: Duration = Duration::from_hours(1);

/// A database and what was put there.
pub struct Subject {
    pub pool: PgPool,
    made: usize,
    accounts: Vec<Uuid>,
    token: Option<SecretString>,
}

impl Subject {
    /// With accounts and videos that there are before.
    pub async fn prepare(pool: PgPool, accounts: usize) -> Result<Self> {
        let mut subject = Self { pool, made: 0, accounts: Vec::new(), token: None };
        // Of the benchmark's own key, which does not matter here.
        let keys = Keys::derive(&"a key for nothing but this benchmark".to_owned().into(), None)?;
        for _ in 0..accounts.max(1) {
            Statement::CreateAccount.run(&mut subject, &keys).await?;
        }
        for _ in 0..200 {
            Statement::MakeVideo.run(&mut subject, &keys).await?;
        }
        Ok(subject)
    }

    fn last(&self) -> Result<Uuid> {
        self.accounts.last().copied().context("no account")
    }

    fn email(&self) -> String {
        format!("account-{}@example.com", self.made)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    CreateAccount,
    FindAccount,
    WriteProviderKey,
    ReadProviderKey,
    BeginTokens,
    NextToken,
    MakeVideo,
    ListVideos,
}

impl Statement {
    pub const ALL: [Self; 8] = [
        Self::CreateAccount,
        Self::FindAccount,
        Self::WriteProviderKey,
        Self::ReadProviderKey,
        Self::BeginTokens,
        Self::NextToken,
        Self::MakeVideo,
        Self::ListVideos,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::CreateAccount => "create an account",
            Self::FindAccount => "find an account by its address",
            Self::WriteProviderKey => "write a provider key",
            Self::ReadProviderKey => "read a provider key",
            Self::BeginTokens => "first refresh token (2 statements)",
            Self::NextToken => "next refresh token (3 statements)",
            Self::MakeVideo => "make a video",
            Self::ListVideos => "list 20 of the videos",
        }
    }

    /// Whether it touches an encrypted column.
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, Self::FindAccount | Self::MakeVideo | Self::ListVideos)
    }

    pub async fn run(self, subject: &mut Subject, keys: &Keys) -> Result<()> {
        let pool = &subject.pool.clone();
        match self {
            Self::CreateAccount => {
                subject.made += 1;
                let email = subject.email();
                let new = accounts::New { email: &email, password_hash: HASH, role: Role::Editor };
                let id = accounts::create(pool, keys, &new).await?;
                subject.accounts.push(id.context("there is one already")?);
            }
            Self::FindAccount => {
                let found = accounts::find(pool, keys, &subject.email()).await?;
                ensure!(found.is_some(), "not found");
            }
            Self::WriteProviderKey => {
                let key = SecretString::from("sk-0123456789abcdefghijklmnopqrstuvwxyz".to_owned());
                provider_keys::set(pool, keys, subject.last()?, Some(&key)).await?;
            }
            Self::ReadProviderKey => {
                let key = provider_keys::get(pool, keys, subject.last()?).await?;
                ensure!(key.is_some(), "no key");
            }
            Self::BeginTokens => {
                subject.token = Some(tokens::begin(pool, keys, subject.last()?, LIFE).await?);
            }
            Self::NextToken => {
                use secrecy::ExposeSecret as _;
                let token = subject.token.take().context("no token")?;
                let next = tokens::rotate(pool, keys, token.expose_secret(), LIFE).await?;
                ensure!(next.is_some(), "the token is not valid");
            }
            Self::MakeVideo => {
                let fields = videos::Fields {
                    title: "A video".into(),
                    description: "What is to be seen in it.".repeat(8),
                    url: "https://files.example/a.mp4".into(),
                    status: videos::Status::Draft,
                };
                videos::create(pool, subject.last()?, &fields).await?;
            }
            Self::ListVideos => {
                let filter = videos::Filter { before: None, status: None, title: None, limit: 20 };
                ensure!(videos::list(pool, &filter).await?.len() == 20, "too few videos");
            }
        }
        Ok(())
    }
}
