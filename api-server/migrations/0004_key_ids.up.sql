-- Which key a row is encrypted with: a fingerprint that tells nothing of the key. NULL is a row of before; its key has to be
-- tried. The address and what it is found by change their key together, the provider's key alone. No default and no scan
-- of the tables: the locks last a moment.
ALTER TABLE api.accounts
    ADD COLUMN key_id bytea CHECK (octet_length(key_id) = 8),
    ADD COLUMN provider_key_id bytea CHECK (octet_length(provider_key_id) = 8);
ALTER TABLE api.refresh_tokens ADD COLUMN key_id bytea CHECK (octet_length(key_id) = 8);
