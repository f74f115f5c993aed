-- Which holds a limit counts: those made since `counts_from`, and the one that was live when a drop was opened again.
-- Rows that are there already count all holds, as they did.
ALTER TABLE inventory.buyer_limits
ADD COLUMN counts_from timestamptz NOT NULL DEFAULT '-infinity', ADD COLUMN carried_hold_id uuid;
ALTER TABLE inventory.buyer_limits ALTER COLUMN counts_from SET DEFAULT clock_timestamp();
