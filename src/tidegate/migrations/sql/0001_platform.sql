CREATE SCHEMA platform;

-- Events that must reach someone: written in the transaction that makes them true, finished by their handler.
CREATE TABLE platform.outbox (
    id uuid NOT NULL,
    topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 64),
    payload jsonb NOT NULL,
    personal_sealed bytea,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE TABLE platform.outbox_default PARTITION OF platform.outbox DEFAULT;
CREATE INDEX outbox_due ON platform.outbox (next_attempt_at) WHERE state = 'pending';
CREATE INDEX outbox_dead ON platform.outbox (id) WHERE state = 'dead';

-- Answers by idempotency key, per buyer: hash partitions keep uniqueness; old rows leave in bounded batches.
CREATE TABLE platform.idempotency_keys (
    buyer_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    state text NOT NULL CHECK (state IN ('claimed', 'final')),
    subject_id uuid,
    status integer CHECK (status BETWEEN 200 AND 499),
    body json,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (buyer_id, key),
    CHECK ((state = 'final') = (status IS NOT NULL))
) PARTITION BY HASH (buyer_id);
CREATE TABLE platform.idempotency_keys_0 PARTITION OF platform.idempotency_keys FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE platform.idempotency_keys_1 PARTITION OF platform.idempotency_keys FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE platform.idempotency_keys_2 PARTITION OF platform.idempotency_keys FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE platform.idempotency_keys_3 PARTITION OF platform.idempotency_keys FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE INDEX idempotency_keys_age ON platform.idempotency_keys USING brin (claimed_at);
CREATE INDEX idempotency_keys_claimed ON platform.idempotency_keys (subject_id) WHERE state = 'claimed';
