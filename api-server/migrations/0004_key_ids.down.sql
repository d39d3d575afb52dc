ALTER TABLE api.refresh_tokens DROP COLUMN key_id;
ALTER TABLE api.accounts DROP COLUMN provider_key_id, DROP COLUMN key_id;
