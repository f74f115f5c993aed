CREATE SCHEMA accounts;

CREATE TABLE accounts.people (
    id uuid PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('guest', 'customer', 'staff', 'admin')),
    email_sealed bytea,
    email_fingerprint bytea UNIQUE CHECK (length(email_fingerprint) = 32),
    password_hash text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((email_sealed IS NULL) = (email_fingerprint IS NULL)),
    CHECK (role = 'guest' OR email_sealed IS NOT NULL)
);

-- Opaque tokens: only their SHA-256 is kept.
CREATE TABLE accounts.sessions (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    person_id uuid NOT NULL REFERENCES accounts.people (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_person ON accounts.sessions (person_id);
CREATE INDEX sessions_expiry ON accounts.sessions (expires_at);
