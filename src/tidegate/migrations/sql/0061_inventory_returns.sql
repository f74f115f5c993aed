-- Sold items that came back to the stock while their order's sale stands; `return_id` names the refund.
CREATE TABLE inventory.returns (
    return_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    variant_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    returned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (return_id, variant_id)
);
CREATE INDEX returns_hold ON inventory.returns (hold_id);
