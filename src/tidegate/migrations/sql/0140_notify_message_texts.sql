-- What merchants say instead of the built-in texts of a message, in one language. An empty part is the built-in one's.
-- `revision` counts its changes, so that nobody overwrites what they have not seen.
CREATE TABLE notify.message_texts (
    template text NOT NULL CHECK (template ~ '^[a-z]+(_[a-z]+)*$' AND length(template) <= 60),
    language text NOT NULL CHECK (language ~ '^[a-z]{2,3}$'),
    subject text NOT NULL CHECK (length(subject) <= 500),
    txt text NOT NULL CHECK (length(txt) <= 16000),
    html text NOT NULL CHECK (length(html) <= 16000),
    inbox text NOT NULL CHECK (length(inbox) <= 16000),
    revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template, language),
    CONSTRAINT message_text_says_something CHECK (subject || txt || html || inbox <> '')
);

-- How often any of them was changed: one row, which every process looks at before it trusts what it remembers.
CREATE TABLE notify.message_texts_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL CHECK (revision >= 1)
);
