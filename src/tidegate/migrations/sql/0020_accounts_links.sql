-- Mailed links: a random token of which only the SHA-256 is kept, used once and not for long. A link belongs to an
-- e-mail address, not to an account: whoever asks for one never learns which addresses have one.
CREATE TABLE accounts.links (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    kind text NOT NULL CHECK (kind IN ('register', 'login', 'reset')),
    email_sealed bytea NOT NULL,
    email_fingerprint bytea NOT NULL CHECK (length(email_fingerprint) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX links_email ON accounts.links (email_fingerprint);
CREATE INDEX links_expiry ON accounts.links (expires_at);

ALTER TABLE accounts.people ADD COLUMN confirmed_at timestamptz;

-- The last administrator stays one, whoever asks: changes of administrators are settled one after the other.
CREATE FUNCTION accounts.keep_an_admin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('accounts.keep_an_admin'));
    IF NOT EXISTS (SELECT FROM accounts.people WHERE role = 'admin') THEN
        RAISE EXCEPTION 'the last administrator must stay one'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'an_admin_stays';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER an_admin_stays AFTER UPDATE OF role ON accounts.people
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (old.role = 'admin' AND new.role <> 'admin') EXECUTE FUNCTION accounts.keep_an_admin();
