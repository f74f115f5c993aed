-- Rooms that are long over: their places leave, from the first entry of the log on, and what was published of the draw
-- stays for a longer time. `cleared`: entries below it are no places any more. `entries_gone`: not even published ones.
ALTER TABLE gate.rooms ADD COLUMN cleared bigint NOT NULL DEFAULT 0;
ALTER TABLE gate.rooms ADD COLUMN entries_gone boolean NOT NULL DEFAULT false;
ALTER TABLE gate.rooms ADD CONSTRAINT room_cleared_within_log CHECK (cleared BETWEEN 0 AND size) NOT VALID;
ALTER TABLE gate.rooms ADD CONSTRAINT room_cleared_when_closed CHECK (
    phase = 'closed' OR (cleared = 0 AND NOT entries_gone)
) NOT VALID;

-- Published entries whose places have left, 1,024 of them a row: pseudonyms of 32 bytes, one after the other.
CREATE TABLE gate.kept_entries (
    room_id uuid NOT NULL REFERENCES gate.rooms (id),
    block bigint NOT NULL CHECK (block >= 0),
    entries bytea NOT NULL CHECK (length(entries) BETWEEN 32 AND 32768 AND mod(length(entries), 32) = 0),
    PRIMARY KEY (room_id, block)
);
ALTER TABLE gate.kept_entries ALTER COLUMN entries SET STORAGE EXTERNAL;
