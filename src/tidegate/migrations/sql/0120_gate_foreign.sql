-- A room before a shop that is not Tidegate's. `shop` is the origin to which people are sent back; `shop_key` the public
-- half (Ed25519) of the key with which it says who its visitors are and what it has. `free` are the items that nobody
-- has, `held` those that may come back, `sold` those that are gone, as the shop said last; NULL until it did.
CREATE TABLE gate.foreign_rooms (
    room_id uuid PRIMARY KEY REFERENCES gate.rooms (id) ON DELETE CASCADE,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    shop text NOT NULL CHECK (shop ~ '^https?://[^/?#@\s]+$' AND length(shop) <= 300),
    shop_key bytea NOT NULL CHECK (length(shop_key) = 32),
    per_buyer integer NOT NULL DEFAULT 1 CHECK (per_buyer >= 1),
    free bigint CHECK (free >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
    p99_ms real CHECK (p99_ms >= 0),
    reported_at timestamptz,
    CONSTRAINT foreign_room_told_at_a_time CHECK ((free IS NULL) = (reported_at IS NULL))
) WITH (fillfactor = 50);

-- What such a shop said of passes: which place bought how many items. Each place is told of once.
CREATE TABLE gate.foreign_spends (
    place_id uuid PRIMARY KEY REFERENCES gate.places (id) ON DELETE CASCADE,
    items integer NOT NULL CHECK (items >= 1),
    spent_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
