-- Accounts and their refresh tokens. Columns of type bytea that are no digest hold pgp_sym_encrypt's output; their key
-- is never stored here.
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;

CREATE TABLE api.accounts (
    id uuid PRIMARY KEY,
    -- HMAC of the lower-case address: finds an account without its address in clear.
    email_digest bytea NOT NULL UNIQUE CHECK (octet_length(email_digest) = 32),
    email bytea NOT NULL,
    -- Argon2id in PHC form.
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    -- The account's own key of the AI provider.
    provider_key bytea,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- All refresh tokens that come from one login: a token that is used twice revokes them together.
CREATE TABLE api.token_families (
    id uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES api.accounts ON DELETE CASCADE,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX token_families_account ON api.token_families (account);

CREATE TABLE api.refresh_tokens (
    id uuid PRIMARY KEY,
    family uuid NOT NULL REFERENCES api.token_families ON DELETE CASCADE,
    -- The SHA-256 of the token's secret half, encrypted.
    secret bytea NOT NULL,
    used_at timestamptz,
    expires_at timestamptz NOT NULL
);
CREATE INDEX refresh_tokens_family ON api.refresh_tokens (family);
CREATE INDEX refresh_tokens_expires_at ON api.refresh_tokens (expires_at);
