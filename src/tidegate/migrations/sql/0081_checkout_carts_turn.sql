-- Until when one checkout of this cart has its turn: another of the same person waits for what it held.
ALTER TABLE checkout.carts ADD COLUMN checking_out_until timestamptz;
