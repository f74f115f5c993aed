-- Delivery and taxes as data. Like prices, they are kept by processes as long as catalog.revision says so.
ALTER TABLE catalog.products ADD COLUMN tax_class text NOT NULL DEFAULT 'standard';
ALTER TABLE catalog.products ADD CONSTRAINT product_tax_class
CHECK (tax_class IN ('standard', 'reduced', 'zero')) NOT VALID;

CREATE TABLE catalog.shipping_zones (
    id uuid PRIMARY KEY,
    name text NOT NULL CONSTRAINT shipping_zone_name UNIQUE CHECK (length(name) BETWEEN 1 AND 80),
    rest boolean NOT NULL DEFAULT false
);
-- One zone at most stands for all countries that no other names.
CREATE UNIQUE INDEX shipping_zone_rest ON catalog.shipping_zones (rest) WHERE rest;

-- A country is in one zone at most.
CREATE TABLE catalog.shipping_zone_countries (
    country text PRIMARY KEY CHECK (country ~ '^[A-Z]{2}$'),
    zone_id uuid NOT NULL REFERENCES catalog.shipping_zones (id) ON DELETE CASCADE
);
CREATE INDEX shipping_zone_countries_zone ON catalog.shipping_zone_countries (zone_id);

-- From a value of the goods on (tier_from) it costs tier_amount; minor units of the currency. The first tier is from 0.
CREATE TABLE catalog.shipping_methods (
    id uuid PRIMARY KEY,
    zone_id uuid NOT NULL REFERENCES catalog.shipping_zones (id) ON DELETE CASCADE,
    code text NOT NULL CONSTRAINT shipping_method_code UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    tier_from bigint [] NOT NULL,
    tier_amount bigint [] NOT NULL,
    CONSTRAINT shipping_tiers_pair CHECK (
        cardinality(tier_from) BETWEEN 1 AND 10 AND cardinality(tier_amount) = cardinality(tier_from)
    ),
    CONSTRAINT shipping_first_tier_from_nothing CHECK (tier_from [1] = 0),
    CONSTRAINT shipping_amounts_not_negative CHECK (0 <= ALL (tier_amount) AND 1000000000000 >= ALL (tier_amount))
);
CREATE INDEX shipping_methods_zone ON catalog.shipping_methods (zone_id);

CREATE TABLE catalog.tax_rates (
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    tax_class text NOT NULL CHECK (tax_class IN ('standard', 'reduced', 'zero')),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 40),
    rate_bp integer NOT NULL CHECK (rate_bp BETWEEN 0 AND 10000),
    PRIMARY KEY (country, tax_class)
);

CREATE TABLE catalog.tax_settings (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    prices_include_tax boolean NOT NULL DEFAULT true
);
INSERT INTO catalog.tax_settings DEFAULT VALUES;

CREATE TRIGGER shipping_zones_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.shipping_zones
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER shipping_zone_countries_revision
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.shipping_zone_countries
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER shipping_methods_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.shipping_methods
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER tax_rates_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.tax_rates
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
CREATE TRIGGER tax_settings_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON catalog.tax_settings
FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_revision();
