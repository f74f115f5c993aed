-- Which voucher a hold redeems, all zeros for none. Its redemptions are counted in inventory.buyer_limits, under the
-- voucher's id: by everyone (buyer all zeros) and by the buyer.
ALTER TABLE inventory.holds ADD COLUMN voucher_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
