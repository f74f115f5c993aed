-- Other people's programs that are told of events by webhook. `events` are kinds such as order.paid; `topics`, written
-- kind:key, narrow what is told of messages to followers, and empty means all. Secrets are sealed; the old one signs
-- beside the new one until `old_secret_until`. The last key that rotated, and the last that sent a test, do so once.
-- `due_at` is when it may be handed to a worker again, `busy_until` how long one has it. `failures` in a row, since
-- `failing_since`; a success ends both.
CREATE TABLE notify.webhook_endpoints (
    endpoint_id uuid PRIMARY KEY,
    url text NOT NULL CHECK (url ~ '^https?://' AND length(url) <= 500),
    description text NOT NULL CHECK (length(description) <= 200),
    events text[] NOT NULL CHECK (cardinality(events) BETWEEN 1 AND 50),
    topics text[] NOT NULL DEFAULT '{}' CHECK (cardinality(topics) <= 50),
    secret_sealed bytea NOT NULL,
    old_secret_sealed bytea,
    old_secret_until timestamptz,
    rotation_key text NOT NULL DEFAULT '' CHECK (length(rotation_key) <= 255),
    test_key text NOT NULL DEFAULT '' CHECK (length(test_key) <= 255),
    test_event_id uuid,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    disabled_why text CHECK (disabled_why IN ('staff', 'gone', 'failing')),
    disabled_at timestamptz,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since timestamptz,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    busy_until timestamptz NOT NULL DEFAULT '-infinity',
    backlog boolean NOT NULL DEFAULT false,
    created_by uuid NOT NULL,
    request_key text NOT NULL CHECK (length(request_key) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhook_made_once UNIQUE (created_by, request_key),
    CHECK ((old_secret_sealed IS NULL) = (old_secret_until IS NULL)),
    CHECK ((state = 'disabled') = (disabled_why IS NOT NULL) AND (state = 'disabled') = (disabled_at IS NOT NULL)),
    CHECK ((failures = 0) = (failing_since IS NULL))
) WITH (fillfactor = 60);

-- A webhook is a delivery whose recipient is an endpoint. What it was answered stays with it.
ALTER TABLE notify.deliveries ADD COLUMN status_code integer;
-- Older writers know fewer channels: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.deliveries DROP CONSTRAINT deliveries_channel_check;
ALTER TABLE notify.deliveries ADD CONSTRAINT deliveries_channel_check
    CHECK (channel IN ('email', 'inbox', 'webhook')) NOT VALID;

-- A partitioned table's index cannot be made concurrently. Webhooks that wait stand apart from what people wait for.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_due_people ON notify.deliveries (next_attempt_at)
    WHERE state = 'pending' AND shard_no IS NULL AND channel <> 'webhook';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_due_webhooks ON notify.deliveries (recipient_id, next_attempt_at)
    WHERE state = 'pending' AND channel = 'webhook';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_webhooks ON notify.deliveries (recipient_id, event_id) WHERE channel = 'webhook';
