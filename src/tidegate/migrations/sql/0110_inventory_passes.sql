-- Which hold spent the pass of which place in a waiting room: each pass is good for one hold, and each hold takes one.
CREATE TABLE inventory.spent_passes (
    place_id uuid PRIMARY KEY,
    hold_id uuid NOT NULL,
    drop_id uuid NOT NULL,
    items integer NOT NULL CHECK (items >= 1),
    spent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT spent_pass_one_a_hold UNIQUE (hold_id)
);
