CREATE SCHEMA notify;

-- The truth about every message to one person over one channel. The event's UUIDv7 is the partition column.
CREATE TABLE notify.deliveries (
    event_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'inbox')),
    template text NOT NULL,
    variables jsonb NOT NULL,
    address_sealed bytea,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    provider_id text,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    PRIMARY KEY (event_id, recipient_id, channel),
    CHECK (channel <> 'email' OR address_sealed IS NOT NULL),
    CHECK ((state = 'sent') = (sent_at IS NOT NULL))
) PARTITION BY RANGE (event_id);
CREATE TABLE notify.deliveries_default PARTITION OF notify.deliveries DEFAULT;
CREATE INDEX deliveries_due ON notify.deliveries (next_attempt_at) WHERE state = 'pending';

CREATE TABLE notify.inbox_messages (
    event_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    link text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    read_at timestamptz,
    PRIMARY KEY (recipient_id, event_id)
) PARTITION BY RANGE (event_id);
CREATE TABLE notify.inbox_messages_default PARTITION OF notify.inbox_messages DEFAULT;
