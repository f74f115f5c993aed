-- Whether people without an account take part in a drop. Drops without a room that are there already sold to everybody,
-- and go on doing so; those with a room let guests wait where their room does.
ALTER TABLE catalog.drops ADD COLUMN guests boolean NOT NULL DEFAULT false;
UPDATE catalog.drops AS d
SET guests = true
WHERE d.room = 'none' OR EXISTS (SELECT FROM gate.rooms AS r WHERE r.drop_id = d.id AND r.guests);
