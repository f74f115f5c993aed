ALTER TABLE gate.rooms VALIDATE CONSTRAINT room_beacon_first_fits;
ALTER TABLE gate.rooms VALIDATE CONSTRAINT room_beacon_after_cut;
