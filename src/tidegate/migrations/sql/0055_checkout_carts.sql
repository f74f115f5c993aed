-- What somebody means to buy. It takes no stock and promises no price. `hold_id` is the hold that its checkout made
-- last: when that is ordered, what it kept leaves the cart.
CREATE TABLE checkout.carts (
    person_id uuid PRIMARY KEY,
    code text CHECK (length(code) BETWEEN 1 AND 64),
    hold_id uuid,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX carts_updated ON checkout.carts (updated_at);

-- `seen_amount` and `seen_currency` are the price that was shown when the line was last changed.
CREATE TABLE checkout.cart_lines (
    person_id uuid NOT NULL REFERENCES checkout.carts (person_id) ON DELETE CASCADE,
    variant_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    seen_amount bigint NOT NULL CHECK (seen_amount >= 0),
    seen_currency text NOT NULL CHECK (seen_currency ~ '^[A-Z]{3}$'),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (person_id, variant_id)
);
CREATE INDEX cart_lines_variant ON checkout.cart_lines (variant_id);
