-- Two things that one constraint said: "others were first" (the batch is done again) and "below nothing" (a bug, whose
-- request is found and refused).
ALTER TABLE inventory.stock ADD CONSTRAINT stock_not_negative CHECK (held >= 0 AND sold >= 0) NOT VALID;
ALTER TABLE inventory.stock ADD CONSTRAINT stock_within_on_hand CHECK (held + sold <= on_hand) NOT VALID;
ALTER TABLE inventory.buyer_limits ADD CONSTRAINT buyer_limit_not_negative CHECK (used >= 0) NOT VALID;
ALTER TABLE inventory.buyer_limits ADD CONSTRAINT buyer_limit_within_quota CHECK (used <= quota) NOT VALID;
