CREATE SCHEMA catalog;

CREATE TABLE catalog.collections (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE catalog.products (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    description text NOT NULL DEFAULT '',
    vendor text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT '',
    tags text [] NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'draft', 'archived')),
    source_hash bytea CHECK (length(source_hash) = 32),
    popularity bigint NOT NULL DEFAULT 0 CHECK (popularity >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX products_listing ON catalog.products (popularity DESC, slug) WHERE status = 'active';

CREATE TABLE catalog.product_collections (
    collection_id uuid NOT NULL REFERENCES catalog.collections (id) ON DELETE CASCADE,
    product_id uuid NOT NULL REFERENCES catalog.products (id) ON DELETE CASCADE,
    PRIMARY KEY (collection_id, product_id)
);
CREATE INDEX product_collections_product ON catalog.product_collections (product_id);

CREATE TABLE catalog.variants (
    id uuid PRIMARY KEY,
    product_id uuid NOT NULL REFERENCES catalog.products (id) ON DELETE CASCADE,
    sku text NOT NULL UNIQUE CHECK (length(sku) BETWEEN 1 AND 100),
    options jsonb NOT NULL DEFAULT '[]',
    position integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX variants_product ON catalog.variants (product_id, position);

CREATE TABLE catalog.prices (
    variant_id uuid NOT NULL REFERENCES catalog.variants (id) ON DELETE CASCADE,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount BETWEEN 0 AND 1000000000000),
    compare_at_amount bigint CHECK (compare_at_amount BETWEEN 0 AND 1000000000000),
    PRIMARY KEY (variant_id, currency)
);

CREATE TABLE catalog.drops (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    opens_at timestamptz NOT NULL,
    closed_at timestamptz,
    per_buyer integer NOT NULL CHECK (per_buyer >= 1),
    room text NOT NULL CHECK (room IN ('draw', 'arrival', 'none')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A variant is sold by at most one drop at a time, and then by nothing else.
CREATE TABLE catalog.drop_items (
    drop_id uuid NOT NULL REFERENCES catalog.drops (id) ON DELETE CASCADE,
    variant_id uuid NOT NULL REFERENCES catalog.variants (id),
    quantity integer NOT NULL CHECK (quantity >= 1),
    live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (drop_id, variant_id)
);
CREATE UNIQUE INDEX drop_items_one_live_drop ON catalog.drop_items (variant_id) WHERE live;
