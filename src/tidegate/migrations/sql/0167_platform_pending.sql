-- What a request has begun and nobody has ended yet, kept in its key until then: an order whose payment is being asked
-- for is written once, when it is known what came of it, and not first as open and then again as paid. Nobody looks for
-- anything by it, and nearly all rows have none, so there is nothing for ANALYZE to learn.
ALTER TABLE platform.idempotency_keys ADD COLUMN pending_sealed bytea;
ALTER TABLE platform.idempotency_keys ALTER COLUMN pending_sealed SET STATISTICS 0;
ALTER TABLE platform.idempotency_keys ADD CONSTRAINT pending_is_claimed CHECK (
    pending_sealed IS NULL OR (state = 'claimed' AND subject_id IS NOT NULL)
) NOT VALID;
