-- How the line of a room moves: what the loop knows from its last round, and what staff asked of it. A round locks this
-- row and skips it when another scheduler has it.
CREATE TABLE gate.admissions (
    room_id uuid PRIMARY KEY REFERENCES gate.rooms (id),
    memory jsonb NOT NULL DEFAULT '{}',
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    reach bigint CHECK (reach >= 0),
    speed_limit_per_min integer CHECK (speed_limit_per_min >= 1),
    message text NOT NULL DEFAULT '' CHECK (length(message) <= 500),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
