-- A change of the catalogue tells every process that keeps answers made from it. Notices of one transaction with the
-- same text are one notice, sent when it commits. Which collections there are and what is in them is shown as well.
CREATE OR REPLACE FUNCTION catalog.count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog.revision SET counter = counter + 1 + floor(random() * 1000000)::bigint
    WHERE slot = mod(pg_backend_pid(), 64);
    PERFORM pg_notify('tidegate_catalog', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER collections_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.collections
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER product_collections_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.product_collections
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
