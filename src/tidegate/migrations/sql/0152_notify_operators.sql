-- Where notify runs alone there is no staff: a key of role `operator` does what staff of a shop do, and belongs to no
-- application.
-- Older writers know fewer roles: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.keys DROP CONSTRAINT keys_role_check;
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.keys DROP CONSTRAINT key_is_of_somebody;
ALTER TABLE notify.keys
    ADD CONSTRAINT keys_role_check CHECK (role IN ('sender', 'reader', 'receipts', 'operator')) NOT VALID,
    ADD CONSTRAINT key_is_of_somebody CHECK ((role IN ('receipts', 'operator')) = (application_id IS NULL)) NOT VALID;

-- An endpoint of an application is told of its messages only; NULL: one of the staff, told of all.
ALTER TABLE notify.webhook_endpoints
    ADD COLUMN application_id uuid,
    ADD CONSTRAINT webhook_application FOREIGN KEY (application_id)
        REFERENCES notify.applications (application_id) NOT VALID;
