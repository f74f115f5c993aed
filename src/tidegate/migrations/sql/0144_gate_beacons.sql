-- What a beacon showed when it was first asked after the cut, and since when it is awaited: these outlive the process
-- that asks. A value that is known while people join can be tried against, so none is kept before the cut; one that was
-- typed in too early is taken back, and the staff give another.
ALTER TABLE gate.rooms ADD COLUMN beacon_first text;
ALTER TABLE gate.rooms ADD COLUMN beacon_since timestamptz;
UPDATE gate.rooms SET beacon = NULL, beacon_at = NULL WHERE cut IS NULL AND beacon IS NOT NULL;
ALTER TABLE gate.rooms ADD CONSTRAINT room_beacon_first_fits CHECK (length(beacon_first) BETWEEN 1 AND 1000) NOT VALID;
ALTER TABLE gate.rooms ADD CONSTRAINT room_beacon_after_cut CHECK (beacon IS NULL OR cut IS NOT NULL) NOT VALID;
