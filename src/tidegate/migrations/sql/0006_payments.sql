CREATE SCHEMA payments;

-- One row per attempt to pay an order. (order_id, attempt) is the provider's idempotency key, and the row keeps
-- all that was asked of the provider, so that the same can be asked again after a crash.
-- `method` is a way to pay ("hosted", a provider's token) and can hold no card number: it begins with a letter
-- and has no twelve digits in a row.
-- Partitioned by the order's UUIDv7, so that "one live attempt" and "one capture" are keys.
CREATE TABLE payments.charges (
    order_id uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    provider text NOT NULL,
    method text NOT NULL
        CHECK (method ~ '^[A-Za-z][A-Za-z0-9_]{0,127}$' AND replace(method, '_', '') !~ '[0-9]{12}'),
    state text NOT NULL CHECK (state IN ('intent', 'requires_action', 'captured', 'failed', 'cancelled')),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    return_url text NOT NULL CHECK (length(return_url) <= 2048),
    description text NOT NULL CHECK (length(description) <= 255),
    provider_ref text CHECK (length(provider_ref) BETWEEN 1 AND 255),
    action_url text CHECK (length(action_url) <= 2048),
    failure text CHECK (length(failure) <= 255),
    next_ask_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked integer NOT NULL DEFAULT 0 CHECK (asked >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    PRIMARY KEY (order_id, attempt),
    CHECK ((state IN ('captured', 'failed', 'cancelled')) = (settled_at IS NOT NULL))
) PARTITION BY RANGE (order_id);
CREATE TABLE payments.charges_default PARTITION OF payments.charges DEFAULT;
CREATE UNIQUE INDEX charges_one_capture ON payments.charges (order_id) WHERE state = 'captured';
CREATE UNIQUE INDEX charges_one_open ON payments.charges (order_id) WHERE state IN ('intent', 'requires_action');
CREATE INDEX charges_unsettled ON payments.charges (next_ask_at) WHERE state IN ('intent', 'requires_action');

-- Money given back: one refund per reason of an attempt, sent to the provider under its own key.
CREATE TABLE payments.refunds (
    order_id uuid NOT NULL,
    attempt integer NOT NULL,
    reason text NOT NULL CHECK (reason ~ '^[a-z][a-z0-9-]{0,63}$'),
    state text NOT NULL CHECK (state IN ('intent', 'done', 'failed')),
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    provider_ref text,
    failure text CHECK (length(failure) <= 255),
    next_ask_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked integer NOT NULL DEFAULT 0 CHECK (asked >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    PRIMARY KEY (order_id, attempt, reason),
    CHECK ((state = 'intent') = (settled_at IS NULL)),
    FOREIGN KEY (order_id, attempt) REFERENCES payments.charges (order_id, attempt)
) PARTITION BY RANGE (order_id);
CREATE TABLE payments.refunds_default PARTITION OF payments.refunds DEFAULT;
CREATE INDEX refunds_open ON payments.refunds (next_ask_at) WHERE state = 'intent';

-- Webhooks as they came, once per provider's event. One that was stored but not applied (a crash between) is tried
-- again at `next_try_at`.
CREATE TABLE payments.webhook_events (
    provider text NOT NULL,
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
    body bytea NOT NULL CHECK (length(body) <= 262144),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX webhook_events_unapplied ON payments.webhook_events (next_try_at) WHERE applied_at IS NULL;
CREATE INDEX webhook_events_age ON payments.webhook_events USING brin (received_at);

-- The sandbox provider's own ledger: stands for a gateway that we do not own.
CREATE TABLE payments.sandbox_payments (
    id text PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE,
    reference text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'requires_action', 'succeeded', 'failed', 'cancelled')),
    amount bigint NOT NULL CHECK (amount >= 0),
    refunded bigint NOT NULL DEFAULT 0,
    currency text NOT NULL,
    method text NOT NULL,
    token text,
    failure text,
    return_url text NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sandbox_refunded_in_bounds CHECK (refunded >= 0 AND refunded <= amount),
    CONSTRAINT sandbox_refunded_only_paid CHECK (refunded = 0 OR state = 'succeeded')
);

CREATE TABLE payments.sandbox_refunds (
    id text PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE,
    payment_id text NOT NULL REFERENCES payments.sandbox_payments (id),
    amount bigint NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the sandbox still has to tell the shop. Two rows of one event are a webhook that is sent twice.
CREATE TABLE payments.sandbox_webhooks (
    id uuid PRIMARY KEY,
    event_id text NOT NULL,
    body text NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    delivered_at timestamptz
);
CREATE INDEX sandbox_webhooks_due ON payments.sandbox_webhooks (due_at) WHERE delivered_at IS NULL;
