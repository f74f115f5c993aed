-- What a process keeps of the catalogue is as good as the sum of these counters is unchanged. A change and its counter
-- commit together. Each backend counts in a slot of its own, so that changes do not queue behind one row, and by a
-- random step, so that a change lost in a failover and another one after it do not come to the same sum.
CREATE TABLE catalog.revision (
    slot integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 63),
    counter bigint NOT NULL CHECK (counter >= 0)
) WITH (fillfactor = 25);
INSERT INTO catalog.revision (slot, counter) SELECT slots.slot, 0 FROM generate_series(0, 63) AS slots (slot);

CREATE FUNCTION catalog.count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog.revision SET counter = counter + 1 + floor(random() * 1000000)::bigint
    WHERE slot = mod(pg_backend_pid(), 64);
    RETURN NULL;
END
$$;

CREATE TRIGGER products_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.products
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER variants_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.variants
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER prices_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.prices
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER drops_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.drops
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER drop_items_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.drop_items
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
