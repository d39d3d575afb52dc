-- The extension stays: others may use it. The schema stays: it holds the record of the migrations.
DROP TABLE api.refresh_tokens, api.token_families, api.accounts;
