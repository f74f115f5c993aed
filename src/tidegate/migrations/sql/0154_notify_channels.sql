-- Deliveries name their channel by a word, as preferences and follows do: which channels there are is the adapters'.
-- Older writers know fewer channels: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.deliveries DROP CONSTRAINT deliveries_channel_check;
ALTER TABLE notify.deliveries ADD CONSTRAINT deliveries_channel_check CHECK (channel ~ '^[a-z_]{1,20}$') NOT VALID;
