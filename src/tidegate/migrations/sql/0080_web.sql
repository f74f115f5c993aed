-- What the shop says of itself, page by page and language by language, in Markdown. A page without a row shows the text
-- that comes with the program.
CREATE SCHEMA web;

CREATE TABLE web.shop_pages (
    slug text NOT NULL CHECK (slug ~ '^[a-z]+(-[a-z]+)*$' AND length(slug) <= 60),
    language text NOT NULL CHECK (language ~ '^[a-z]{2,3}$'),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    body text NOT NULL CHECK (length(body) BETWEEN 1 AND 50000),
    revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slug, language)
);
