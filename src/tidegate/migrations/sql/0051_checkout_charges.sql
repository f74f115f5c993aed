-- What comes to the goods: delivery as it was chosen, and taxes. Taxes within the prices add nothing to the total.
ALTER TABLE checkout.orders ADD COLUMN shipping_code text;
ALTER TABLE checkout.orders ADD COLUMN shipping_name text;
ALTER TABLE checkout.orders ADD COLUMN shipping_amount bigint NOT NULL DEFAULT 0;
ALTER TABLE checkout.orders ADD COLUMN tax_amount bigint NOT NULL DEFAULT 0;
ALTER TABLE checkout.orders ADD COLUMN tax_included boolean NOT NULL DEFAULT true;
ALTER TABLE checkout.orders ADD CONSTRAINT order_charges_not_negative
CHECK (shipping_amount >= 0 AND tax_amount >= 0) NOT VALID;
ALTER TABLE checkout.orders ADD CONSTRAINT order_shipping_has_a_name
CHECK ((shipping_code IS NULL) = (shipping_name IS NULL) AND (shipping_code IS NOT NULL OR shipping_amount = 0))
NOT VALID;

-- One row per rate that applies. Like order_lines without a foreign key: the books look for rows without an order.
CREATE TABLE checkout.order_taxes (
    order_id uuid NOT NULL,
    line_no integer NOT NULL CHECK (line_no >= 1),
    name text NOT NULL,
    rate_bp integer NOT NULL CHECK (rate_bp BETWEEN 0 AND 10000),
    base_amount bigint NOT NULL CHECK (base_amount >= 0),
    tax_amount bigint NOT NULL CHECK (tax_amount >= 0),
    PRIMARY KEY (order_id, line_no)
);
