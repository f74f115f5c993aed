CREATE SCHEMA checkout;

-- Order numbers are a keyed permutation of this sequence: unique without an index over all partitions,
-- and not guessable from one another.
CREATE SEQUENCE checkout.order_sequence AS bigint MINVALUE 0 START 0 MAXVALUE 1099511627775;
CREATE TABLE checkout.order_number_key (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    key uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO checkout.order_number_key DEFAULT VALUES;

CREATE TABLE checkout.orders (
    id uuid NOT NULL,
    number text NOT NULL CHECK (number ~ '^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$'),
    buyer_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    state text NOT NULL CHECK (
        state IN ('awaiting_payment', 'payment_failed', 'paid', 'fulfilled', 'cancelled', 'refunded')
    ),
    total_amount bigint NOT NULL CHECK (total_amount >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    email_sealed bytea NOT NULL,
    shipping_sealed bytea NOT NULL,
    pay_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paid_at timestamptz,
    PRIMARY KEY (id),
    CHECK (state NOT IN ('paid', 'fulfilled') OR paid_at IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE TABLE checkout.orders_default PARTITION OF checkout.orders DEFAULT;
CREATE INDEX orders_number ON checkout.orders (number);
CREATE INDEX orders_buyer ON checkout.orders (buyer_id, id DESC);
CREATE INDEX orders_unpaid ON checkout.orders (pay_until) WHERE state IN ('awaiting_payment', 'payment_failed');

CREATE TABLE checkout.order_lines (
    order_id uuid NOT NULL REFERENCES checkout.orders (id),
    line_no integer NOT NULL CHECK (line_no >= 1),
    variant_id uuid NOT NULL,
    sku text NOT NULL,
    title text NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    unit_amount bigint NOT NULL CHECK (unit_amount >= 0),
    PRIMARY KEY (order_id, line_no)
) PARTITION BY RANGE (order_id);
CREATE TABLE checkout.order_lines_default PARTITION OF checkout.order_lines DEFAULT;
