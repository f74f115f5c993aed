CREATE SCHEMA payments;

-- One row per attempt to pay an order. (order_id, attempt) is the provider's idempotency key.
-- Partitioned by the order's UUIDv7, so that "one live attempt" and "one capture" are keys.
CREATE TABLE payments.charges (
    order_id uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    provider text NOT NULL,
    method text NOT NULL,
    state text NOT NULL CHECK (state IN ('intent', 'requires_action', 'captured', 'failed', 'cancelled')),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    provider_ref text,
    action_url text,
    failure text,
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
    reason text NOT NULL,
    state text NOT NULL CHECK (state IN ('intent', 'done', 'failed')),
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    provider_ref text,
    next_ask_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (order_id, attempt, reason),
    FOREIGN KEY (order_id, attempt) REFERENCES payments.charges (order_id, attempt)
) PARTITION BY RANGE (order_id);
CREATE TABLE payments.refunds_default PARTITION OF payments.refunds DEFAULT;
CREATE INDEX refunds_open ON payments.refunds (next_ask_at) WHERE state = 'intent';

-- Webhooks as they came, once per provider's event.
CREATE TABLE payments.webhook_events (
    provider text NOT NULL,
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
    body bytea NOT NULL CHECK (length(body) <= 262144),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX webhook_events_age ON payments.webhook_events USING brin (received_at);

-- The sandbox provider's own ledger: stands for a gateway that we do not own.
CREATE TABLE payments.sandbox_payments (
    id text PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE,
    order_ref text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'requires_action', 'succeeded', 'failed', 'cancelled')),
    amount bigint NOT NULL CHECK (amount >= 0),
    refunded bigint NOT NULL DEFAULT 0,
    currency text NOT NULL,
    token text,
    failure text,
    return_url text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (refunded >= 0 AND refunded <= amount)
);

CREATE TABLE payments.sandbox_webhooks (
    id uuid PRIMARY KEY,
    event_id text NOT NULL,
    body text NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    delivered_at timestamptz
);
CREATE INDEX sandbox_webhooks_due ON payments.sandbox_webhooks (due_at) WHERE delivered_at IS NULL;
