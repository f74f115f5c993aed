-- How the line of a room moves: what the loop knows from its last round, and what staff asked of it. A round locks this
-- row, and passes over it when another scheduler has it. `reach` is how many people beyond those inside will probably
-- be served; `sold_before` are the items of the drop that were sold when its room opened.
CREATE TABLE gate.admissions (
    room_id uuid PRIMARY KEY REFERENCES gate.rooms (id) ON DELETE CASCADE,
    memory jsonb,
    sold_before bigint CHECK (sold_before >= 0),
    admitted bigint NOT NULL DEFAULT 0 CHECK (admitted >= 0),
    inside bigint NOT NULL DEFAULT 0 CHECK (inside >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
    reach bigint CHECK (reach >= 0),
    speed_limit_per_min integer CHECK (speed_limit_per_min >= 1),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- What staff say to all who wait.
ALTER TABLE gate.rooms ADD COLUMN message text NOT NULL DEFAULT ''
    CONSTRAINT room_message_short CHECK (length(message) <= 500);
