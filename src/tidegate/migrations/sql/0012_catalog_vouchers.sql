-- A code that makes a basket cheaper: by a percentage, or by an amount. How often it was redeemed is counted where stock
-- is, in inventory.buyer_limits.
CREATE TABLE catalog.vouchers (
    id uuid PRIMARY KEY,
    code text NOT NULL CONSTRAINT vouchers_code UNIQUE CHECK (code ~ '^[A-Z0-9][A-Z0-9_-]{0,63}$'),
    percent_off integer CHECK (percent_off BETWEEN 1 AND 100),
    amount_off bigint CHECK (amount_off BETWEEN 1 AND 1000000000000),
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    total integer NOT NULL CHECK (total BETWEEN 1 AND 999999999),
    per_buyer integer NOT NULL CHECK (per_buyer >= 1),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    closed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT voucher_takes_percent_or_amount CHECK ((percent_off IS NULL) <> (amount_off IS NULL)),
    CONSTRAINT voucher_amount_has_currency CHECK ((amount_off IS NULL) = (currency IS NULL)),
    CONSTRAINT voucher_per_buyer_within_total CHECK (per_buyer <= total),
    CONSTRAINT voucher_ends_after_its_start CHECK (ends_at > starts_at)
);

CREATE TRIGGER vouchers_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.vouchers
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
