-- The address book of accounts. The address itself is sealed.
CREATE TABLE checkout.addresses (
    id uuid PRIMARY KEY,
    person_id uuid NOT NULL,
    address_sealed bytea NOT NULL,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX addresses_person ON checkout.addresses (person_id, used_at DESC);
