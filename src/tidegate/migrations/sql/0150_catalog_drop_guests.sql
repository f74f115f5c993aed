-- Whether people without an account take part in a drop. Drops without a room that are there already sold to everybody,
-- and go on doing so; who waits in a room, the room says.
ALTER TABLE catalog.drops ADD COLUMN guests boolean NOT NULL DEFAULT false;
UPDATE catalog.drops SET guests = true WHERE room = 'none';
