-- Whom messages that nobody bought can be written to: an account, by its person's id, or a confirmed address without
-- one. The sealed address is a delivery's, so that a batch copies it without opening it.
CREATE TABLE notify.recipients (
    recipient_id uuid PRIMARY KEY,
    address_sealed bytea NOT NULL,
    email_fingerprint bytea NOT NULL UNIQUE CHECK (length(email_fingerprint) = 32),
    has_inbox boolean NOT NULL,
    locale text NOT NULL DEFAULT '' CHECK (length(locale) <= 20),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What can be followed. `key` is its address within its kind; title and path are for showing.
CREATE TABLE notify.topics (
    topic_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('drop', 'product', 'collection', 'shop')),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 300),
    title text NOT NULL CHECK (length(title) <= 1000),
    path text NOT NULL CHECK (path ~ '^/' AND length(path) <= 500),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (kind, key)
);

-- Who follows what. `told_at` ends a follow that was for one message, until it is asked for again.
CREATE TABLE notify.follows (
    topic_id uuid NOT NULL REFERENCES notify.topics (topic_id) ON DELETE CASCADE,
    recipient_id uuid NOT NULL REFERENCES notify.recipients (recipient_id) ON UPDATE CASCADE ON DELETE CASCADE,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at timestamptz,
    PRIMARY KEY (topic_id, recipient_id)
);
CREATE INDEX follows_recipient ON notify.follows (recipient_id, topic_id);
CREATE INDEX follows_waiting ON notify.follows (topic_id, recipient_id) WHERE told_at IS NULL;

-- A message on its way to the followers of a topic: how far down their list it has come, and when it goes on.
CREATE TABLE notify.sends (
    event_id uuid NOT NULL,
    topic_id uuid NOT NULL REFERENCES notify.topics (topic_id) ON DELETE CASCADE,
    template text NOT NULL CHECK (template ~ '^[a-z][a-z_]{0,39}$'),
    variables jsonb NOT NULL,
    told_to uuid,
    told integer NOT NULL DEFAULT 0 CHECK (told >= 0),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (event_id, topic_id)
);
CREATE INDEX sends_due ON notify.sends (due_at) WHERE finished_at IS NULL;
CREATE INDEX sends_running ON notify.sends (topic_id) WHERE finished_at IS NULL;
