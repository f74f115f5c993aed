ALTER TABLE inventory.stock VALIDATE CONSTRAINT stock_not_negative;
ALTER TABLE inventory.stock VALIDATE CONSTRAINT stock_within_on_hand;
ALTER TABLE inventory.buyer_limits VALIDATE CONSTRAINT buyer_limit_not_negative;
ALTER TABLE inventory.buyer_limits VALIDATE CONSTRAINT buyer_limit_within_quota;
-- Said by the four above.
-- squawk-ignore ban-drop-constraint
ALTER TABLE inventory.stock DROP CONSTRAINT stock_never_oversold;
-- squawk-ignore ban-drop-constraint
ALTER TABLE inventory.buyer_limits DROP CONSTRAINT buyer_limit_kept;
