-- One row for each batch, written in its transaction: whether it is there says whether the batch was committed.
-- Whoever asks writes the row himself where it is not, so that the batch can no longer be committed either.
CREATE TABLE platform.commits (
    id uuid PRIMARY KEY,
    happened boolean NOT NULL
);
