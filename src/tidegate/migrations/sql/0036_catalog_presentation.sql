-- How collections present themselves: a text, a picture, and an order that the merchant chose. Products without a
-- position follow those that have one.
ALTER TABLE catalog.collections ADD COLUMN description text NOT NULL DEFAULT '';
ALTER TABLE catalog.collections ADD COLUMN digest text;
ALTER TABLE catalog.collections ADD COLUMN alt text NOT NULL DEFAULT '';
ALTER TABLE catalog.collections ADD COLUMN seo_title text NOT NULL DEFAULT '';
ALTER TABLE catalog.collections ADD COLUMN seo_description text NOT NULL DEFAULT '';
ALTER TABLE catalog.products ADD COLUMN seo_title text NOT NULL DEFAULT '';
ALTER TABLE catalog.products ADD COLUMN seo_description text NOT NULL DEFAULT '';
ALTER TABLE catalog.product_collections ADD COLUMN position integer;

ALTER TABLE catalog.collections ADD CONSTRAINT collections_texts CHECK (
    length(description) <= 50000 AND length(alt) <= 500 AND length(seo_title) <= 255 AND length(seo_description) <= 500
) NOT VALID;
ALTER TABLE catalog.collections ADD CONSTRAINT collections_digest_fkey
FOREIGN KEY (digest) REFERENCES catalog.images (digest) NOT VALID;
ALTER TABLE catalog.products ADD CONSTRAINT products_seo CHECK (
    length(seo_title) <= 255 AND length(seo_description) <= 500
) NOT VALID;
ALTER TABLE catalog.product_collections ADD CONSTRAINT product_collections_position CHECK (position >= 0) NOT VALID;

CREATE TRIGGER collections_unused AFTER DELETE OR UPDATE OF digest ON catalog.collections
FOR EACH ROW EXECUTE FUNCTION catalog.note_unused_image();

-- The addresses that products and collections had before: each leads to where its thing is now, until another thing
-- takes the address.
CREATE TABLE catalog.former_addresses (
    kind text NOT NULL CHECK (kind IN ('product', 'collection')),
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    product_id uuid REFERENCES catalog.products (id) ON DELETE CASCADE,
    collection_id uuid REFERENCES catalog.collections (id) ON DELETE CASCADE,
    left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, slug),
    CHECK ((product_id IS NOT NULL) = (kind = 'product') AND (collection_id IS NOT NULL) = (kind = 'collection'))
);
CREATE INDEX former_addresses_product ON catalog.former_addresses (product_id);
CREATE INDEX former_addresses_collection ON catalog.former_addresses (collection_id);

-- To see at once whether a collection is arranged at all. It blocks writes for the moment that it takes: there is one
-- row for each product in a collection.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX product_collections_arranged ON catalog.product_collections (collection_id) WHERE position IS NOT NULL;
