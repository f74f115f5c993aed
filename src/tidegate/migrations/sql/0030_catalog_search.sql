-- Searching: each product carries the words it is found by, weighted (title A, tags, maker and kind B, description D), as
-- they are written and as English stems. Words are folded: lower case, without accents, letters and digits only. What
-- letters are is fixed here, so that it does not hang on the locale of the database.
CREATE FUNCTION catalog.search_text(said text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT btrim(regexp_replace(
    regexp_replace(normalize(lower(left(said, 20000) COLLATE pg_c_utf8), NFKD), '[\u0300-\u036f]', '', 'g')
    COLLATE pg_c_utf8, '[^[:alnum:]]+', ' ', 'g'
))
$$;

CREATE FUNCTION catalog.search_vector(title text, kept text, description text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT setweight(to_tsvector('pg_catalog.simple', catalog.search_text(title)), 'A')
    || setweight(to_tsvector('pg_catalog.english', catalog.search_text(title)), 'A')
    || setweight(to_tsvector('pg_catalog.simple', catalog.search_text(kept)), 'B')
    || setweight(to_tsvector('pg_catalog.english', catalog.search_text(kept)), 'B')
    || setweight(to_tsvector('pg_catalog.simple', catalog.search_text(description)), 'D')
    || setweight(to_tsvector('pg_catalog.english', catalog.search_text(description)), 'D')
$$;

-- The query that one folded word stands for: words that start with it, or that have its English stem.
CREATE FUNCTION catalog.search_query(word text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT '(' || quote_literal(word) || ':*'
    || coalesce(' | ' || nullif(strip(to_tsvector('pg_catalog.english', word))::text, ''), '') || ')'
$$;

-- The words of all products and the groups of three letters in each, to find the ones that a mistyped word is like. A word
-- stays when its last product goes: who looks for a neighbour asks whether a product still has it.
CREATE FUNCTION catalog.trigrams(word text) RETURNS text [] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT array_agg(DISTINCT substr('  ' || word || ' ', place, 3)) FROM generate_series(1, length(word) + 1) AS p (place)
$$;

CREATE TABLE catalog.search_terms (
    term text COLLATE "C" PRIMARY KEY CHECK (length(term) BETWEEN 3 AND 40),
    trigrams text [] NOT NULL
);

ALTER TABLE catalog.products ADD COLUMN search tsvector NOT NULL DEFAULT '';

CREATE FUNCTION catalog.write_search() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kept text := NEW.vendor || ' ' || NEW.kind || ' ' || array_to_string(NEW.tags, ' ');
BEGIN
    NEW.search := catalog.search_vector(NEW.title, kept, NEW.description);
    INSERT INTO catalog.search_terms (term, trigrams)
    SELECT s.word, catalog.trigrams(s.word) FROM (
        SELECT DISTINCT w.word COLLATE "C" AS word
        FROM unnest(string_to_array(
            catalog.search_text(NEW.title || ' ' || kept || ' ' || left(NEW.description, 5000)), ' ')) AS w (word)
        WHERE length(w.word) BETWEEN 3 AND 40
    ) AS s
    WHERE NOT EXISTS (SELECT FROM catalog.search_terms AS t WHERE t.term = s.word)
    ORDER BY s.word
    ON CONFLICT (term) DO NOTHING;
    RETURN NEW;
END
$$;

CREATE TRIGGER products_search BEFORE INSERT OR UPDATE OF title, vendor, kind, tags, description ON catalog.products
FOR EACH ROW EXECUTE FUNCTION catalog.write_search();

UPDATE catalog.products SET title = title;

-- Writes wait already: the statement above holds every row until this transaction ends.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX products_search ON catalog.products USING gin (search) WITH (fastupdate = off);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX search_terms_trigrams ON catalog.search_terms USING gin (trigrams);
