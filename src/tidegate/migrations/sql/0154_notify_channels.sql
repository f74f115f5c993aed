-- Deliveries name their channel by a word, as preferences and follows do: which channels there are is the adapters'.
-- Older writers know fewer channels: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.deliveries DROP CONSTRAINT deliveries_channel_check;
ALTER TABLE notify.deliveries ADD CONSTRAINT deliveries_channel_check CHECK (channel ~ '^[a-z_]{1,20}$') NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.sends DROP CONSTRAINT sends_channels_known;
ALTER TABLE notify.sends ADD CONSTRAINT sends_channels_known CHECK (
    cardinality(channels) BETWEEN 1 AND 10 AND array_to_string(channels, ' ', '?') ~ '^([a-z_]{1,20}( |$))+$'
) NOT VALID;
