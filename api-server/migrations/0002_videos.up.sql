-- Ids are UUIDv7 (RFC 9562), so they rise with time: pages are read along the primary key.
CREATE TABLE api.videos (
    id uuid PRIMARY KEY,
    owner uuid NOT NULL REFERENCES api.accounts ON DELETE CASCADE,
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '' CHECK (char_length(description) <= 5000),
    url text NOT NULL CHECK (char_length(url) <= 2000),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX videos_status ON api.videos (status, id DESC);
CREATE INDEX videos_owner ON api.videos (owner);
