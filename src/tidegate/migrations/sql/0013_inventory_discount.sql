-- What the hold's voucher takes off its lines, in minor units of their currency: promised when the hold was made.
ALTER TABLE inventory.holds ADD COLUMN discount_amount bigint NOT NULL DEFAULT 0;
ALTER TABLE inventory.holds ADD CONSTRAINT hold_discount_needs_voucher CHECK (
    discount_amount >= 0 AND (discount_amount = 0 OR voucher_id <> '00000000-0000-0000-0000-000000000000')
) NOT VALID;
