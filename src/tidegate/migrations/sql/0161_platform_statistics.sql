-- What PostgreSQL learns of the tables of a sale. ANALYZE sorts 30,000 values of each column in one go, which nothing
-- paces: 0.4 s of a core for the events alone, most of it to compare documents, while all who buy wait. Columns that no
-- plan depends on are not looked at (0): what is asked of them is asked of rows that were found by a key, or of one part
-- of a document, of which these statistics say nothing. Of the rest 7,500 values are enough (25 in place of 100): what a
-- batch says finds its rows by their keys. New partitions take this over from their table (`make_partitions`).
-- Nobody who reads or writes waits for these statements.
ALTER TABLE platform.outbox
    ALTER COLUMN payload SET STATISTICS 0,
    ALTER COLUMN personal_sealed SET STATISTICS 0,
    ALTER COLUMN last_error SET STATISTICS 0,
    ALTER COLUMN id SET STATISTICS 25,
    ALTER COLUMN topic SET STATISTICS 25,
    ALTER COLUMN state SET STATISTICS 25,
    ALTER COLUMN attempts SET STATISTICS 25,
    ALTER COLUMN next_attempt_at SET STATISTICS 25,
    ALTER COLUMN created_at SET STATISTICS 25;
ALTER TABLE platform.idempotency_keys
    ALTER COLUMN fingerprint SET STATISTICS 0,
    ALTER COLUMN status SET STATISTICS 0,
    ALTER COLUMN body SET STATISTICS 0,
    ALTER COLUMN buyer_id SET STATISTICS 25,
    ALTER COLUMN key SET STATISTICS 25,
    ALTER COLUMN state SET STATISTICS 25,
    ALTER COLUMN subject_id SET STATISTICS 25,
    ALTER COLUMN claimed_at SET STATISTICS 25;
