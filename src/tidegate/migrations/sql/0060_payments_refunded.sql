-- What was given back of a charge, or is about to be: never more than was to be paid.
ALTER TABLE payments.charges ADD COLUMN refunded_amount bigint NOT NULL DEFAULT 0;
ALTER TABLE payments.charges ADD CONSTRAINT refunded_within_charge
    CHECK (refunded_amount >= 0 AND refunded_amount <= amount) NOT VALID;
UPDATE payments.charges AS c SET refunded_amount = r.amount
FROM (
    SELECT order_id, attempt, sum(amount)::bigint AS amount FROM payments.refunds
    WHERE state <> 'failed' GROUP BY order_id, attempt
) AS r
WHERE c.order_id = r.order_id AND c.attempt = r.attempt;
