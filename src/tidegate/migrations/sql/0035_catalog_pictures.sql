-- Uploaded pictures. Their files lie outside the database, named by what is in them: `digest` is the SHA-256 of all the
-- files of one picture, which differ in width. A row is there before its files are, and stays until they are gone.
CREATE TABLE catalog.images (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    width integer NOT NULL CHECK (width BETWEEN 1 AND 16383),
    height integer NOT NULL CHECK (height BETWEEN 1 AND 16383),
    widths integer [] NOT NULL CHECK (cardinality(widths) BETWEEN 1 AND 8),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX images_used_at ON catalog.images (used_at);
COMMENT ON COLUMN catalog.images.used_at IS 'When it was last uploaded, or taken away from something that showed it.';

-- A product shows its pictures in the order of `position`, the first as the main one. An empty `alt` says that a picture
-- is decorative.
CREATE TABLE catalog.product_pictures (
    id uuid PRIMARY KEY,
    product_id uuid NOT NULL REFERENCES catalog.products (id) ON DELETE CASCADE,
    digest text NOT NULL REFERENCES catalog.images (digest),
    alt text NOT NULL CHECK (length(alt) <= 500),
    position integer NOT NULL CHECK (position >= 0),
    UNIQUE (product_id, digest)
);
CREATE INDEX product_pictures_order ON catalog.product_pictures (product_id, position);
CREATE INDEX product_pictures_digest ON catalog.product_pictures (digest);

CREATE FUNCTION catalog.note_unused_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog.images SET used_at = clock_timestamp() WHERE digest = OLD.digest;
    RETURN NULL;
END
$$;
CREATE TRIGGER product_pictures_unused AFTER DELETE ON catalog.product_pictures
FOR EACH ROW EXECUTE FUNCTION catalog.note_unused_image();
CREATE TRIGGER product_pictures_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.product_pictures
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
