CREATE SCHEMA inventory;

CREATE TABLE inventory.stock (
    variant_id uuid PRIMARY KEY,
    on_hand integer NOT NULL,
    held integer NOT NULL DEFAULT 0,
    sold integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT stock_never_oversold CHECK (held >= 0 AND sold >= 0 AND held + sold <= on_hand)
) WITH (fillfactor = 50);

-- What one buyer took under one rule (a drop's id). The row also names the buyer's live hold, which makes
-- "one live hold per buyer and drop" a key without NULLs that survives the partitioning of holds.
CREATE TABLE inventory.buyer_limits (
    rule_id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    quota integer NOT NULL CHECK (quota >= 1),
    used integer NOT NULL,
    live_hold_id uuid,
    PRIMARY KEY (rule_id, buyer_id),
    CONSTRAINT buyer_limit_kept CHECK (used >= 0 AND used <= quota)
) WITH (fillfactor = 80);

-- drop_id is all zeros for "no drop".
CREATE TABLE inventory.holds (
    id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    drop_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'ordered', 'confirmed', 'released', 'expired')),
    order_id uuid,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id),
    CHECK (state NOT IN ('ordered', 'confirmed') OR order_id IS NOT NULL),
    CHECK (state <> 'held' OR order_id IS NULL)
) PARTITION BY RANGE (id);
CREATE TABLE inventory.holds_default PARTITION OF inventory.holds DEFAULT;
CREATE INDEX holds_live_expiry ON inventory.holds (expires_at) WHERE state IN ('held', 'ordered');
CREATE INDEX holds_live_buyer ON inventory.holds (buyer_id) WHERE state IN ('held', 'ordered');

CREATE TABLE inventory.hold_lines (
    hold_id uuid NOT NULL REFERENCES inventory.holds (id),
    variant_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    unit_amount bigint NOT NULL CHECK (unit_amount >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (hold_id, variant_id)
) PARTITION BY RANGE (hold_id);
CREATE TABLE inventory.hold_lines_default PARTITION OF inventory.hold_lines DEFAULT;
