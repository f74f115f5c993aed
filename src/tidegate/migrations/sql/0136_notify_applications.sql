-- Applications that have messages sent: each has recipients, topics and events of its own, and sees no other's.
CREATE TABLE notify.applications (
    application_id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{0,39}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Access keys, kept as hashes. One of role `receipts` is a mail provider's and belongs to no application: what it says
-- of an address holds for all.
CREATE TABLE notify.keys (
    key_id uuid PRIMARY KEY,
    application_id uuid REFERENCES notify.applications (application_id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('sender', 'reader', 'receipts')),
    label text NOT NULL CHECK (length(label) <= 100),
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz,
    CONSTRAINT key_is_of_somebody CHECK ((role = 'receipts') = (application_id IS NULL))
);
CREATE INDEX keys_application ON notify.keys (application_id);

-- Recipients as applications know them. The fingerprint of such a recipient's address is made with the application's
-- id, so that rows of two applications do not tell that they are of one person.
CREATE TABLE notify.application_recipients (
    application_id uuid NOT NULL REFERENCES notify.applications (application_id),
    external_id text NOT NULL CHECK (external_id ~ '^[A-Za-z0-9._:~-]{1,100}$'),
    recipient_id uuid NOT NULL UNIQUE
        REFERENCES notify.recipients (recipient_id) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (application_id, external_id)
);

-- Topics as applications know them. `key` is the application's; the topic's own begins with the application's id.
CREATE TABLE notify.application_topics (
    application_id uuid NOT NULL REFERENCES notify.applications (application_id),
    key text NOT NULL CHECK (key ~ '^[a-z0-9][a-z0-9._-]{0,99}$'),
    topic_id uuid NOT NULL UNIQUE REFERENCES notify.topics (topic_id) ON DELETE CASCADE,
    PRIMARY KEY (application_id, key)
);
-- Older writers know fewer kinds: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.topics DROP CONSTRAINT topics_kind_check;
ALTER TABLE notify.topics ADD CONSTRAINT topics_kind_check
    CHECK (kind IN ('drop', 'product', 'collection', 'shop', 'custom')) NOT VALID;

-- What applications asked to have told. `request_key` keeps a repeated request from telling it twice, `request_hash`
-- says whether it is the same request, and `answer` is what it is answered, to the letter.
CREATE TABLE notify.events (
    event_id uuid PRIMARY KEY,
    application_id uuid NOT NULL REFERENCES notify.applications (application_id),
    request_key text NOT NULL CHECK (length(request_key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
    urgency text NOT NULL CHECK (urgency IN ('transactional', 'bulk')),
    template text NOT NULL,
    topic_id uuid REFERENCES notify.topics (topic_id) ON DELETE SET NULL,
    answer json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_asked_once UNIQUE (application_id, request_key)
);
CREATE INDEX events_application ON notify.events (application_id, event_id);
CREATE INDEX events_topic ON notify.events (topic_id);
CREATE INDEX events_created ON notify.events (created_at);

-- What mail providers said of mails after they had taken them: each of these once for each mail.
CREATE TABLE notify.receipts (
    event_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('delivered', 'soft_bounce', 'hard_bounce', 'complaint')),
    detail text NOT NULL CHECK (length(detail) <= 200),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, recipient_id, kind)
);
CREATE INDEX receipts_created ON notify.receipts (created_at);

-- Addresses that are not written to any more, by their fingerprints. After a complaint nothing is sent that nobody
-- asked for; after a hard bounce only links that somebody asked for just now.
CREATE TABLE notify.suppressions (
    email_fingerprint bytea NOT NULL CHECK (length(email_fingerprint) = 32),
    reason text NOT NULL CHECK (reason IN ('hard_bounce', 'complaint')),
    detail text NOT NULL CHECK (length(detail) <= 200),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (email_fingerprint, reason)
);

-- What became of one recipient's messages, of all channels but the inbox, whose messages are found by their recipient.
-- A partitioned table's index cannot be made concurrently.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_recipient ON notify.deliveries (recipient_id, event_id)
WHERE channel <> 'inbox' OR state <> 'sent';
