-- An endpoint that staff deleted is disabled for good: what waits for it is suppressed, and its row goes later. Its
-- secrets and its address are emptied at once.
ALTER TABLE notify.webhook_endpoints
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT webhook_deleted_is_disabled CHECK (deleted_at IS NULL OR state = 'disabled') NOT VALID;

-- Devices of recipients: by which a person can be reached besides mail. `device_sealed` holds the token (an address at
-- a push service, opaque to us), the keys that belong to it and what its owner calls it; the fingerprint finds it again.
CREATE TABLE notify.devices (
    device_id uuid PRIMARY KEY,
    recipient_id uuid NOT NULL REFERENCES notify.recipients (recipient_id) ON UPDATE CASCADE ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('web_push', 'android', 'ios')),
    device_sealed bytea NOT NULL CHECK (length(device_sealed) <= 8000),
    token_fingerprint bytea NOT NULL CHECK (length(token_fingerprint) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT device_known_once UNIQUE (kind, token_fingerprint)
);
CREATE INDEX devices_recipient ON notify.devices (recipient_id, seen_at);

-- Staff may stop an address by hand, too. What is added and lifted is kept, with what was said and who it was: NULL is
-- the command line.
-- Older writers know fewer reasons: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.suppressions DROP CONSTRAINT suppressions_reason_check;
ALTER TABLE notify.suppressions ADD CONSTRAINT suppressions_reason_check
    CHECK (reason IN ('hard_bounce', 'complaint', 'staff')) NOT VALID;
CREATE TABLE notify.suppression_changes (
    change_id uuid PRIMARY KEY,
    email_fingerprint bytea NOT NULL CHECK (length(email_fingerprint) = 32),
    change text NOT NULL CHECK (change IN ('added', 'lifted')),
    why text NOT NULL CHECK (length(why) BETWEEN 1 AND 200),
    changed_by uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX suppression_changes_address ON notify.suppression_changes (email_fingerprint, change_id);
CREATE INDEX suppression_changes_created ON notify.suppression_changes (created_at);

-- Mail providers that sign what they say (Standard Webhooks), each with a secret of its own. The old one counts beside
-- the new one until `old_secret_until`. The last key that made a secret makes one.
CREATE TABLE notify.providers (
    slug text PRIMARY KEY CHECK (slug ~ '^[a-z][a-z0-9-]{0,39}$'),
    secret_sealed bytea NOT NULL,
    old_secret_sealed bytea,
    old_secret_until timestamptz,
    made_with text NOT NULL CHECK (length(made_with) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_said_at timestamptz,
    CHECK ((old_secret_sealed IS NULL) = (old_secret_until IS NULL))
);

-- What applications say may be about a person: their words are sealed, and stand in no other column. Those of a send
-- stand with it, and in its words for inboxes; those to people by name with each delivery, and in each inbox.
ALTER TABLE notify.deliveries ADD COLUMN words_sealed bytea;
ALTER TABLE notify.sends ADD COLUMN words_sealed bytea;
ALTER TABLE notify.words ADD COLUMN words_sealed bytea;
ALTER TABLE notify.inbox_messages ADD COLUMN words_sealed bytea;
