-- By which orders are found that somebody placed with an e-mail address: a keyed hash of it, the first 16 bytes of
-- HMAC-SHA-256. Half of it finds as well and makes the index half as large. NULL: placed before there was one; the
-- scheduler fills it in.
ALTER TABLE checkout.orders ADD COLUMN email_fingerprint bytea;
ALTER TABLE checkout.orders ADD CONSTRAINT order_email_fingerprint_length
CHECK (length(email_fingerprint) = 16) NOT VALID;

-- An index inside the migration's transaction blocks writes for the moment that it takes; all values are NULL yet.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orders_email ON checkout.orders (email_fingerprint) WHERE email_fingerprint IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orders_without_fingerprint ON checkout.orders (id) WHERE email_fingerprint IS NULL;
