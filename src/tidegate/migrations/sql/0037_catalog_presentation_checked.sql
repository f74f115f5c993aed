ALTER TABLE catalog.collections VALIDATE CONSTRAINT collections_texts;
ALTER TABLE catalog.collections VALIDATE CONSTRAINT collections_digest_fkey;
ALTER TABLE catalog.products VALIDATE CONSTRAINT products_seo;
ALTER TABLE catalog.product_collections VALIDATE CONSTRAINT product_collections_position;
