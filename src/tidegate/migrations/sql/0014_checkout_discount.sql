-- What was taken off the lines; total_amount is their sum less this.
ALTER TABLE checkout.orders ADD COLUMN discount_amount bigint NOT NULL DEFAULT 0;
ALTER TABLE checkout.orders ADD CONSTRAINT order_discount_takes_off CHECK (discount_amount >= 0) NOT VALID;
