-- Work that a worker takes: once, also when a worker dies in the middle.
CREATE TABLE api.jobs (
    id uuid PRIMARY KEY,
    owner uuid NOT NULL REFERENCES api.accounts ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('transcribe', 'analyze', 'publish')),
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    video uuid NOT NULL REFERENCES api.videos ON DELETE CASCADE,
    input jsonb NOT NULL,
    result jsonb,
    -- What the owner is told; never what a provider or the database said.
    error text,
    attempts integer NOT NULL DEFAULT 0,
    -- When it is due; while it runs, when it counts as abandoned.
    due_at timestamptz NOT NULL DEFAULT now(),
    -- A request that is sent twice with one key makes one job.
    idempotency_key text CHECK (char_length(idempotency_key) BETWEEN 1 AND 128),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (owner, idempotency_key)
);
CREATE INDEX jobs_due ON api.jobs (due_at) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_video ON api.jobs (video);
