ALTER TABLE gate.rooms VALIDATE CONSTRAINT room_cleared_within_log;
ALTER TABLE gate.rooms VALIDATE CONSTRAINT room_cleared_when_closed;
